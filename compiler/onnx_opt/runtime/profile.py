"""Where the time goes in a model: per operator and per node, with the nodes of the original that each stands for.

ONNX Runtime runs another graph than the one in the file, and that one may itself come from an original. The first step
back goes by values: fused or not, a node computes its outputs from its inputs, and most of these keep their names. The
second goes by the `onnx_opt.origins` that `--metadata` writes into a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_opt import worker
from onnx_opt.runtime.execute import located
from onnx_opt.runtime.profiler import Recording
from onnx_opt.runtime.settings import CPU
from onnx_opt.runtime.trace import steps_of, trace
from onnx_opt.validate.run import Feed, Runtime
from onnx_opt.validate.source import Source
from onnx_opt.validate.walk import all_nodes

if TYPE_CHECKING:
    import onnx

RUNS = 50
_RECORD = "onnx_opt.runtime.profiler:record"
ORIGINS = "onnx_opt.origins"


@dataclass(frozen=True)
class NodeTime:
    """A node as it ran: milliseconds of a run, the part of all, the nodes of the file that it computes, the nodes of
    the original that these come from, and the rules that made them."""

    name: str
    op: str
    provider: str
    ms: float
    share: float
    nodes: list[str]
    origins: list[str]
    rules: list[str]

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Profile:
    """`ms` of a run inside of nodes. The time of a node is its median over `runs` runs."""

    model: str
    runs: int
    ms: float
    nodes: list[NodeTime]
    notes: list[str]

    def operators(self) -> list[tuple[str, str, int, float, float]]:
        """(operator, provider, nodes, milliseconds of a run, part of all), the longest first."""
        found: dict[tuple[str, str], list[float]] = {}
        for node in self.nodes:
            total = found.setdefault((node.op, node.provider), [0, 0.0, 0.0])
            total[0] += 1
            total[1] += node.ms
            total[2] += node.share
        rows = [(*key, int(count), ms, share) for key, (count, ms, share) in found.items()]
        return sorted(rows, key=lambda row: -row[3])

    def to_dict(self) -> dict[str, Any]:
        keys = ("op", "provider", "nodes", "ms", "share")
        return {
            "model": self.model,
            "runs": self.runs,
            "ms": self.ms,
            "operators": [dict(zip(keys, row, strict=True)) for row in self.operators()],
            "nodes": [node.to_dict() for node in self.nodes],
            "notes": self.notes,
        }


def profile(source: Source, runtime: Runtime, feed: Feed, runs: int = RUNS) -> Profile:
    """The profile of a model on one feed. Raises as `execute` does."""
    model = source.skeleton()
    names = name_nodes(model)
    with located(source):
        recording: Recording = worker.shared().apply(
            _RECORD, source.with_proto(model), runtime, dict(feed), runs, len(names)
        )
    regions = trace(steps_of(model), recording.graph)
    origins = _origins(model)
    total = sum(timing.micros for timing in recording.timings) or 1.0
    nodes = []
    for timing in recording.timings:
        inside = regions.get(timing.name) or [name for name in (timing.name,) if name in names]
        known = [origins.get(name, {"nodes": [name], "rules": []}) for name in inside]
        nodes.append(
            NodeTime(
                timing.name,
                timing.op,
                timing.provider.removesuffix("ExecutionProvider"),
                timing.micros / 1e3,
                timing.micros / total,
                inside,
                list(dict.fromkeys(name for each in known for name in each["nodes"])),
                list(dict.fromkeys(rule for each in known for rule in each["rules"])),
            )
        )
    return Profile(source.name, recording.runs, total / 1e3, nodes, _notes(runtime, recording, origins))


def _notes(runtime: Runtime, recording: Recording, origins: Mapping[str, Any]) -> list[str]:
    notes = ["taking them costs time beside small nodes: compare shares, and runs without --profile"]
    if runtime.settings.provider != CPU:
        notes.append("on a device these are the times in which work was handed over, not those in which it was done")
    if not recording.graph:
        notes.append("ONNX Runtime cannot write the graph of this provider: nodes are known by their names only")
    if not origins:
        notes.append("the model holds no origins: nodes are those of the file (optimize with --metadata to have them)")
    return notes


def name_nodes(model: onnx.ModelProto) -> set[str]:
    """Give each node without a name that of its first result, as messages call it; the names of all."""
    names = set()
    for node in all_nodes(model):
        if not node.name:
            node.name = next((name for name in node.output if name), "")
        names.add(node.name)
    return names


def _origins(model: onnx.ModelProto) -> dict[str, dict[str, list[str]]]:
    text = next((entry.value for entry in model.metadata_props if entry.key == ORIGINS), "{}")
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {name: each for name, each in found.items() if _is_origin(each)} if isinstance(found, dict) else {}


def _is_origin(entry: Any) -> bool:
    """Whether it is what --metadata writes: a file may hold anything."""
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), list) and all(isinstance(name, str) for name in entry[key])
        for key in ("nodes", "rules")
    )
