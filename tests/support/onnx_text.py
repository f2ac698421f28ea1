"""What the tests of transformations share: models in ONNX text, before and after."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.checker
import onnx.helper
import onnx.parser
import onnx.printer
from onnx import numpy_helper

from onnx_opt.ir import Graph, load, to_bytes
from onnx_opt.passes import PassContext
from onnx_opt.pipeline import Pipeline
from onnx_opt.target import find_target

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'


def parse(text: str) -> onnx.ModelProto:
    """A model from ONNX text; without a header, IR version 8 and opset 17."""
    return onnx.parser.parse_model(text if text.lstrip().startswith("<") else HEADER + text)


def run(before: str | onnx.ModelProto, pipeline: str, target: str = "portable") -> tuple[Graph, PassContext]:
    """The graph after `pipeline`, and the context with the journal."""
    graph = load(parse(before) if isinstance(before, str) else before)
    context = PassContext(target=find_target(target))
    Pipeline.parse(pipeline).run(graph, context)
    return graph, context


def expect(
    before: str, after: str, pipeline: str, *, target: str = "portable", exact: bool = False, lowered: str = ""
) -> PassContext:
    """`pipeline` turns `before` into `after` (names aside), a valid model that gives the same results: up to rounding
    to the type `lowered`."""
    source, wanted = parse(before), parse(after)
    graph, context = run(source, pipeline, target)
    result = onnx.ModelProto.FromString(to_bytes(graph))
    assert describe(result) == describe(wanted), f"\n{onnx.printer.to_text(result)}"
    if target == "portable":
        onnx.checker.check_model(result, full_check=True)
    from onnx_opt.validate import Reference, prove
    from onnx_opt.validate.special import SPECIAL_VALUES

    absent = frozenset(SPECIAL_VALUES) if Pipeline.parse(pipeline).finite_only else frozenset()
    reference = Reference(source.SerializeToString(), absent=absent)
    verdict = prove(reference, result.SerializeToString(), exact=exact, lowered=lowered)
    assert verdict.status == "proven", verdict.reason
    return context


def expect_unchanged(before: str, pipeline: str, reason: str = "", *, target: str = "portable") -> None:
    """`pipeline` leaves `before` alone to the byte, and says why: `reason` is part of a recorded decline."""
    source = parse(before)
    graph, context = run(source, pipeline, target)
    assert to_bytes(graph) == source.SerializeToString(), (
        f"\n{onnx.printer.to_text(onnx.ModelProto.FromString(to_bytes(graph)))}"
    )
    assert not reason or any(reason in text for text in reasons(context)), reasons(context)


def reasons(context: PassContext) -> list[str]:
    """Every recorded reason for leaving something alone."""
    return context.journal.reasons()


def describe(model: onnx.ModelProto) -> str:
    """The main graph in a form in which interior names do not matter: values are numbered in order of definition,
    initializers are named by their contents."""
    graph = model.graph
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    names.update({tensor.name: _contents(tensor) for tensor in graph.initializer})
    lines = [f"inputs {sorted(v.name for v in graph.input)} outputs {[v.name for v in graph.output]}"]
    for node in graph.node:
        for output in node.output:
            names.setdefault(output, f"%{len(names)}")
    numbers: dict[str, str] = {}
    for node in graph.node:
        operands = [_name(names, numbers, name) for name in node.input]
        results = [_name(names, numbers, name) for name in node.output]
        attributes = sorted(
            onnx.helper.printable_attribute(a) if a.type != a.TENSOR else f"{a.name}={_contents(a.t)}"
            for a in node.attribute
        )
        lines.append(f"{results} = {node.domain}::{node.op_type}({operands}) {attributes}")
    used = {name for node in graph.node for name in node.input} | {v.name for v in graph.output}
    lines += sorted(f"unused {_contents(t)}" for t in graph.initializer if t.name not in used)
    return "\n".join(lines)


def _name(names: dict[str, str], numbers: dict[str, str], name: str) -> str:
    known = names.get(name, name)
    return numbers.setdefault(name, f"%{len(numbers)}") if known.startswith("%") else known


def _contents(tensor: onnx.TensorProto) -> str:
    array = numpy_helper.to_array(tensor)
    if array.dtype.kind == "f":
        array = np.round(array.astype(np.float64), 4) + 0.0
    return f"{tensor.data_type}{list(array.shape)}{array.ravel().tolist()}"
