"""Operators that move, repeat, cut or join elements, and make tensors from shapes."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from onnx import helper

from .draw import ANY, NUMBERS, dtype_of
from .registry import sampler
from .scope import Refused, Scope, Val


def ints(scope: Scope, values: list[int]) -> Val:
    """A constant list of int64."""
    return scope.const(np.array(values, np.int64))


def any_axis(scope: Scope, rank: int) -> int:
    """An axis, from the front or the end."""
    if rank == 0:
        raise Refused("a scalar has no axis")
    return scope.draw.integer(-rank, rank - 1)


def with_axes(scope: Scope, op: str, x: Val, axes: list[int] | None, since: int, **attributes: object) -> Val:
    """An operator that takes `axes` as an operand from the operator set `since`, as an attribute before."""
    if scope.plan.opset < since:
        return scope.node(op, [x], axes=axes, **attributes)
    return scope.node(op, [x, None if axes is None else ints(scope, axes)], **attributes)


@sampler(1.5)
def transpose(scope: Scope) -> Val:
    x = scope.pick(ANY)
    return scope.node(
        "Transpose", [x], perm=None if scope.draw.chance(0.15) else scope.draw.permutation(x.rank) or None
    )


@sampler(1.5)
def reshape(scope: Scope) -> Val:
    """To constant dims: taken over with 0, inferred with -1, split or merged."""
    draw = scope.draw
    x = scope.pick(ANY)
    wanted = [0 if dim is None or draw.chance(0.4) else dim for dim in x.dims]
    style = draw.pick(["same", "merge", "flat", "split", "infer"])
    if style == "merge" and x.rank > 1:
        at = draw.integer(0, x.rank - 2)
        wanted = [*wanted[:at], -1, *(d if d is not None else 1 for d in x.dims[at + 2 :])]
    elif style == "flat":
        wanted = [-1] if draw.chance(0.6) else draw.shuffled([-1, 1])
    elif style == "split":
        wanted = [*wanted, 1] if draw.chance(0.5) else [1, -1, *(d or 1 for d in x.dims[1:])]
    elif style == "infer" and x.rank:
        wanted[draw.integer(0, x.rank - 1)] = -1
    allowzero = draw.pick([None, None, 0, 1]) if scope.plan.opset >= 14 else None
    return scope.node("Reshape", [x, ints(scope, wanted)], allowzero=allowzero)


@sampler(0.7)
def flatten(scope: Scope) -> Val:
    x = scope.pick(ANY)
    lowest = -x.rank if scope.plan.opset >= 11 else 0
    return scope.node("Flatten", [x], axis=scope.draw.integer(lowest, x.rank))


@sampler(1.0)
def squeeze(scope: Scope) -> Val:
    x = scope.pick(ANY)
    ones = [axis for axis, dim in enumerate(x.dims) if dim == 1]
    axes = scope.draw.some(ones, 3)
    if not axes and scope.draw.chance(0.7):
        raise Refused("nothing to squeeze")
    signed = [axis - x.rank if scope.plan.opset >= 11 and scope.draw.chance(0.3) else axis for axis in axes]
    return with_axes(scope, "Squeeze", x, signed or None, 13)


@sampler(1.0)
def unsqueeze(scope: Scope) -> Val:
    x = scope.pick(ANY, where=lambda value: value.rank < 5)
    count = scope.draw.pick([1, 1, 2])
    axes = scope.draw.shuffled(range(x.rank + count))[:count]
    signed = [axis - x.rank - count if scope.plan.opset >= 11 and scope.draw.chance(0.3) else axis for axis in axes]
    return with_axes(scope, "Unsqueeze", x, signed, 13)


@sampler(0.9, 8)
def expand(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(ANY, where=lambda value: value.rank < 5)
    target = [1 if dim is None or draw.chance(0.4) else dim for dim in x.dims]
    target = [draw.integer(1, 3) if size == 1 and dim == 1 else size for size, dim in zip(target, x.dims, strict=True)]
    return scope.node("Expand", [x, ints(scope, [draw.integer(1, 2)] * draw.pick([0, 0, 1]) + target)])


@sampler(0.6)
def tile(scope: Scope) -> Val:
    x = scope.pick(ANY)
    if x.rank == 0:
        raise Refused("Tile of a scalar")
    return scope.node("Tile", [x, ints(scope, [scope.draw.pick([1, 1, 2, 3]) for _ in range(x.rank)])])


@sampler(1.5)
def concat(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(ANY, least=1)
    axis = draw.integer(0, x.rank - 1)
    parts = [x]
    for _ in range(draw.pick([0, 1, 1, 2])):
        mate = scope.find(lambda v: v.dtype == x.dtype and v.rank == x.rank and _joins(v, x, axis))
        if draw.chance(0.3) and None not in x.dims:
            dims = [draw.integer(0, 2) if at == axis else int(d or 0) for at, d in enumerate(x.dims)]
            mate = scope.const(draw.array(x.dtype, dims))
        parts.append(mate or x)
    signed = axis - x.rank if scope.plan.opset >= 11 and draw.chance(0.3) else axis
    return scope.node("Concat", draw.shuffled(parts), axis=signed)


def _joins(one: Val, two: Val, axis: int) -> bool:
    return all(
        p[:axis] == q[:axis] and p[axis + 1 :] == q[axis + 1 :] for p, q in zip(one.shapes, two.shapes, strict=True)
    )


@sampler(1.0)
def split(scope: Scope) -> object:
    draw = scope.draw
    x = scope.pick(ANY, least=1)
    axis = any_axis(scope, x.rank) if scope.plan.opset >= 11 else draw.integer(0, x.rank - 1)
    size = x.dims[axis]
    if size is None or size == 0:
        raise Refused("nothing to split")
    if draw.chance(0.6):
        cut = draw.integer(0, size)
        sizes = draw.pick([[cut, size - cut], [size], [1] * min(size, 4) if size <= 4 else [size]])
        if scope.plan.opset < 13:
            return scope.node("Split", [x], outputs=len(sizes), axis=axis, split=sizes)
        return scope.node("Split", [x, ints(scope, sizes)], outputs=len(sizes), axis=axis)
    count = draw.pick([n for n in range(1, size + 1) if size % n == 0] if scope.plan.opset < 18 else [1, 2, 3])
    number = {"num_outputs": count} if scope.plan.opset >= 18 else {}
    return scope.node("Split", [x], outputs=count, axis=axis, **number)


@sampler(2.0)
def slice_(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(ANY, least=1)
    axes = draw.some(range(x.rank), 2) or [draw.integer(0, x.rank - 1)]
    starts, ends, steps = [], [], []
    for axis in axes:
        size = max(x.size(axis), 1)
        step = draw.pick([1, 1, 1, 2, -1, -2]) if scope.plan.opset >= 10 else 1
        start, end = draw.pick(
            [(0, size), (0, 2**31 - 1), (1, 2**63 - 1), (-2, size), (0, -1), (1, 1), (0, 1), (-1, 99)]
        )
        starts.append(start if step > 0 else draw.pick([-1, size - 1, 99]))
        ends.append(end if step > 0 else draw.pick([-(2**63), -99, 0, -size - 1]))
        steps.append(step)
    if scope.plan.opset < 10:
        return scope.node("Slice", [x], axes=axes, starts=starts, ends=ends)
    signed = [axis - x.rank if draw.chance(0.3) else axis for axis in axes]
    named: list[Val | None] = [None if axes == list(range(len(axes))) and draw.chance(0.5) else ints(scope, signed)]
    stepped = [None if set(steps) == {1} and draw.chance(0.5) else ints(scope, steps)]
    return scope.node("Slice", [x, ints(scope, starts), ints(scope, ends), *named, *stepped])


@sampler(1.5)
def gather(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(ANY, least=1)
    axis = any_axis(scope, x.rank)
    size = x.size(axis)
    if not size:
        raise Refused("nothing to gather")
    dims = draw.pick([[], [1], [2], [size], [2, 1], [0]])
    indices = np.arange(size) if draw.chance(0.15) else draw.below(size, dims, negative=scope.plan.opset >= 11)
    kind = draw.pick(["int64", "int64", "int32"])
    return scope.node("Gather", [x, scope.const(indices.astype(kind))], axis=axis)


@sampler(0.5, 11)
def gather_elements(scope: Scope) -> Val:
    x = scope.pick(ANY, least=1, where=lambda value: not value.is_empty)
    axis = any_axis(scope, x.rank)
    dims = [min(x.size(a), scope.draw.integer(1, 3)) for a in range(x.rank)]
    return scope.node("GatherElements", [x, scope.const(scope.draw.below(x.size(axis), dims))], axis=axis)


@sampler(0.5, 11)
def gather_nd(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(ANY, least=1, where=lambda value: not value.is_empty)
    depth = draw.integer(1, x.rank)
    rows = [draw.below(x.size(axis), [2]) for axis in range(depth)]
    return scope.node("GatherND", [x, scope.const(np.stack(rows, -1).astype(np.int64))])


@sampler(0.6, 11)
def scatter_elements(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(NUMBERS, least=1, where=lambda value: not value.is_empty)
    axis = draw.integer(0, x.rank - 1)
    dims = [draw.integer(0 if draw.chance(0.2) else 1, min(x.size(a), 2)) for a in range(x.rank)]
    dims[axis] = min(dims[axis], x.size(axis))
    indices = draw.below(x.size(axis), dims) if draw.chance(0.3) else np.broadcast_to(
        np.arange(dims[axis]).reshape([-1 if a == axis else 1 for a in range(x.rank)]), dims
    ).astype(np.int64)  # fmt: skip
    unique = dims[axis] == 1 or len(np.unique(indices)) == dims[axis]
    reduction = draw.pick([None, "add"] if scope.plan.opset >= 16 and unique else [None])
    if not unique:
        raise Refused("the order of writes to one element is open")
    updates = scope.const(draw.array(x.dtype, dims))
    return scope.node(
        "ScatterElements", [x, scope.const(np.ascontiguousarray(indices)), updates], axis=axis, reduction=reduction
    )


@sampler(0.5, 11)
def scatter_nd(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(NUMBERS, least=1, where=lambda value: not value.is_empty)
    count = draw.integer(0, min(2, x.size(0)))
    if None in x.dims[1:]:
        raise Refused("updates of unknown size")
    indices = np.array(draw.shuffled(range(x.size(0)))[:count], np.int64).reshape(count, 1)
    updates = scope.const(draw.array(x.dtype, [count, *(int(d or 0) for d in x.dims[1:])]))
    return scope.node("ScatterND", [x, scope.const(indices), updates])


@sampler(1.2)
def pad(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(scope.plan.floats if scope.plan.opset < 13 else (), least=1)
    mode = draw.pick(["constant", "constant", "constant", "edge", "reflect"])
    amounts = [draw.pick([0, 0, 1, 2, -1] if mode == "constant" else [0, 0, 1]) for _ in range(2 * x.rank)]
    if draw.chance(0.15):
        amounts = [0] * len(amounts)
    number = draw.pick([0.0, -0.0, 1.0, 2.0])
    given = None if mode == "constant" and draw.chance(0.2) else mode
    if scope.plan.opset < 11:
        return scope.node("Pad", [x], mode=given, pads=amounts, value=number)
    operands = [x, ints(scope, amounts), None if draw.chance(0.3) else scope.scalar(number, x.dtype)]
    if scope.plan.opset >= 18 and draw.chance(0.4):
        axes = draw.shuffled(range(x.rank))[: draw.integer(1, x.rank)]
        operands[1] = ints(scope, amounts[: 2 * len(axes)])
        operands.append(ints(scope, [axis - x.rank if draw.chance(0.3) else axis for axis in axes]))
    return scope.node("Pad", operands, mode=given)


@sampler(0.8)
def shape(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(ANY)
    window = (
        {"start": draw.integer(-2, 2), "end": draw.pick([None, 1, 2, -1])}
        if scope.plan.opset >= 15 and draw.chance(0.3)
        else {}
    )
    return scope.node("Shape", [x], **window)


@sampler(0.2)
def size(scope: Scope) -> Val:
    return scope.node("Size", [scope.pick(ANY)])


@sampler(0.6, 9)
def constant_of_shape(scope: Scope) -> Val:
    draw = scope.draw
    dims = scope.find(lambda v: v.dtype == "int64" and v.rank == 1 and _is_small_shape(v))
    if dims is None or draw.chance(0.4):
        dims = ints(scope, [draw.integer(0, 3) for _ in range(draw.integer(0, 3))])
    value = None
    if draw.chance(0.7):
        filler = draw.array(draw.pick([*scope.plan.floats, *scope.plan.integers, "bool"]), [1])
        value = helper.make_tensor(
            "value", helper.np_dtype_to_tensor_dtype(filler.dtype), [1], filler.tobytes(), raw=True
        )
    return scope.node("ConstantOfShape", [dims], value=value)


def _is_small_shape(value: Val) -> bool:
    return all(
        v.size <= 5 and (v >= 0).all() and (v <= 64).all() and math.prod(v.tolist()) <= 1024 for v in value.values
    )


@sampler(0.5, 11)
def range_(scope: Scope) -> Val:
    draw = scope.draw
    kind = draw.pick(["int64", "int64", "int32", "float32"])
    limit = scope.find(lambda v: v.dtype == kind and v.rank == 0 and all(abs(x) < 20 for x in v.values))
    operands = [scope.scalar(draw.pick([0, 0, 1, -1]), kind), limit or scope.scalar(draw.integer(0, 6), kind)]
    return scope.node("Range", [*operands, scope.scalar(draw.pick([1, 1, 2, -1]), kind)])


@sampler(0.5, 10)
def resize(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.floating(rank=draw.pick([4, 3, 2]), wide=True)
    scales = [1.0, 1.0, 2.0, draw.pick([0.5, 1.5, 2.0])][4 - x.rank :] if draw.chance(0.7) else [1.0] * x.rank
    mode = draw.pick(["nearest", "nearest", "linear"])
    factors = scope.const(np.array(scales, np.float32))
    if scope.plan.opset < 11:
        return scope.node("Resize", [x, factors], mode=mode)
    coordinates = draw.pick([None, "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
    if draw.chance(0.4) and None not in x.dims:
        sizes = [max(1, int(int(dim or 1) * scale)) for dim, scale in zip(x.dims, scales, strict=True)]
        operands = [x, None, None, ints(scope, sizes)]
    else:
        operands = [x, None, factors]
    if scope.plan.opset < 13:
        operands[1] = scope.const(np.zeros(0, np.float32))
        if len(operands) == 4:
            operands[2] = scope.const(np.zeros(0, np.float32))
    return scope.node("Resize", operands, mode=mode, coordinate_transformation_mode=coordinates)


def _blocks(op: str, scope: Scope) -> Val:
    x = scope.floating(rank=4, wide=True)
    return scope.node(op, [x], blocksize=scope.draw.pick([1, 2]))


for _op in ("DepthToSpace", "SpaceToDepth"):
    sampler(0.15, 7, name=_op)(partial(_blocks, _op))


@sampler(0.2, 14)
def trilu(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick([*scope.plan.floats[:1], "int64", "bool"], least=2)
    k = scope.const(np.asarray(draw.integer(-1, 1), np.int64)) if draw.chance(0.5) else None
    return scope.node("Trilu", [x, k], upper=draw.pick([0, 1, None]))


@sampler(0.2, 10)
def reverse_sequence(scope: Scope) -> Val:
    x = scope.floating(least=2)
    batch = x.dims[1]
    if batch is None or not x.size(0):
        raise Refused("lengths of unknown number")
    lengths = scope.const(np.full(batch, scope.draw.integer(1, x.size(0)), np.int64))
    return scope.node("ReverseSequence", [x, lengths], time_axis=0, batch_axis=1)


@sampler(0.3, 9)
def one_hot(scope: Scope) -> Val:
    draw = scope.draw
    indices = scope.pick(["int64", "int32"], where=lambda value: value.rank < 4)
    depth = scope.scalar(draw.integer(1, 4), "int64")
    values = scope.const(draw.array(draw.pick(["float32", "int64"]), [2]))
    return scope.node("OneHot", [indices, depth, values], axis=draw.pick([-1, 0]))


@sampler(0.2, 9)
def eye_like(scope: Scope) -> Val:
    dtype = scope.draw.pick([None, int(helper.np_dtype_to_tensor_dtype(dtype_of("float32")))])
    return scope.node("EyeLike", [scope.pick(["float32", "int64"], rank=2)], dtype=dtype, k=scope.draw.integer(-1, 1))


@sampler(0.3, 9)
def non_zero(scope: Scope) -> Val:
    return scope.node("NonZero", [scope.pick([*scope.plan.floats, "bool", "int64"], least=1)])


@sampler(0.2, 11)
def compress(scope: Scope) -> Val:
    x = scope.pick(ANY, least=1)
    axis = scope.draw.integer(0, x.rank - 1)
    condition = scope.const(scope.draw.array("bool", [scope.draw.integer(0, x.size(axis))]))
    return scope.node("Compress", [x, condition], axis=axis)
