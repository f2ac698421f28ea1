"""What a worker process does. Everything here may end the process: ONNX Runtime can."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from onnx_opt.validate.run import CannotLoad, Rejected, Unreadable

from . import cases, coverage
from .judge import Finding, Original, Stage, Tally, judge
from .protos import Feed
from .ways import Way, ways_for


@dataclass
class Report:
    """What came of one case. `thrown_away` says why the model can't be judged, and is empty where it can."""

    name: str
    thrown_away: str = ""
    findings: list[Finding] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)
    """The pipelines that it was sent through: presets and single passes by name, 'random' for the others."""
    nodes: int = 0
    opset: int = 0
    operators: Counter[str] = field(default_factory=Counter)
    types: set[str] = field(default_factory=set)
    features: set[str] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0


def examine(stage: Stage, name: str, precision: bool = False, skip: Sequence[str] = ()) -> Report:
    """Send the model of a case through all ways but those in `skip`; `precision` as for `ways_for`."""
    start = time.perf_counter()
    stage("make")
    report = Report(name)
    try:
        case = cases.load(name)
        stage("original")
        original = Original.of(case.model, case.feeds)
    except (CannotLoad, Rejected, Unreadable, cases.NoFeeds) as error:
        report.thrown_away = str(error)
        return report
    report.nodes, report.opset = len(case.model.graph.node), coverage.opset(case.model)
    report.operators, report.types = coverage.operators(case.model), coverage.types(case.model)
    report.features = coverage.features(case.model, case.feeds)
    for way in ways_for(case.seed, case.symbols, precision):
        if str(way) in skip:
            continue
        report.ways.append(way.kind)
        finding = judge(original, way, stage, report.tally)
        if finding is not None:
            report.findings.append(finding)
    report.seconds = time.perf_counter() - start
    return report


def make_case(stage: Stage, name: str) -> tuple[bytes, list[Feed]]:
    """The model and the feeds of a case."""
    case = cases.load(name)
    return case.model.SerializeToString(), list(case.feeds)


def try_model(stage: Stage, model: bytes, feeds: Sequence[Feed], way: Way) -> Finding | str | None:
    """What `judge` finds; a text where the model itself is no good."""
    stage("original")
    try:
        original = Original.of(onnx.ModelProto.FromString(model), feeds)
    except (CannotLoad, Rejected, Unreadable) as error:
        return str(error)
    return judge(original, way, stage)


def interior_values(stage: Stage, model: bytes, feeds: Sequence[Feed]) -> list[dict[str, Any]]:
    """The arrays of all results of the main graph, for each feed; only of those that can be had."""
    from onnx_opt.validate.run import Session
    from onnx_opt.validate.source import Source

    proto = onnx.ModelProto.FromString(model)
    names = [name for node in proto.graph.node for name in node.output if name]
    have = {value.name for value in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in have)
    order = [value.name for value in proto.graph.output]
    with Session(Source.of(proto.SerializeToString())) as session:
        return [dict(zip(order, session.run(feed), strict=True)) for feed in feeds]


TASKS = {task.__name__: task for task in (examine, make_case, try_model, interior_values)}
