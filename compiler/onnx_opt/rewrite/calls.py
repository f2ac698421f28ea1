"""Inlining of local functions: the nodes of the body take the place of a call."""

from __future__ import annotations

from typing import Any

from onnx import AttributeProto

from onnx_opt import schemas, wire
from onnx_opt.ir import Graph, Node, Origin, Value, attributes
from onnx_opt.ir.attributes import AttributeRef
from onnx_opt.ir.graph import Function

ATTRIBUTE_DEFAULTS = 11
"""The field of FunctionProto that holds attributes with their defaults."""


def obstacle(node: Node, function: Function) -> str:
    """Why a call can't be inlined; '' where it can."""
    assert node.graph is not None
    model = node.graph.model
    if node.has_attribute_refs or node.graph.in_function:
        return "it is called from a local function"
    if len(node.inputs) > len(function.inputs) or len(node.outputs) > len(function.outputs):
        return "the call has more operands or results than the function"
    for inner in function:
        if inner.bodies:
            return f"the function has a node with subgraphs ({inner.op})"
        if inner.overload:
            return f"the function calls an overload of {inner.op}"
        here, there = model.opsets.get(inner.domain), function.opsets.get(inner.domain, 0)
        if here is not None and here != there and not _same_operator(inner, here, there):
            return f"the function means {inner.op} of operator set {there}, the model imports {here}"
    return ""


def _same_operator(node: Node, here: int, there: int) -> bool:
    since = schemas.since(node.op, node.domain, here)
    return since != 0 and since == schemas.since(node.op, node.domain, there)


def inline_call(node: Node, function: Function, rule: str) -> list[Node]:
    """Replace a call by the nodes of the function, for which `obstacle` found nothing; returns them.

    Attributes that the body takes from the call get the call's value, else the function's default, else are left out.
    """
    graph = node.graph
    assert graph is not None
    given = {**_defaults(function), **node.attrs}
    values: dict[Value, Value | None] = {value: node.input(index) for index, value in enumerate(function.inputs)}
    for constant in function.constants:
        values[constant] = graph.add_constant(constant.values, constant.name)
    made: list[Node] = []
    for inner in function:
        graph.model.require_opset(inner.domain, function.opsets.get(inner.domain, 1))
        operands = [values[value] if value.name else None for value in inner.inputs]
        origin = Origin.merge(rule, [node.origin])
        name = f"{node.label()}/{inner.label()}"
        new = graph.make_node(inner.op, operands, _bound(inner, given), inner.domain, len(inner.outputs), name, origin)
        graph.insert(new, node)
        values.update(zip(inner.outputs, new.outputs, strict=True))
        made.append(new)
    _hand_over(graph, node, function, values, rule)
    return made


def _hand_over(graph: Graph, node: Node, function: Function, values: dict[Value, Value | None], rule: str) -> None:
    """Let what read the call read the values that the function gives."""
    for result, inner in zip(list(node.outputs), function.outputs, strict=False):
        new = values[inner]
        if new is not None and result.name and result.uses:
            graph.replace_value(result, new)
    graph.model.settle()
    if node.alive:
        graph.erase(node, force=True)


def _bound(node: Node, given: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in node.attrs.items():
        bound = given.get(value.name) if isinstance(value, AttributeRef) else value
        if bound is not None:
            found[name] = bound
    return found


def _defaults(function: Function) -> dict[str, Any]:
    if function.source is None:
        return {}
    buffer = function.model.buffer
    found = [
        AttributeProto.FromString(buffer[start:end])
        for field, _, start, end in wire.scan(buffer, function.source.start, function.source.end)
        if field == ATTRIBUTE_DEFAULTS
    ]
    return {proto.name: attributes.decode(proto) for proto in found}
