"""What evaluating a node would cost in memory, told before anything is computed.

The proven dimensions of the results decide where they are known. Where they are not, the operators that make much of
little (ConstantOfShape, Expand, Tile...) are worked out from the values of their operands, and those whose result
depends on data (NonZero, Unique...) get the upper bound that their operands' sizes give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from onnx_opt import traits, types
from onnx_opt.evaluate.kernels import Declined, axes_of

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

Shape = tuple[int, ...]

UNBOUNDED = 1 << 62
"""More bytes than any machine has: the size of what is no valid shape."""


def result_bytes(node: Node) -> int | None:
    """An upper bound of the bytes of all results of `node`, strings aside; None where it is not known.

    Costs no more than reading operands that hold shapes. Never raises.
    """
    try:
        sizes = [_value_bytes(value, None) for value in node.outputs if value.name]
        if None in sizes:
            sizes = _from_operands(node)
    except (ArithmeticError, LookupError, TypeError, ValueError, Declined):  # operands that ONNX does not allow
        return None
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _value_bytes(value: Value, shape: Sequence[int] | None) -> int | None:
    """The bytes of a value, of dimensions `shape` where its own are not known."""
    dims: Sequence[Any] | None = value.dims
    if dims is None or not all(isinstance(dim, int) for dim in dims):
        dims = shape
    if dims is None or not value.elem_type or value.elem_type == TensorProto.STRING:
        return None
    if any(dim < 0 for dim in dims):
        return UNBOUNDED
    return -(-math.prod(dims) * types.element_bits(value.elem_type) // 8)


def _from_operands(node: Node) -> list[int | None]:
    find = _SHAPES.get(node.op) if not node.domain else None
    if find is None and traits.is_elementwise(node.domain, node.op):
        find = _broadcast
    shape = find(node) if find is not None else None
    return [None if shape is None else _value_bytes(value, shape) for value in node.outputs if value.name]


# -- shapes from operands ----------------------------------------------------------------------------------------------


def _shape(node: Node, index: int) -> Shape | None:
    value = node.input(index)
    dims = None if value is None else value.dims
    if dims is None or not all(isinstance(dim, int) for dim in dims):
        return None
    return tuple(dims)


def _array(node: Node, index: int) -> np.ndarray | None:
    value = node.input(index)
    return None if value is None else value.constant


def _numbers(node: Node, index: int) -> list[int] | None:
    array = _array(node, index)
    return None if array is None else [int(number) for number in array.flat]


def _broadcast(node: Node) -> Shape | None:
    shapes = [_shape(node, index) for index in range(len(node.inputs))]
    if any(shape is None for shape in shapes):
        return None
    rank = max(len(shape) for shape in shapes if shape is not None)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes if shape is not None]
    return tuple(0 if 0 in dims else max(dims) for dims in zip(*padded, strict=True))


def _of_shape(node: Node) -> Shape | None:
    dims = _numbers(node, 0)
    return None if dims is None else tuple(dims)


def _expand(node: Node) -> Shape | None:
    shape, dims = _shape(node, 0), _numbers(node, 1)
    if shape is None or dims is None:
        return None
    rank = max(len(shape), len(dims))
    pairs = zip((1,) * (rank - len(shape)) + shape, [1] * (rank - len(dims)) + dims, strict=True)
    return tuple(a * b if 0 in (a, b) else max(a, b) for a, b in pairs)


def _tile(node: Node) -> Shape | None:
    shape, repeats = _shape(node, 0), _numbers(node, 1)
    if shape is None or repeats is None or node.version < 6:
        return None
    return tuple(dim * times for dim, times in zip(shape, repeats, strict=True))


def _range(node: Node) -> Shape | None:
    bounds = [_array(node, index) for index in range(3)]
    if any(bound is None or bound.size != 1 for bound in bounds):
        return None
    start, limit, delta = (bound.item() for bound in bounds if bound is not None)
    if all(isinstance(bound, int) for bound in (start, limit, delta)):
        return (len(range(start, limit, delta)),) if delta else (-1,)
    count = (limit - start) / delta if delta else math.nan
    return (max(math.ceil(count), 0),) if math.isfinite(count) else (-1,)


def _pad(node: Node) -> Shape | None:
    shape = _shape(node, 0)
    pads = _numbers(node, 1) if node.version >= 11 else node.attribute("pads", node.attribute("paddings"))
    if shape is None or pads is None:
        return None
    axes = range(len(shape)) if node.input(3) is None else _numbers(node, 3)
    if axes is None:
        return None
    dims = list(shape)
    for i, axis in enumerate(axes):
        dims[axis] += pads[i] + pads[i + len(axes)]
    return tuple(max(dim, 0) for dim in dims)


def _resize(node: Node) -> Shape | None:
    shape = _shape(node, 0)
    scales = _array(node, 2 if node.op == "Resize" and node.version >= 11 else 1)
    sizes = _numbers(node, 3)
    if shape is None or node.version < 9:
        return None
    axes = list(node.attribute("axes") or range(len(shape)))
    if sizes:
        factors = [size / max(shape[axis], 1) for axis, size in zip(axes, sizes, strict=True)]
        if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
            factors = [max(factors)] * len(axes)
    elif scales is not None and scales.size:
        factors = [float(scale) for scale in scales.flat]
    else:
        return None
    dims = list(shape)
    for axis, factor in zip(axes, factors, strict=True):
        dims[axis] = math.floor(max(dims[axis], 1) * factor) + 1
    return tuple(dims)


def _one_hot(node: Node) -> Shape | None:
    shape, depth = _shape(node, 0), _array(node, 1)
    return None if shape is None or depth is None else (*shape, int(depth.item()))


def _gather(node: Node) -> Shape | None:
    shape, indices = _shape(node, 0), _shape(node, 1)
    if shape is None or indices is None:
        return None
    axis = node.attribute("axis", 0) % max(len(shape), 1)
    return (*shape[:axis], *indices, *shape[axis + 1 :])


def _concat(node: Node) -> Shape | None:
    shapes = [_shape(node, index) for index in range(len(node.inputs))]
    if any(shape is None for shape in shapes):
        return None
    return (sum(math.prod(shape) for shape in shapes if shape is not None),)


def _as_first(node: Node) -> Shape | None:
    return _shape(node, 0)


def _non_zero(node: Node) -> Shape | None:
    shape = _shape(node, 0)
    return None if shape is None else (len(shape), math.prod(shape))


def _unsqueeze(node: Node) -> Shape | None:
    shape = _shape(node, 0)
    axes = axes_of(node, _array(node, 1))
    return None if shape is None or axes is None else (*shape, *[1] * len(axes))


_SHAPES: dict[str, Callable[[Node], Shape | None]] = {
    "ConstantOfShape": _of_shape,
    "Expand": _expand,
    "Tile": _tile,
    "Range": _range,
    "Pad": _pad,
    "Resize": _resize,
    "Upsample": _resize,
    "OneHot": _one_hot,
    "Gather": _gather,
    "Concat": _concat,
    "NonZero": _non_zero,
    "Unsqueeze": _unsqueeze,
    # Never more elements than the first operand has.
    "Compress": _as_first,
    "Flatten": _as_first,
    "Reshape": _as_first,
    "ScatterElements": _as_first,
    "ScatterND": _as_first,
    "Slice": _as_first,
    "Split": _as_first,
    "Squeeze": _as_first,
    "Transpose": _as_first,
    "Trilu": _as_first,
    "Unique": _as_first,
}
