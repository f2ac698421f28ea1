"""Shape arithmetic: sizes that are taken, computed with, joined, and used."""

from __future__ import annotations

import numpy as np

from .motifs import kind_of
from .movement import ints
from .registry import sampler
from .scope import Refused, Scope, Val


def dim_of(scope: Scope, x: Val, rank: int) -> Val:
    """One size of `x`, as a 0-d or a 1-d value."""
    draw = scope.draw
    axis = draw.integer(0, x.rank - 1)
    whole = scope.node("Shape", [x])
    if draw.chance(0.6) or scope.plan.opset < 10:
        index = np.array(axis if rank == 0 else [axis], np.int64)
        return scope.node("Gather", [whole, scope.const(index)], axis=0)
    cut = scope.node("Slice", [whole, ints(scope, [axis]), ints(scope, [axis + 1]), ints(scope, [0])])
    if rank == 1:
        return cut
    return scope.node("Reshape", [cut, ints(scope, [])]) if draw.chance(0.3) else _squeezed(scope, cut)


def _squeezed(scope: Scope, x: Val) -> Val:
    if scope.plan.opset < 13:
        return scope.node("Squeeze", [x], axes=[0])
    return scope.node("Squeeze", [x, ints(scope, [0])])


def unsqueezed(scope: Scope, x: Val) -> Val:
    """A 0-d value as 1-d."""
    if scope.plan.opset < 13:
        return scope.node("Unsqueeze", [x], axes=[0])
    return scope.node("Unsqueeze", [x, ints(scope, [0])])


def arithmetic(scope: Scope, x: Val) -> Val:
    """Something computed from a size."""
    draw = scope.draw
    op = draw.pick(["Add", "Mul", "Sub", "Div", "Max", "Min", "Cast", "Neg", "Abs", "float"])
    number = scope.const(
        np.full([] if draw.chance(0.5) else x.shapes[0], draw.pick([1, 1, 2, 3, -1 if op != "Div" else 2]))
    )
    if op == "Cast":
        there = scope.node("Cast", [x], to=kind_of(draw.pick(["int32", "float32", "float64"])))
        return scope.node("Cast", [there], to=kind_of("int64"))
    if op == "float":
        real = scope.node("Cast", [x], to=kind_of("float32"))
        real = scope.node(draw.pick(["Mul", "Div"]), [real, scope.scalar(draw.pick([2.0, 0.5, 1.5, 3.0]), "float32")])
        real = scope.node(draw.pick(["Floor", "Ceil"]), [real])
        return scope.node("Cast", [real], to=kind_of("int64"))
    if op in ("Neg", "Abs"):
        return scope.node(op, [x])
    if op in ("Max", "Min") and scope.plan.opset < 12:
        raise Refused("no integers yet")
    return scope.node(op, [number, x] if op != "Div" and draw.chance(0.3) else [x, number])


def small(value: Val) -> Val:
    """`value`, if it is fit to be a size."""
    if any((array < -1).any() or (array > 40).any() for array in value.values):
        raise Refused("no size")
    return value


def computed_dims(scope: Scope, x: Val, count: int) -> Val:
    """A list of dims: sizes of `x`, constants, things computed from them, joined."""
    draw = scope.draw
    parts = []
    for _ in range(count):
        if draw.chance(0.3):
            parts.append(ints(scope, [draw.pick([1, 1, 2, 3, -1])]))
            continue
        size = dim_of(scope, x, draw.pick([0, 1]))
        if draw.chance(0.4):
            size = arithmetic(scope, size)
        parts.append(unsqueezed(scope, size) if size.rank == 0 else size)
    return small(scope.node("Concat", parts, axis=0))


@sampler(3.5, 8)
def shape_chain(scope: Scope) -> object:
    """Shape arithmetic, and what it is for."""
    draw = scope.draw
    x = scope.pick([*scope.plan.floats, "int64", "bool"], least=1)
    style = draw.pick(["reshape", "own", "merge", "expand", "range", "fill", "slice", "tile", "keep"])
    if style == "own":
        wanted = [dim for axis in range(x.rank) for dim in [_size_at(scope, x, axis)]]
        wanted[draw.integer(0, x.rank - 1)] = ints(scope, [-1]) if draw.chance(0.5) else wanted[0]
        return scope.node("Reshape", [x, small(scope.node("Concat", wanted, axis=0))])
    if style == "merge":
        parts = [_size_at(scope, x, 0), ints(scope, [-1]), ints(scope, [draw.pick([1, 2, 1])])]
        return scope.node("Reshape", [x, scope.node("Concat", draw.shuffled(parts)[: draw.integer(1, 3)], axis=0)])
    if style == "reshape":
        return scope.node("Reshape", [x, computed_dims(scope, x, draw.integer(1, 3))])
    if style == "expand":
        target = scope.node("Shape", [x]) if draw.chance(0.5) else computed_dims(scope, x, draw.integer(1, 3))
        source = x if draw.chance(0.4) else scope.const(draw.array(x.dtype, draw.pick([[], [1], [1, 1]])))
        return scope.node("Expand", [source, target])
    if style == "fill" and scope.plan.opset >= 9:
        return scope.node("ConstantOfShape", [computed_dims(scope, x, draw.integer(1, 2))])
    if style == "range" and scope.plan.opset >= 11:
        limit = small(dim_of(scope, x, 0))
        return scope.node("Range", [scope.scalar(0, "int64"), limit, scope.scalar(draw.pick([1, 1, 2]), "int64")])
    if style == "slice" and scope.plan.opset >= 10:
        end = dim_of(scope, x, 1)
        end = arithmetic(scope, end) if draw.chance(0.4) else end
        return scope.node(
            "Slice", [x, ints(scope, [draw.pick([0, 0, 1])]), end, ints(scope, [draw.integer(0, x.rank - 1)])]
        )
    if style == "tile":
        return scope.node("Tile", [x, scope.node("Concat", [_size_at(scope, x, a) for a in range(x.rank)], axis=0)])
    return computed_dims(scope, x, draw.integer(1, 3))


def _size_at(scope: Scope, x: Val, axis: int) -> Val:
    return scope.node("Gather", [scope.node("Shape", [x]), ints(scope, [axis])], axis=0)
