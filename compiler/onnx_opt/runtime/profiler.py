"""ONNX Runtime's own profile of a model, in the worker process: the time that each node of its graph took.

The graph that runs is the one that ONNX Runtime made by its own optimizations; it is kept beside the times, since it
tells which values its nodes compute.
"""

from __future__ import annotations

import json
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from onnx_opt.runtime.session import Binding, device_of, open_session
from onnx_opt.runtime.settings import CPU, CUDA, DML
from onnx_opt.runtime.trace import Step, steps_of
from onnx_opt.validate.run import Feed, Runtime
from onnx_opt.validate.source import Source

_KERNEL = "_kernel_time"
_MOST_EVENTS = 500_000
"""The profiler forgets what comes after a million events."""
_SERIALIZABLE = (CPU, CUDA, DML)
"""Providers whose graphs ONNX Runtime can write; others compile parts of them."""
_NAMED_FILE = "session.optimized_model_external_initializers_file_name"
_NAMED_SIZE = "session.optimized_model_external_initializers_min_size_in_bytes"


@dataclass(frozen=True)
class Timing:
    """A node as it ran: the microseconds of a run that it took itself (what runs inside of it is not counted), the
    median over the runs; and how often it ran in all of them."""

    name: str
    op: str
    provider: str
    calls: int
    micros: float


@dataclass(frozen=True)
class Recording:
    """`runs` runs of a model, and the nodes of the graph that ran; empty where ONNX Runtime cannot write it."""

    runs: int
    timings: list[Timing]
    graph: list[Step]


def record(source: Source, runtime: Runtime, feed: Feed, runs: int, nodes: int) -> Recording:
    """The profile of at most `runs` runs of a model of `nodes` nodes. Raises as `open_session` does."""
    import onnxruntime

    runs = max(1, min(runs, _MOST_EVENTS // max(nodes, 1)))
    with tempfile.TemporaryDirectory(prefix="onnx-opt-profile-", ignore_cleanup_errors=True) as folder:
        options, graph = onnxruntime.SessionOptions(), Path(folder, "graph.onnx")
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "profile"))
        if runtime.settings.provider in _SERIALIZABLE:
            options.optimized_model_filepath = str(graph)
            options.add_session_config_entry(_NAMED_FILE, "graph.bin")
            options.add_session_config_entry(_NAMED_SIZE, "1024")
        session = open_session(
            source, runtime.settings, threads=runtime.threads, custom_ops=runtime.custom_ops, options=options
        )
        warm = _run(session, runtime, feed, runs)
        events = json.loads(Path(session.end_profiling()).read_text())
        ran = _graph(graph) if graph.is_file() else []
    return Recording(runs, timings(events, warm), ran)


def _run(session: Any, runtime: Runtime, feed: Feed, runs: int) -> int:
    """Run it so often, and before that a few times that do not count; how many these were."""
    once, warm = None, 3
    with suppress(TypeError):
        once = Binding(session, feed, device_of(runtime.settings)).run
    for _ in range(warm + runs):
        if once is not None:
            once()
        else:
            session.run(None, dict(feed))
    return warm


def timings(events: Iterable[dict[str, Any]], skipped: int) -> list[Timing]:
    """The nodes in a profile, the first `skipped` runs left out, the longest first."""
    events = list(events)
    starts = sorted(e["ts"] for e in events if e["cat"] == "Session" and e["name"] == "model_run")
    since = starts[skipped] if skipped < len(starts) else 0
    kernels = [e for e in events if e["cat"] == "Node" and e["name"].endswith(_KERNEL) and e["ts"] >= since]
    found: dict[tuple[str, str, str], list[list[float]]] = {}
    for event, micros in zip(kernels, _own_time(kernels), strict=True):
        args = event["args"]
        key = (event["name"].removesuffix(_KERNEL), args.get("op_name", ""), args.get("provider", ""))
        of_runs = found.setdefault(key, [[] for _ in starts])
        of_runs[bisect_right(starts, event["ts"]) - 1].append(micros)
    made = [_timing(key, of_runs[skipped:]) for key, of_runs in found.items()]
    return sorted(made, key=lambda timing: -timing.micros)


def _timing(key: tuple[str, str, str], of_runs: Sequence[Sequence[float]]) -> Timing:
    return Timing(*key, sum(map(len, of_runs)), median(map(sum, of_runs)))


def _own_time(events: Sequence[dict[str, Any]]) -> list[float]:
    """The duration of each event less that of the events inside of it: a Loop's time is not its body's again."""
    own = [float(event["dur"]) for event in events]
    open_: dict[int, list[int]] = {}  # thread -> the events that have not ended yet, each inside the one before
    for index in sorted(range(len(events)), key=lambda i: (events[i]["ts"], -events[i]["dur"])):
        event = events[index]
        outer = open_.setdefault(event["tid"], [])
        while outer and events[outer[-1]]["ts"] + events[outer[-1]]["dur"] <= event["ts"]:
            outer.pop()
        if outer and _may_hold_nodes(events[outer[-1]]):
            own[outer[-1]] -= event["dur"]
        outer.append(index)
    return [max(micros, 0.0) for micros in own]


def _may_hold_nodes(event: dict[str, Any]) -> bool:
    """Times are whole microseconds: of two short nodes in a row, one may seem to begin within the other."""
    return event["args"].get("op_name") in ("If", "Loop", "Scan", "BeamSearch", "GreedySearch", "Sampling")


def _graph(path: Path) -> list[Step]:
    import onnx

    return steps_of(onnx.load(path, load_external_data=False))
