"""Operators that cut tensors apart, join them and put a border around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx_opt.analysis.infer.registry import NodeView, Unknown, axes_of, axis_of, infer
from onnx_opt.shapes import Dim, Shapes
from onnx_opt.types import TensorType, Type

FAR = 2**31 - 1
"""From here on an end means "to the last element": exporters write INT_MAX or INT64_MAX."""


@infer("Concat")
def concat(n: NodeView) -> Type:
    """Sizes add up on `axis`; the other dims are the same in all operands."""
    count = len(n.types)
    elem_type = next((n.elem(i) for i in range(count) if n.elem(i)), 0)
    ranks = {len(dims) for i in range(count) if (dims := n.dims(i)) is not None}
    if len(ranks) != 1:
        return TensorType(elem_type, None)
    rank = ranks.pop()
    axis = axis_of(int(n.attr("axis", 1)), rank)
    known = [dims for i in range(count) if (dims := n.dims(i)) is not None]
    joined = [_most_telling(n, [each[i] for each in known]) for i in range(rank)]
    joined[axis] = _sum(n, [each[axis] for each in known]) if len(known) == count else n.fresh()
    return n.result(elem_type, joined)


def _sum(n: NodeView, sizes: list[Any]) -> Dim:
    total: Dim = sum(size for size in sizes if isinstance(size, int))
    for size in sizes:
        if not isinstance(size, int):
            total = n.shapes.add(total, size)
    return total


def _most_telling(n: NodeView, same: Sequence[Any]) -> Any:
    """Of several forms of one size the best: an int, or one made of the model's own symbols."""
    ints = {dim for dim in same if isinstance(dim, int)}
    if ints:
        return ints.pop() if len(ints) == 1 else n.fresh()  # runtimes overlook it where an operand is empty
    return next((dim for dim in same if not n.shapes.is_made(dim)), same[0])


@infer("Split")
def split(n: NodeView) -> list[Type | None]:
    """Parts along `axis`, of the given sizes, else equal with a smaller last one."""
    dims = n.known_dims(0)
    axis = axis_of(int(n.attr("axis", 0)), len(dims))
    count = n.result_count
    return [n.result(n.elem(0), (*dims[:axis], size, *dims[axis + 1 :])) for size in _parts(n, dims[axis], count)]


def _parts(n: NodeView, size: Any, count: int) -> list[Any]:
    if n.version >= 13 and n.present(1):
        given = [size] if count == 1 else n.elements(1)
        return given if given is not None and len(given) == count else [n.fresh() for _ in range(count)]
    sizes = n.ints("split") if n.version < 13 else None
    if sizes is not None:
        return sizes if len(sizes) == count else [n.fresh() for _ in range(count)]
    if n.version < 18 and not isinstance(size, int):
        return [n.shapes.floordiv(size, count)] * count
    return even_parts(n.shapes, size, count)


def even_parts(shapes: Shapes, size: Any, count: int) -> list[Any]:
    """`count` equal parts; where `size` is no multiple, the last one is smaller (since version 18)."""
    part = shapes.quotient(size, count)
    if part is not None:
        return [part] * count
    part = shapes.ceildiv(size, count)
    last = size - part * (count - 1) if isinstance(part, int) and isinstance(size, int) else -1
    return [part] * (count - 1) + [last] if last >= 0 else [shapes.fresh() for _ in range(count)]


# -- Slice -------------------------------------------------------------------------------------------------------------


@infer("Slice")
def slice_(n: NodeView) -> Type:
    """data[start:end:step] on each of `axes`; attributes before version 10, operands since."""
    dims = list(n.known_dims(0))
    ranges = slice_ranges(n, len(dims))
    if ranges is None:
        return n.result(n.elem(0), n.unknown_dims(len(dims)))
    for axis, start, end, step in ranges:
        dims[axis] = slice_length(n.shapes, dims[axis], start, end, step)
    return n.result(n.elem(0), dims)


def slice_ranges(n: NodeView, rank: int) -> list[tuple[int, Any, Any, Any]] | None:
    """(axis, start, end, step) of each axis that a Slice cuts; None where the axes are unknown."""
    if n.version < 10:
        starts, ends, axes, steps = n.ints("starts"), n.ints("ends"), n.ints("axes"), None
    else:
        starts, ends = n.elements(1), n.elements(2)
        axes = n.int_list(3)
        steps = n.elements(4)
        if (n.present(3) and axes is None) or (n.present(4) and steps is None):
            return None
    if starts is None or ends is None:
        return None
    found = axes_of(axes if axes is not None else range(len(starts)), rank)
    if not len(found) == len(starts) == len(ends) or (steps is not None and len(steps) != len(found)):
        raise Unknown
    return list(zip(found, starts, ends, steps or [1] * len(found), strict=True))


def slice_length(shapes: Shapes, size: Any, start: Any, end: Any, step: Any) -> Dim:
    """How many elements [start:end:step] takes of `size`: bounds count from the end where they are negative, and are
    clamped. Where runtimes clamp differently nothing is said."""
    length = None
    if isinstance(step, int) and step > 0:
        length = _forward(shapes, size, start, end)
    elif isinstance(step, int) and step < 0:
        length = _backward(size, start, end)
    if length is None:
        return shapes.opaque(("slice", size, start, end, step), 0, shapes.bounds(size)[1])
    return shapes.ceildiv(length, abs(step))


def _forward(shapes: Shapes, size: Any, start: Any, end: Any) -> Any:
    """The length of [start:end], None where a bound may be negative or not."""
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        return len(range(*slice(start, end).indices(size)))
    to_last = isinstance(end, int) and end >= FAR
    if to_last and shapes.at_least(start, 0):
        return shapes.maximum(shapes.sub(size, start), 0)
    if to_last and shapes.at_most(start, -1):
        return shapes.minimum(shapes.sub(0, start), size)
    first, last = _clamped(shapes, size, start), _clamped(shapes, size, end)
    if first is None or last is None:
        return None
    length = shapes.sub(last, first)
    ordered = shapes.at_least(end, start) and _same_sign(shapes, start, end)
    return length if ordered or shapes.at_least(length, 0) else shapes.maximum(length, 0)


def _backward(size: Any, start: Any, end: Any) -> Any:
    """The length of a backward slice, None where it is unknown or runtimes differ: about a start before the first
    element, and an end of INT_MAX."""
    if not isinstance(start, int) or not isinstance(end, int) or end >= FAR:
        return None
    if (start == -1 or start >= FAR) and end <= -FAR:
        return size
    if not isinstance(size, int) or size == 0 or start < -size:
        return None
    return len(range(*slice(start, end, -1).indices(size)))


def _clamped(shapes: Shapes, size: Any, bound: Any) -> Any:
    """A bound as an index within [0, size], from the end where it is negative; None where its sign is unknown."""
    if shapes.at_least(bound, 0):
        return shapes.minimum(bound, size)
    if shapes.at_most(bound, -1):
        return shapes.maximum(shapes.add(bound, size), 0)
    return None


def _same_sign(shapes: Shapes, a: Any, b: Any) -> bool:
    return (shapes.at_least(a, 0) and shapes.at_least(b, 0)) or (shapes.at_most(a, -1) and shapes.at_most(b, -1))


# -- Pad ---------------------------------------------------------------------------------------------------------------


@infer("Pad")
def pad(n: NodeView) -> Type:
    """Each dim grows by what is put before and behind it; negative pads cut."""
    dims = list(n.known_dims(0))
    if n.version < 11:
        pads: list[Any] | None = n.ints("pads") or n.ints("paddings")
    else:
        pads = n.elements(1)
    axes = range(len(dims))
    if n.version >= 18 and n.present(3):
        given = n.int_list(3)
        if given is None:
            return n.result(n.elem(0), n.unknown_dims(len(dims)))
        axes = axes_of(given, len(dims))  # type: ignore[assignment]
    if pads is None or len(pads) != 2 * len(axes):
        return n.result(n.elem(0), n.unknown_dims(len(dims)))
    for position, axis in enumerate(axes):
        border = n.shapes.add(pads[position], pads[position + len(axes)])
        dims[axis] = n.shapes.add(dims[axis], border)
    return n.result(n.elem(0), dims)


@infer("CenterCropPad")
def center_crop_pad(n: NodeView) -> Type:
    """The dims on `axes` become those that the second operand lists."""
    dims = list(n.known_dims(0))
    given = n.ints("axes")
    axes = axes_of(given, len(dims)) if given is not None else list(range(len(dims)))
    wanted = n.elements(1)
    for position, axis in enumerate(axes):
        known = wanted is not None and len(wanted) == len(axes)
        dims[axis] = wanted[position] if known else n.fresh()  # type: ignore[index]
    return n.result(n.elem(0), dims)
