"""What a worker process does. Everything here may end the process: ONNX Runtime can."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import generator
import onnx

from onnx_opt.validate.run import CannotLoad, Rejected, Unreadable

from .judge import Feed, Finding, Original, Stage, judge
from .ways import Way, ways_for


@dataclass
class Report:
    """What came of one seed. `thrown_away` says why the model can't be judged, and is empty where it can."""

    seed: int
    thrown_away: str = ""
    findings: list[Finding] = field(default_factory=list)
    ways: int = 0
    nodes: int = 0
    operators: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def examine(stage: Stage, seed: int, skip: Sequence[str] = ()) -> Report:
    """Generate the model of a seed and send it through all ways but those in `skip`."""
    start = time.perf_counter()
    stage("generate")
    case = generator.make(seed)
    report = Report(seed, nodes=len(case.model.graph.node), operators=case.plan.accepted)
    stage("original")
    try:
        original = Original.of(case.model, case.feeds)
    except (CannotLoad, Rejected, Unreadable) as error:
        report.thrown_away = str(error)
        return report
    symbols = {name: sizes[0] for name, sizes in case.plan.symbols.items() if _is_declared(case.model, name)}
    for way in ways_for(seed, symbols):
        if str(way) in skip:
            continue
        report.ways += 1
        finding = judge(original, way, stage)
        if finding is not None:
            report.findings.append(finding)
    report.seconds = time.perf_counter() - start
    return report


def _is_declared(model: onnx.ModelProto, name: str) -> bool:
    return any(dim.dim_param == name for value in model.graph.input for dim in value.type.tensor_type.shape.dim)


def make_case(stage: Stage, seed: int) -> tuple[bytes, list[Feed]]:
    """The model and the feeds of a seed."""
    case = generator.make(seed)
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
