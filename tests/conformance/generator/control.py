"""If, Loop and Scan with captures, and local functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from .registry import draw_sampler, sampler
from .scope import Refused, Scope, Val, free_names

DEEPEST = 2
NAMED_TYPES = 0.5
"""How often a function's attribute is passed by the call."""
SCALAR: list[int | str | None] = []
"""Marks inputs of a body that must be declared as scalars."""


def grow(scope: Scope, count: int) -> None:
    """Try to add `count` operators or patterns."""
    for _ in range(count):
        try:
            with scope.attempt():
                draw_sampler(scope).sample(scope)
        except Refused:
            continue


def grow_on(scope: Scope, x: Val, count: int) -> Val:
    """Add operators that work on `x` by preference, and on each other's results; the last of these."""
    before, scope.focus = scope.focus, x
    try:
        for _ in range(count):
            known = len(scope.values)
            try:
                with scope.attempt():
                    draw_sampler(scope, without=("control", "layouts")).sample(scope)
            except Refused:
                continue
            made = [v for v in scope.values[known:] if not v.is_sequence and not v.constant and v.rank]
            scope.focus = made[-1] if made else scope.focus
        assert scope.focus is not None
        return scope.focus
    finally:
        scope.focus = before


def body_of(scope: Scope) -> Scope:
    """A scope that captures from this one. Its names are those of other bodies of its depth, or of what comes later
    around it, or its own."""
    if scope.depth >= DEEPEST or (scope.is_function and scope.draw.chance(0.7)):
        raise Refused("deep enough")
    style = scope.draw.pick(["depth", "depth", "depth", "later", "own"])
    prefix = {"depth": f"b{scope.depth + 1}_", "later": scope.prefix, "own": f"{scope.fresh()}_"}[style]
    made = Scope(scope.plan, scope, prefix)
    made.count = scope.count if style == "later" else 0
    return made


def graph_of(scope: Scope, outputs: list[Val], name: str, typed: bool = False) -> onnx.GraphProto:
    """A body as a graph. Types of inputs are stated where `typed`."""
    graph = onnx.GraphProto(name=name)
    graph.node.extend(scope.nodes)
    graph.initializer.extend(scope.initializers)
    ranked = scope.draw.chance(0.85)
    for value, dims in scope.inputs:
        graph.input.append(_typed(value, ranked or dims is SCALAR) if typed else onnx.ValueInfoProto(name=value.name))
    graph.output.extend(_typed(value, ranked) for value in outputs)
    return graph


def _typed(value: Val, ranked: bool) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(value.name, value.elem_type, [None] * value.rank if ranked else None)


def own(scope: Scope, value: Val) -> Val:
    """`value` as the result of a node of this scope: what a body may return."""
    produced = {name for node in scope.nodes for name in node.output}
    return value if value.name in produced else scope.node("Identity", [value])


@sampler(1.6)
def if_(scope: Scope) -> object:
    """Two branches with the same types; the condition is often constant, or known from the shapes."""
    draw = scope.draw
    condition = _condition(scope)
    branches = []
    first = body_of(scope)
    grow(first, draw.integer(1, 4))
    wanted = [own(first, value) for value in _results(first, draw.pick([1, 1, 2]))]
    branches.append((first, wanted))
    second = body_of(scope)
    if draw.chance(0.7):
        second.prefix, second.count = first.prefix, scope.count
    grow(second, draw.integer(0, 3))
    answers = []
    for value in wanted:
        twin = second.find(lambda v, like=value: _answers(scope, v, like))  # type: ignore[misc]
        if twin is None and None not in value.dims:
            twin = second.const(draw.array(value.dtype, [int(dim or 0) for dim in value.dims]))
        if twin is None:
            raise Refused("no value of that shape")
        answers.append(own(second, twin))
    branches.append((second, answers))
    if len({value.name for value in answers}) < len(answers):
        raise Refused("one value twice")
    if _hides_what_is_read(first, second) or _hides_what_is_read(second, first):
        raise Refused("ONNX Runtime gives a branch what the other one captures by that name")
    graphs = [graph_of(body, outputs, f"branch{i}") for i, (body, outputs) in enumerate(branches)]
    return scope.add(
        helper.make_node(
            "If", [condition.name], [scope.fresh() for _ in wanted], then_branch=graphs[0], else_branch=graphs[1]
        )
    )


def _hides_what_is_read(one: Scope, other: Scope) -> bool:
    """Whether an initializer of a branch has the name of something that the other branch captures."""
    captured = {name for node in other.nodes for name in free_names(node)} - {value.name for value in other.values}
    return any(tensor.name in captured for tensor in one.initializers)


def _answers(scope: Scope, value: Val, like: Val) -> bool:
    """Whether the second branch may return `value` for `like`: before operator set 11 the shapes must be the same."""
    if value.dtype != like.dtype or value.rank != like.rank:
        return False
    return value.shapes == like.shapes or scope.plan.opset >= 11


def _condition(scope: Scope) -> Val:
    draw = scope.draw
    style = draw.pick(["value", "constant", "shape", "value"])
    if style == "constant":
        return scope.const(np.asarray(draw.chance(0.5)))
    if style == "shape":
        x = scope.pick(least=1)
        size = scope.node("Gather", [scope.node("Shape", [x]), scope.const(np.asarray(0, np.int64))], axis=0)
        return scope.node(
            draw.pick(["Equal", "Greater"] if scope.plan.opset >= 9 else ["Equal"]),
            [size, scope.scalar(draw.integer(0, 3), "int64")],
        )
    return scope.pick(["bool"], where=lambda v: all(array.size == 1 for array in v.values) and v.rank < 2)


def _results(scope: Scope, count: int) -> list[Val]:
    values = [v for v in scope.values if not v.is_sequence]
    if not values:
        values = [scope.node("Identity", [scope.pick()])]
    recent = values[-4:]
    return scope.draw.shuffled(recent)[:count]


def _fed(scope: Scope, values: tuple[object, ...], dims: list[int | str | None] | None = None) -> Val:
    """An input of a body, with what it holds in the first round."""
    made = Val(scope.given(), values)
    scope.values.append(made)
    scope.inputs.append((made, dims if dims is not None else []))
    return made


@sampler(0.7, 11)
def loop(scope: Scope) -> object:
    """Carried values, scan outputs; some carried values never change."""
    draw = scope.draw
    worlds = scope.plan.worlds
    body = body_of(scope)
    _fed(body, (np.asarray(0, np.int64),) * worlds, SCALAR)
    going = _fed(body, (np.asarray(True),) * worlds, SCALAR)
    initial = [scope.pick() for _ in range(draw.pick([0, 1, 1, 2]))]
    carried = [_fed(body, value.values) for value in initial]
    grow(body, draw.integer(1, 4))
    returned = []
    for value in carried:
        found = body.find(lambda v, like=value: v.dtype == like.dtype and v.shapes == like.shapes, own=True)  # type: ignore[misc]
        returned.append(own(body, found if found is not None and draw.chance(0.8) else value))
    scanned = [own(body, value) for value in _results(body, draw.pick([0, 1, 1]) if carried else 1)]
    keep_going = own(body, going) if draw.chance(0.7) else body.node("Not", [going])
    names = [value.name for value in (keep_going, *returned, *scanned)]
    if len(set(names)) < len(names):
        raise Refused("one value twice")
    graph = graph_of(body, [keep_going, *returned, *scanned], "body", typed=True)
    trips = scope.scalar(draw.integer(0 if draw.chance(0.15) else 1, 3), "int64")
    start = scope.const(np.asarray(True)) if draw.chance(0.5) else None
    operands = [trips.name, start.name if start else "", *(value.name for value in initial)]
    results = [scope.fresh() for _ in names[1:]]
    return scope.add(helper.make_node("Loop", operands, results, body=graph))


@sampler(0.4, 9)
def scan(scope: Scope) -> object:
    """States, and slices along the first axis."""
    draw = scope.draw
    body = body_of(scope)
    sequence = scope.pick(least=1, where=lambda v: v.size(0) > 0)
    states = [scope.pick() for _ in range(draw.pick([0, 1]))]
    carried = [_fed(body, value.values) for value in states]
    _fed(body, tuple(array[0] for array in sequence.values))
    grow(body, draw.integer(1, 3))
    returned = []
    for value in carried:
        found = body.find(lambda v, like=value: v.dtype == like.dtype and v.shapes == like.shapes, own=True)  # type: ignore[misc]
        returned.append(own(body, found or value))
    scanned = [own(body, value) for value in _results(body, 1)]
    names = [value.name for value in (*returned, *scanned)]
    if len(set(names)) < len(names):
        raise Refused("one value twice")
    graph = graph_of(body, [*returned, *scanned], "body", typed=True)
    operands = [value.name for value in (*states, sequence)]
    results = [scope.fresh() for _ in names]
    return scope.add(helper.make_node("Scan", operands, results, body=graph, num_scan_inputs=1))


# -- functions ---------------------------------------------------------------------------------------------------------


@dataclass
class Function:
    """A local function, and what it was made for."""

    proto: onnx.FunctionProto
    kinds: list[tuple[str, int]]
    """The type and rank of each operand."""
    attributes: list[onnx.AttributeProto]
    """What a call passes."""
    outputs: int


REFERABLE = {onnx.AttributeProto.INT, onnx.AttributeProto.FLOAT, onnx.AttributeProto.INTS}


@sampler(1.0)
def new_function(scope: Scope) -> object:
    """Define a function and call it."""
    plan, draw = scope.plan, scope.draw
    if scope.is_function or plan.ir_version < 8 or len(plan.functions) >= 3:
        raise Refused("no functions here")
    operands = [scope.pick() for _ in range(draw.pick([1, 2, 2]))]
    inner = Scope(plan, prefix=draw.pick(["v", "f"]), is_function=True)
    for value in operands:
        _fed(inner, value.values)
    grow(inner, draw.integer(2, 5))
    results = [own(inner, value) for value in _results(inner, draw.pick([1, 1, 2]))]
    if len({value.name for value in results}) < len(results):
        raise Refused("one value twice")
    name = f"Local{len(plan.functions)}"
    nodes, attributes = _with_references(inner)
    proto = helper.make_function(
        "local",
        name,
        [value.name for value, _ in inner.inputs],
        [value.name for value in results],
        nodes,
        [helper.make_operatorsetid("", plan.opset), helper.make_operatorsetid("local", 1)],
        [attribute.name for attribute in attributes],
    )
    plan.functions[name] = Function(proto, [(v.dtype, v.rank) for v in operands], attributes, len(results))
    try:
        return _call(scope, name, operands)
    except Refused:
        del plan.functions[name]
        raise


def _with_references(scope: Scope) -> tuple[list[onnx.NodeProto], list[onnx.AttributeProto]]:
    """The nodes of a function, some of their attributes taken from the call."""
    nodes, passed = [], []
    for node in scope.nodes:
        made = onnx.NodeProto()
        made.CopyFrom(node)
        for attribute in made.attribute:
            if (
                attribute.type in REFERABLE
                and node.op_type not in ("Constant", "Cast")
                and scope.draw.chance(NAMED_TYPES)
            ):
                outer = onnx.AttributeProto()
                outer.CopyFrom(attribute)
                outer.name = f"{attribute.name}_{len(passed)}"
                passed.append(outer)
                kind, name = attribute.type, attribute.name
                attribute.Clear()
                attribute.name, attribute.type, attribute.ref_attr_name = name, kind, outer.name
        nodes.append(made)
    return nodes, passed


def _call(scope: Scope, name: str, operands: list[Val]) -> object:
    function = scope.plan.functions[name]
    results = [scope.fresh() for _ in range(function.outputs)]
    node = helper.make_node(name, [value.name for value in operands], results, domain="local")
    node.attribute.extend(function.attributes)
    return scope.add(node)


@sampler(1.5)
def call_again(scope: Scope) -> object:
    """Call a function that is there, from a function too."""
    if not scope.plan.functions:
        raise Refused("no function yet")
    name = scope.draw.pick(list(scope.plan.functions))
    kinds = scope.plan.functions[name].kinds
    return _call(scope, name, [scope.pick([dtype], rank) for dtype, rank in kinds])
