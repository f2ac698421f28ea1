"""Kernels that pick elements by index, make tensors from nothing, or tell a shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.evaluate.kernels import Declined, int_list, kernel, normal_axis, require
from onnx_opt.ir.tensors import numpy_dtype
from onnx_opt.types import EXACT_IN_DOUBLE

if TYPE_CHECKING:
    from onnx_opt.ir import Node


@kernel("Constant")
def constant(node: Node) -> np.ndarray:
    value = node.attribute("value")
    if value is not None:
        require(isinstance(value, np.ndarray), "its value lies in another file")
        return value
    for name, dtype in (("int", np.int64), ("ints", np.int64), ("float", np.float32), ("floats", np.float32)):
        number = node.attribute("value_" + name)
        if number is not None:
            return np.asarray(number, dtype)
    raise Declined("no exact kernel for strings and sparse values")


@kernel("ConstantOfShape")
def constant_of_shape(node: Node, shape: np.ndarray) -> np.ndarray:
    value = node.attribute("value")
    filler = np.zeros((), np.float32) if value is None else value
    require(isinstance(filler, np.ndarray) and filler.size == 1, "its value is no scalar")
    dims = int_list(shape)
    require(all(dim >= 0 for dim in dims), f"a shape of {dims}")
    return np.full(dims, filler.reshape(()), filler.dtype)


@kernel("Shape")
def shape_of(node: Node, x: np.ndarray) -> np.ndarray:
    start, end = node.attribute("start", 0), node.attribute("end")
    rank = x.ndim
    first = min(max(start + rank if start < 0 else start, 0), rank)
    last = rank if end is None else min(max(end + rank if end < 0 else end, 0), rank)
    return np.array(x.shape[first : max(first, last)], np.int64)


@kernel("Size")
def size_of(node: Node, x: np.ndarray) -> np.ndarray:
    return np.array(x.size, np.int64)


@kernel("Range")
def arange(node: Node, start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """Of integers; ranges of floats accumulate rounding errors."""
    dtype = start.dtype
    require(dtype.kind == "i" and limit.dtype == delta.dtype == dtype, "no exact kernel for this type")
    require(start.size == limit.size == delta.size == 1 and delta.item() != 0, "operands are no scalars, or delta is 0")
    bounds = start.item(), limit.item(), delta.item()
    require(max(map(abs, bounds)) < EXACT_IN_DOUBLE, "ONNX Runtime counts the elements in double precision")
    return np.arange(*bounds, dtype=dtype)


@kernel("Gather")
def gather(node: Node, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    require(x.ndim and x.dtype.kind != "O", "gathers from a scalar, or strings, with which ONNX Runtime errs")
    axis = normal_axis(node.attribute("axis", 0), x.ndim)
    if not indices.ndim:
        index = indices.item()
        require(-x.shape[axis] <= index < x.shape[axis], "an index is out of range")
        return x[(slice(None),) * axis + (index,)]
    return x.take(indices, axis)  # raises where an index is out of range


def _in_range(indices: np.ndarray, dim: int) -> np.ndarray:
    if indices.size:
        require(indices.min() >= -dim and indices.max() < dim, "an index is out of range")
    return indices


@kernel("GatherElements")
def gather_elements(node: Node, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    require(x.ndim == indices.ndim > 0, "ranks differ")
    axis = normal_axis(node.attribute("axis", 0), x.ndim)
    others = [i for i in range(x.ndim) if i != axis]
    require(all(indices.shape[i] <= x.shape[i] for i in others), "more indices than elements")
    indices = _in_range(indices, x.shape[axis])
    inside = x[tuple(slice(None) if i == axis else slice(indices.shape[i]) for i in range(x.ndim))]
    return np.take_along_axis(inside, indices.astype(np.int64), axis)


@kernel("Slice", until=9)
def slice_by_attributes(node: Node, x: np.ndarray) -> np.ndarray:
    starts, ends = list(node.attribute("starts")), list(node.attribute("ends"))
    axes = node.attribute("axes")
    return _slice(x, starts, ends, list(range(len(starts))) if axes is None else list(axes), [1] * len(starts))


@kernel("Slice", since=10)
def slice_by_operands(
    node: Node,
    x: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> np.ndarray:
    first, last = int_list(starts), int_list(ends)
    which = list(range(len(first))) if axes is None else int_list(axes)
    return _slice(x, first, last, which, [1] * len(first) if steps is None else int_list(steps))


def _slice(x: np.ndarray, starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> np.ndarray:
    require(len(starts) == len(ends) == len(axes) == len(steps) and 0 not in steps, "starts, ends and steps disagree")
    picked = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = normal_axis(axis, x.ndim)
        require(picked[axis] == slice(None), "an axis is named twice")
        picked[axis] = _range_of(start, end, step, x.shape[axis])
    return x[tuple(picked)]


def _range_of(start: int, end: int, step: int, dim: int) -> slice:
    """ONNX's clamping: backwards, an end before the first element includes it, which a Python slice writes as None."""
    start = start + dim if start < 0 else start
    end = end + dim if end < 0 else end
    if step > 0:
        return slice(min(max(start, 0), dim), min(max(end, 0), dim), step)
    start, end = min(max(start, 0), dim - 1), min(max(end, -1), dim - 1)
    return slice(start, None if end < 0 else end, step) if dim else slice(0, 0)


@kernel("NonZero")
def non_zero(node: Node, x: np.ndarray) -> np.ndarray:
    require(x.ndim and x.dtype.kind in "biuf", "no exact kernel for this type or for a scalar")
    return np.array(np.nonzero(x), np.int64)


@kernel("OneHot")
def one_hot(node: Node, indices: np.ndarray, depth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Indices out of range give a row of off values."""
    require(indices.dtype.kind in "iu" and values.shape == (2,), "no exact kernel for these operands")
    require(depth.dtype.kind in "iu" and depth.size == 1 and depth.item() > 0, "no depth")
    count = depth.item()
    axis = normal_axis(node.attribute("axis", -1), indices.ndim + 1)
    wide = indices.astype(np.int64)
    wide = np.where(wide < 0, wide + count, wide)
    hit = np.expand_dims(wide, axis) == np.arange(count).reshape([-1] + [1] * (indices.ndim - axis))
    return np.where(hit, values[1], values[0])


@kernel("EyeLike")
def eye_like(node: Node, x: np.ndarray) -> np.ndarray:
    require(x.ndim == 2, "no matrix")
    kind = node.attribute("dtype")
    dtype = x.dtype if kind is None else numpy_dtype(kind)
    require(dtype.kind in "iuf", "no exact kernel for this type")
    rows, columns = x.shape
    return np.eye(rows, columns, k=node.attribute("k", 0), dtype=dtype)


@kernel("Compress")
def compress(node: Node, x: np.ndarray, condition: np.ndarray) -> np.ndarray:
    require(condition.ndim == 1, "the condition is no list")
    axis = node.attribute("axis")
    source = x.reshape(-1) if axis is None else x
    axis = 0 if axis is None else normal_axis(axis, x.ndim)
    require(condition.size <= source.shape[axis], "the condition is longer than the dimension")
    return np.compress(condition, source, axis)
