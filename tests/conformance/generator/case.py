"""A whole model: its size, its types, what it returns, and what it carries along unused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import control, elementwise, layouts, linear, motifs, movement, newer, reduction, shapes, typed
from .draw import Draw
from .scope import Plan, Scope, Val, free_names

SAMPLERS = (control, elementwise, layouts, linear, motifs, movement, newer, reduction, shapes, typed)
"""Importing them registers their samplers."""
WORLDS = 3
THEMES = (
    "", "", "", "linear_chain", "linear_chain", "layouts", "layouts", "shape_chain", "nothing_added",
    "nothing_moved", "constants_only", "movement", "control", "expression", "elementwise",
)  # fmt: skip
OPSETS = (7, 8, 9, 10, 11, 11, 12, 13, 13, 14, 15, 16, 17, 17, 18, 18, 19, 20, 21, 21, 22, 23, 23, 24, 25, 26)


@dataclass
class Case:
    """A model and the feeds it runs on, each with other sizes of the dynamic dims."""

    seed: int
    model: onnx.ModelProto
    feeds: list[dict[str, Any]]
    plan: Plan


def make(seed: int) -> Case:
    """The case of a seed."""
    draw = Draw(seed)
    plan = _plan(draw)
    scope = Scope(plan)
    for _ in range(draw.integer(1, 2)):
        scope.source(plan.floats[0], draw.pick([1, 2, 2, 3, 3, 4, 4]))
    control.grow(scope, draw.pick([3, 6, 10, 16, 24]))
    if not scope.nodes:
        scope.node("Identity", [scope.pick()])
    model = _model(scope)
    return Case(seed, model, _feeds(scope, model), plan)


def _plan(draw: Draw) -> Plan:
    opset = draw.pick(OPSETS)
    names = ["N", "seq", "?a", "?b"][: draw.integer(1, 4)]
    largest = draw.pick([3, 4, 5])
    symbols = {name: [draw.integer(1, largest) for _ in range(WORLDS)] for name in names}
    if draw.chance(0.1):
        symbols[draw.pick(names)][WORLDS - 1] = 0
    floats = draw.pick([["float32"]] * 6 + [["float32", "float64"], ["float64"], ["float16"], ["float32", "float16"]])
    if opset >= 13 and draw.chance(0.06):
        floats = ["float32", "bfloat16"]
    integers = draw.pick(
        [["int64"]] * 4
        + [["int64", "int32"], ["int64", "uint8"], ["int64", "int8"], ["int32", "uint32"]]
        + [["int64", "int16"], ["int64", "uint64"]]
    )
    ir_version = draw.pick([3, 3, 4] if opset < 9 and draw.chance(0.7) else [4, 6, 7, 8, 8, 9, 10, 11])
    if draw.chance(0.05):
        ir_version = 3
    return Plan(draw, opset, ir_version, symbols, floats, integers, draw.pick(THEMES))


def _model(scope: Scope) -> onnx.ModelProto:
    plan, draw = scope.plan, scope.draw
    outputs = _outputs(scope)
    graph = onnx.GraphProto(name="fuzz")
    _name_nodes(scope)
    _leave_out_results(scope, outputs)
    graph.node.extend(scope.nodes)
    graph.initializer.extend(scope.initializers)
    _duplicate_initializers(draw, graph)
    graph.input.extend(_declared_input(value, axes) for value, axes in scope.inputs)
    if draw.chance(0.2):
        graph.input.append(helper.make_tensor_value_info("unused", onnx.TensorProto.FLOAT, [2, "N"]))
    if draw.chance(0.15):
        graph.initializer.append(numpy_helper.from_array(draw.array("float32", [2]), "unread"))
    if plan.ir_version < 4:
        _list_initializers(graph)
    declared = {value: _declared(draw, value) for value in outputs}
    graph.output.extend(declared[value] for value in outputs)
    if draw.chance(0.3):
        produced = [v for v in scope.values if not v.is_sequence and _is_result(scope, v) and v not in outputs]
        graph.value_info.extend(_declared(draw, value) for value in draw.some(produced, 5))
    model = helper.make_model(graph, ir_version=plan.ir_version, opset_imports=plan.opsets, producer_name="fuzz")
    if plan.ir_version >= 8:
        model.functions.extend(function.proto for function in plan.functions.values())
    return model


def _is_result(scope: Scope, value: Val) -> bool:
    return any(value.name in node.output for node in scope.nodes)


def _outputs(scope: Scope) -> list[Val]:
    """What nothing reads, mostly; now and then interiors, an input, a constant, a value twice."""
    draw = scope.draw
    read = {name for node in scope.nodes for name in free_names(node)}
    made = {name for node in scope.nodes for name in node.output}
    results = [v for v in scope.values if v.name in made and not v.is_sequence]
    leaves = [v for v in results if v.name not in read and not (v.constant and draw.chance(0.5))]
    inner = [v for v in results if v.name in read]
    chosen = [v for v in leaves if draw.chance(0.85)][-8:] + draw.some(inner, draw.pick([0, 1, 1, 2]))
    if draw.chance(0.05):
        chosen += draw.some(scope.values[:3], 1)
    chosen = [v for v in dict.fromkeys(chosen) if not v.is_sequence] or [results[-1]]
    if draw.chance(0.05):
        chosen.append(draw.pick(chosen))
    return draw.shuffled(chosen)


def _name_nodes(scope: Scope) -> None:
    """No names; names that are unique in the main graph and come again in bodies; names that several nodes bear."""
    if scope.draw.chance(0.3):
        return
    count = scope.draw.pick([1, 3]) if scope.draw.chance(0.1) else len(scope.nodes)
    for index, node in enumerate(scope.nodes):
        node.name = f"node_{index % count}" if scope.draw.chance(0.9) else ""
        for attribute in node.attribute:
            for inner, body_node in enumerate(attribute.g.node):
                body_node.name = f"node_{inner}"


OPTIONAL_RESULTS = {
    "LSTM": 0, "GRU": 0, "RNN": 0, "MaxPool": 1, "Dropout": 1, "LayerNormalization": 1, "Unique": 1,
}  # fmt: skip
"""Operators and the first of their results that may be absent."""


def _leave_out_results(scope: Scope, outputs: Sequence[Val]) -> None:
    """Give no name to some of the results that nothing reads."""
    read = {name for node in scope.nodes for name in free_names(node)} | {value.name for value in outputs}
    for node in scope.nodes:
        first = OPTIONAL_RESULTS.get(node.op_type, len(node.output))
        unread = [index for index, name in enumerate(node.output) if index >= first and name not in read]
        for index in unread if len(unread) < len(node.output) and scope.draw.chance(0.5) else ():
            node.output[index] = ""


def _duplicate_initializers(draw: Draw, graph: onnx.GraphProto) -> None:
    """Give some operands a copy of their initializer, bit for bit or with the other zero or another NaN."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    fed = {value.name for value in graph.input}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in tensors and name not in fed and draw.chance(0.06):
                copy = onnx.TensorProto()
                copy.CopyFrom(tensors[name])
                copy.name = f"{name}_copy{len(graph.initializer)}"
                graph.initializer.append(copy)
                node.input[index] = copy.name


def _list_initializers(graph: onnx.GraphProto) -> None:
    """Before IR version 4 every initializer is an input as well."""
    for tensor in graph.initializer:
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))


def _declared_input(value: Val, axes: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    dims = [None if isinstance(axis, str) and axis.startswith("?") else axis for axis in axes]
    return helper.make_tensor_value_info(value.name, value.elem_type, dims)


def _declared(draw: Draw, value: Val) -> onnx.ValueInfoProto:
    """The type of a result: without shape, with unnamed dims, or with the sizes that are the same on every feed."""
    if draw.chance(0.1):
        return helper.make_tensor_value_info(value.name, value.elem_type, None)
    # A 0 may be what ONNX Runtime makes of a Loop without rounds, and not what its body says.
    dims = [dim if dim and draw.chance(0.7) else None for dim in value.dims]
    return helper.make_tensor_value_info(value.name, value.elem_type, dims)


def _feeds(scope: Scope, model: onnx.ModelProto) -> list[dict[str, Any]]:
    """The values of the inputs in each world; what may be overridden is left alone in the first."""
    defaults = {tensor.name for tensor in scope.initializers}
    feeds = []
    for world in range(scope.plan.worlds):
        feed = {
            value.name: value.values[world] for value, _ in scope.inputs if not (value.name in defaults and world == 0)
        }
        if any(value.name == "unused" for value in model.graph.input):
            feed["unused"] = np.zeros((2, scope.plan.symbols["N"][world]), np.float32)
        feeds.append(feed)
    return feeds
