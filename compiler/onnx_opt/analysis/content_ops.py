"""What operators do to the contents of small integer tensors. See `onnx_opt.analysis.content`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import reduce
from typing import Any, TypeAlias

import numpy as np

from onnx_opt.analysis.content import BOOL, content, objects
from onnx_opt.analysis.infer.control import branches_taken
from onnx_opt.analysis.infer.generation import shape_range
from onnx_opt.analysis.infer.reduction import reduced_axes
from onnx_opt.analysis.infer.registry import NodeView, Unknown, axis_of
from onnx_opt.analysis.infer.slicing import slice_length, slice_ranges
from onnx_opt.shapes import Shapes
from onnx_opt.types import EXACT_IN_DOUBLE, TensorType

Binary: TypeAlias = Callable[[Shapes, Any, Any], Any]


def _known(n: NodeView, index: int) -> np.ndarray:
    """The content of an operand; raises `Unknown` where there is none."""
    found = n.content(index)
    if found is None:
        raise Unknown
    return found


def _known_ints(n: NodeView, index: int) -> list[int]:
    found = n.int_list(index)
    if found is None:
        raise Unknown
    return found


def _each(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    """A function of Python objects applied element by element, with broadcasting."""
    return np.asarray(np.frompyfunc(function, len(arrays), 1)(*arrays), dtype=object)


# -- sizes and numbers -------------------------------------------------------------------------------------------------


@content("Shape")
def shape(n: NodeView, index: int, kind: TensorType) -> Any:
    return shape_range(n, n.known_dims(0))


@content("Size")
def size(n: NodeView, index: int, kind: TensorType) -> Any:
    return [n.shapes.product(n.known_dims(0))]


@content("Range")
def range_(n: NodeView, index: int, kind: TensorType) -> Any:
    start, step = _known(n, 0).reshape(-1)[0], _known(n, 2).reshape(-1)[0]
    assert kind.shape is not None
    return [n.shapes.add(start, n.shapes.mul(step, position)) for position in range(kind.shape[0])]


@content("ConstantOfShape")
def constant_of_shape(n: NodeView, index: int, kind: TensorType) -> Any:
    value = n.attr("value")
    array = np.asarray(getattr(value, "values", value))
    return np.full(kind.shape or (), int(array.reshape(-1)[0]), dtype=object)


# -- the same elements in another arrangement --------------------------------------------------------------------------


@content("Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
def same_elements(n: NodeView, index: int, kind: TensorType) -> Any:
    return _known(n, 0)


@content("Cast", "CastLike")
def cast(n: NodeView, index: int, kind: TensorType) -> Any:
    items = _known(n, 0)
    if kind.elem_type != BOOL:
        return items
    return _each(lambda item: _not(n.shapes, _equal(n.shapes, item, 0)), items)


@content("Transpose")
def transpose(n: NodeView, index: int, kind: TensorType) -> Any:
    return np.transpose(_known(n, 0), n.ints("perm"))


@content("Expand")
def expand(n: NodeView, index: int, kind: TensorType) -> Any:
    return np.broadcast_to(_known(n, 0), kind.shape or ())


@content("Tile")
def tile(n: NodeView, index: int, kind: TensorType) -> Any:
    return np.tile(_known(n, 0), _known_ints(n, 1))


@content("Concat")
def concat(n: NodeView, index: int, kind: TensorType) -> Any:
    count = len(n.types)
    if kind.shape is not None and len(kind.shape) == 1:
        parts = [n.elements(i) for i in range(count)]
        return None if None in parts else list(itertools.chain.from_iterable(parts))  # type: ignore[arg-type]
    return np.concatenate([_known(n, i) for i in range(count)], axis=int(n.attr("axis", 1)))


@content("Gather")
def gather(n: NodeView, index: int, kind: TensorType) -> Any:
    dims = n.known_dims(0)
    indices = n.content(1)
    if indices is None or not all(isinstance(item, int) for item in indices.reshape(-1).tolist()):
        return None
    items = n.elements(0) if len(dims) == 1 else None
    data = _known(n, 0) if items is None else objects(items, (len(items),))
    axis = axis_of(int(n.attr("axis", 0)), len(dims))
    return np.asarray(np.take(data, indices.astype(np.int64), axis=axis), dtype=object)


@content("Slice")
def slice_(n: NodeView, index: int, kind: TensorType) -> Any:
    data = _known(n, 0)
    for axis, *bounds in slice_ranges(n, data.ndim) or ():
        length = slice_length(n.shapes, data.shape[axis], *bounds)
        start, _, step = bounds
        if not isinstance(start, int) or not isinstance(length, int):
            return None
        first = slice(start, None, step).indices(data.shape[axis])[0]
        data = np.take(data, range(first, first + step * length, step), axis=axis)
    return data


@content("Split")
def split(n: NodeView, index: int, kind: TensorType) -> Any:
    data = _known(n, 0)
    axis = axis_of(int(n.attr("axis", 0)), data.ndim)
    parts = [getattr(n.facts.type_or_need(value), "shape", None) for value in n.node.outputs[: index + 1]]
    sizes = [dims[axis] for dims in parts if dims is not None]
    if len(sizes) <= index or not all(isinstance(size, int) for size in sizes):
        return None
    start = sum(sizes[:-1])
    return np.take(data, range(start, start + sizes[-1]), axis=axis)


@content("ScatterND")
def scatter_nd(n: NodeView, index: int, kind: TensorType) -> Any:
    data, updates = _known(n, 0), n.elements(2)
    places = _known_ints(n, 1)
    if data.ndim != 1 or updates is None or len(updates) != len(places) or n.text("reduction", "none") != "none":
        return None
    result = data.copy()
    for place, update in zip(places, updates, strict=True):
        result[place] = update
    return result


@content("NonZero")
def nonzero(n: NodeView, index: int, kind: TensorType) -> Any:
    data = _known(n, 0)
    items = np.array(_known_ints(n, 0)).reshape(data.shape)
    return np.array(np.nonzero(items)).astype(object)


# -- arithmetic --------------------------------------------------------------------------------------------------------


def _register(op: str, function: Binary) -> None:
    """A binary operator that broadcasts."""

    def run(n: NodeView, index: int, kind: TensorType) -> Any:
        return _each(lambda a, b: function(n.shapes, a, b), _known(n, 0), _known(n, 1))

    content(op)(run)


LARGEST = 1 << 40
"""Sums and products of a size and a number up to this one are taken to fit 64 bits."""


def _bounded(function: Binary) -> Binary:
    """The function, but of a size and a huge number, whose sum or product may overflow, nothing is known."""

    def run(shapes: Shapes, a: Any, b: Any) -> Any:
        numbers = [each for each in (a, b) if isinstance(each, int)]
        if len(numbers) == 1 and abs(numbers[0]) > LARGEST:
            raise Unknown
        return function(shapes, a, b)

    return run


def _divide(shapes: Shapes, a: Any, b: Any) -> Any:
    """a / b rounded towards zero, as C does."""
    if isinstance(a, int) and isinstance(b, int):
        if b == 0:
            raise Unknown
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    if shapes.at_least(a, 0) and shapes.at_least(b, 0):
        return shapes.floordiv(a, b)
    exact = shapes.quotient(a, b)
    return shapes.opaque(("truncated", a, b), None) if exact is None else exact


def _equal(shapes: Shapes, a: Any, b: Any) -> Any:
    if shapes.equal(a, b):
        return 1
    return 0 if shapes.differ(a, b) else shapes.opaque(("equal", a, b), 0, 1)


def _less(shapes: Shapes, a: Any, b: Any) -> Any:
    if shapes.at_least(shapes.sub(b, a), 1):
        return 1
    return 0 if shapes.at_least(a, b) else shapes.opaque(("less", a, b), 0, 1)


def _not(shapes: Shapes, a: Any) -> Any:
    return shapes.sub(1, a)


_register("Add", _bounded(Shapes.add))
_register("Sub", _bounded(Shapes.sub))
_register("Mul", _bounded(Shapes.mul))
_register("Div", _divide)
_register("And", Shapes.mul)
_register("Or", Shapes.maximum)
_register("Equal", _equal)
_register("Less", _less)
_register("Greater", lambda shapes, a, b: _less(shapes, b, a))
_register("LessOrEqual", lambda shapes, a, b: _not(shapes, _less(shapes, b, a)))
_register("GreaterOrEqual", lambda shapes, a, b: _not(shapes, _less(shapes, a, b)))


@content("Mod")
def mod(n: NodeView, index: int, kind: TensorType) -> Any:
    truncated, shapes = bool(n.attr("fmod", 0)), n.shapes

    def rest(a: Any, b: Any) -> Any:
        if isinstance(b, int) and b == 0:
            raise Unknown
        if isinstance(a, int) and isinstance(b, int):
            if not truncated:
                return a % b
            if max(abs(a), abs(b)) > EXACT_IN_DOUBLE:  # runtimes ask C's fmod
                raise Unknown
            return abs(a) % abs(b) * (1 if a >= 0 else -1)
        if shapes.at_least(a, 0) and shapes.at_least(b, 0):
            return shapes.sub(a, shapes.mul(b, shapes.floordiv(a, b)))
        return shapes.opaque(("rest", a, b, truncated), None)

    return _each(rest, _known(n, 0), _known(n, 1))


@content("Not")
def negation(n: NodeView, index: int, kind: TensorType) -> Any:
    return _each(lambda a: _not(n.shapes, a), _known(n, 0))


@content("Neg")
def negative(n: NodeView, index: int, kind: TensorType) -> Any:
    return _each(lambda a: n.shapes.sub(0, a), _known(n, 0))


@content("Abs")
def absolute(n: NodeView, index: int, kind: TensorType) -> Any:
    return _each(lambda a: n.shapes.maximum(a, n.shapes.sub(0, a)), _known(n, 0))


_VARIADIC: dict[str, Binary] = {"Max": Shapes.maximum, "Min": Shapes.minimum, "Sum": _bounded(Shapes.add)}


@content("Max", "Min", "Sum")
def variadic(n: NodeView, index: int, kind: TensorType) -> Any:
    function = _VARIADIC[n.node.op]
    operands = [_known(n, i) for i in range(len(n.types))]
    return reduce(lambda x, y: _each(lambda a, b: function(n.shapes, a, b), x, y), operands)


@content("Clip")
def clip(n: NodeView, index: int, kind: TensorType) -> Any:
    result = _known(n, 0)
    if n.version < 11:
        return None
    for position, function in ((1, Shapes.maximum), (2, Shapes.minimum)):
        if n.present(position):
            result = _each(lambda a, b, function=function: function(n.shapes, a, b), result, _known(n, position))
    return result


@content("Where")
def where(n: NodeView, index: int, kind: TensorType) -> Any:
    shapes = n.shapes

    def choose(condition: Any, a: Any, b: Any) -> Any:
        if isinstance(condition, int):
            return a if condition else b
        return a if shapes.equal(a, b) else shapes.opaque(("where", condition, a, b), *_span(shapes, a, b))

    return _each(choose, _known(n, 0), _known(n, 1), _known(n, 2))


def _span(shapes: Shapes, a: Any, b: Any) -> tuple[int | None, int | None]:
    """Bounds that hold for either."""
    (low_a, high_a), (low_b, high_b) = shapes.bounds(a), shapes.bounds(b)
    low = None if low_a is None or low_b is None else min(low_a, low_b)
    return low, None if high_a is None or high_b is None else max(high_a, high_b)


_REDUCTIONS: dict[str, tuple[Binary, int | None]] = {
    "ReduceSum": (Shapes.add, 0),
    "ReduceProd": (Shapes.mul, 1),
    "ReduceMax": (Shapes.maximum, None),
    "ReduceMin": (Shapes.minimum, None),
}


@content(*_REDUCTIONS)
def reduction(n: NodeView, index: int, kind: TensorType) -> Any:
    data = _known(n, 0)
    axes = reduced_axes(n, data.ndim)
    function, neutral = _REDUCTIONS[n.node.op]
    if axes is None or (data.size == 0 and neutral is None):
        return None
    for axis in axes:
        lines = np.moveaxis(data, axis, -1)
        flat = [_fold(n.shapes, function, neutral, line) for line in lines.reshape(-1, data.shape[axis]).tolist()]
        data = np.expand_dims(objects(flat, lines.shape[:-1]), axis)
    return data


def _fold(shapes: Shapes, function: Binary, neutral: int | None, line: list[Any]) -> Any:
    if neutral is None:
        return reduce(lambda a, b: function(shapes, a, b), line)
    sizes = [max(abs(item), 1) for item in line if isinstance(item, int)]
    if reduce(lambda a, b: function(shapes, a, b), sizes, neutral) > EXACT_IN_DOUBLE:
        raise Unknown  # ONNX Runtime accumulates in double precision
    return reduce(lambda a, b: function(shapes, a, b), line, neutral)


# -- control flow ------------------------------------------------------------------------------------------------------


@content("If")
def if_(n: NodeView, index: int, kind: TensorType) -> Any:
    values = [branch.outputs[index] for branch in branches_taken(n)]
    found = [n.facts.content_or_need(value) for value in values]
    if any(each is None for each in found):
        return None
    first = found[0]
    same = all(n.shapes.same(first.reshape(-1).tolist(), each.reshape(-1).tolist()) for each in found)  # type: ignore[union-attr]
    return first if same else None
