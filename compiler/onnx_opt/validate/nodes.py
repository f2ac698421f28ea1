"""Nodes in place of others: the identity, a reversal, fixed noise; and a graph cut at nodes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

_INT64_MIN = -(1 << 63)


def output_names(nodes: Iterable[onnx.NodeProto], operators: Iterable[str]) -> set[str]:
    """What nodes of these types are called: by their first outputs."""
    wanted = set(operators)
    return {node.output[0] for node in nodes if node.op_type in wanted and node.output}


class _Builder:
    """Makes nodes whose intermediate values are named after the node that they replace."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.prefix = f"{node.output[0]}/stand-in"
        self.nodes: list[onnx.NodeProto] = []

    def make(self, op: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = output or f"{self.prefix}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, values: Any, dtype: Any) -> str:
        from onnx import numpy_helper

        return self.make("Constant", [], value=numpy_helper.from_array(np.array(values, dtype)))


def identity(node: onnx.NodeProto, chosen: int) -> list[onnx.NodeProto]:
    """Every output is the chosen input."""
    build = _Builder(node)
    chosen = chosen if chosen < len(node.input) else 0
    for output in filter(None, node.output):
        build.make("Identity", [node.input[chosen]], output)
    return build.nodes


def reversal(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Every output is the first input with its elements in reverse order: of any type, and unlike any operator that a
    rewrite might move past it."""
    build = _Builder(node)
    data = node.input[0] if node.input else build.constant([0.0], np.float32)
    flat = build.make("Reshape", [data, build.constant([-1], np.int64)])
    bounds = [build.constant([value], np.int64) for value in (-1, _INT64_MIN, 0, -1)]
    turned = build.make("Slice", [flat, *bounds])
    shape = build.make("Shape", [data])
    for output in filter(None, node.output):
        build.make("Reshape", [turned, shape], output)
    return build.nodes


def fixed_noise(node: onnx.NodeProto, opset: int) -> list[onnx.NodeProto]:
    """Numbers of the random operator's shape, type and about its distribution, that depend on its name only."""
    from onnx import TensorProto, helper

    build = _Builder(node)
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    like = node.input[0] if node.input else ""
    shape = build.make("Shape", [like]) if like else build.constant(list(attributes.get("shape", [])), np.int64)
    count = build.make("ReduceProd", [shape], keepdims=0)
    steps = build.make("Range", [build.constant(0, np.int64), count, build.constant(1, np.int64)])
    angle = build.make("Mul", [build.make("Cast", [steps], to=TensorProto.FLOAT), build.constant(1.618, np.float32)])
    phase = zlib.crc32(node.output[0].encode()) % 6283 / 1000
    wave = build.make("Sin", [build.make("Add", [angle, build.constant(phase, np.float32)])])
    scale, shift = _affine(node.op_type, attributes)
    spread = build.make("Mul", [wave, build.constant(scale, np.float32)])
    values = build.make("Reshape", [build.make("Add", [spread, build.constant(shift, np.float32)]), shape])
    if node.op_type == "Bernoulli":
        values = build.make("Less", [values, build.make("Cast", [like], to=TensorProto.FLOAT)])
    if "dtype" in attributes or not like or opset < 15:
        build.make("Cast", [values], node.output[0], to=attributes.get("dtype", TensorProto.FLOAT))
    else:
        build.make("CastLike", [values, like], node.output[0])
    return build.nodes


def _affine(op: str, attributes: dict[str, Any]) -> tuple[float, float]:
    """(scale, shift) that take a sine to the range of the distribution."""
    if "Normal" in op:
        return 1.4 * attributes.get("scale", 1.0), attributes.get("mean", 0.0)
    low, high = attributes.get("low", 0.0), attributes.get("high", 1.0)
    return (high - low) / 2, (high + low) / 2


def cut_at(model: onnx.ModelProto, names: set[str], elem_type: str) -> None:
    """Takes the nodes whose first outputs are `names` out of the main graph, in place: their outputs become inputs, of
    `elem_type` and unknown shape where the model declares none, and their inputs become outputs."""
    from onnx import TensorProto, ValueInfoProto, helper

    graph = model.graph
    cut = [node for node in graph.node if node.output and node.output[0] in names]
    rest = [node for node in graph.node if not (node.output and node.output[0] in names)]
    declared = {info.name: info for info in graph.value_info}
    made = [name for node in cut for name in node.output if name]
    outputs = [info for info in graph.output if info.name not in made]
    probes, probed = [], []
    for node in cut:
        for i, name in enumerate(node.input):
            if name:
                probes.append(helper.make_node("Identity", [name], [f"{node.output[0]}/input {i}"]))
                probed.append(ValueInfoProto(name=f"{node.output[0]}/input {i}"))
    copies = [type(node).FromString(node.SerializeToString()) for node in rest]
    outputs = [type(info).FromString(info.SerializeToString()) for info in outputs]
    del graph.node[:], graph.output[:]
    graph.node.extend(copies + probes)
    graph.output.extend(outputs + probed)
    for name in made:
        known = declared.get(name)
        graph.input.append(known or helper.make_tensor_value_info(name, TensorProto.DataType.Value(elem_type), None))
