"""Forms of operators that a runtime rejects though it has the operator, written so that it takes them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from onnx import TensorProto

from onnx_opt import types
from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import known, op, opt, require, rule
from onnx_opt_rules.legalize.quantization import ANY_VERSION

INT32, INT64, BOOL = TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL
AXES_ARE_OPERANDS = 13
"""The operator set from which the axes of Squeeze, Unsqueeze and ReduceSum are an operand."""
MOST_PRODUCTS = 64
"""Products of integers that are written side by side."""
LARGEST = np.iinfo(np.int64).max


def unsqueezed(term: Any, axis: int, node: Node) -> Any:
    """A term with one more axis."""
    return _at(op.Unsqueeze, term, axis, node)


def _at(make: Any, term: Any, axis: int, node: Node, **attrs: Any) -> Any:
    if node.version < AXES_ARE_OPERANDS:
        return make(term, axes=[axis], **attrs)
    return make(term, np.array([axis], np.int64), **attrs)


@rule(op.MatMul("a", "b").named("node"), opsets=(11, ANY_VERSION))
def vector_times_matrices(a: Value, b: Value, node: Node) -> Any:
    """A vector times a stack of matrices is a row times it."""
    if a.rank != 1 or (b.rank or 0) < 3:
        return None
    return _at(op.Squeeze, op.MatMul(unsqueezed(a, 0, node), b), -2, node)


@rule(op.MatMul("a", "b"), opsets=(11, ANY_VERSION), exact=True)
def product_of_integers(a: Value, b: Value) -> Any:
    """A product of matrices of integers is the sum of each column times its row."""
    if a.elem_type not in (INT32, INT64):
        return None
    a_dims, b_dims = known(a.dims, "the rank of an operand is unknown"), known(b.dims, "the rank is unknown")
    require(min(len(a_dims), len(b_dims)) > 1, "an operand is a vector")
    inner = a_dims[-1] if isinstance(a_dims[-1], int) else b_dims[-2]
    require(isinstance(inner, int) and 0 < inner <= MOST_PRODUCTS, "the inner dimension is large or not known")
    total: Any = None
    for place in range(inner):
        product = op.Mul(_slice(a, place, place + 1, -1), _slice(b, place, place + 1, -2))
        total = product if total is None else op.Add(total, product)
    return total


def _slice(term: Any, start: int, end: int, axis: int, step: int = 1) -> Any:
    return op.Slice(term, *(np.array([number], np.int64) for number in (start, end, axis, step)))


@rule(op.Relu("x"), opsets=(14, ANY_VERSION), exact=True)
def relu_of_integers(x: Value) -> Any:
    """Relu of integers is the greater of them and 0."""
    if x.elem_type not in (INT32, INT64):
        return None
    return op.Max(x, np.zeros((), types.numpy_dtype(x.elem_type)))


@rule(op["ReduceMax", "ReduceMin"]("x", opt("axes")).named("node"), opsets=(20, ANY_VERSION), exact=True)
def reduction_of_bools(x: Value, axes: Value | None, node: Node) -> Any:
    """Whether any or all are true is asked of integers."""
    if x.elem_type != BOOL:
        return None
    return op.Cast(op[node.op](op.Cast(x, to=INT32), axes, **dict(node.attrs)), to=BOOL)


@rule(op.Slice("x", "starts", "ends"), opsets=(10, ANY_VERSION), exact=True)
def slice_of_the_first_axes(x: Value, starts: Value, ends: Value) -> Any:
    """Slice without axes takes the first ones; they are written out."""
    count = (known(starts.dims, "the number of starts is not known") or (None,))[0]
    require(isinstance(count, int) and count != x.rank, "there is a start for every axis, or it is not known")
    return op.Slice(x, starts, ends, np.arange(count, dtype=types.numpy_dtype(starts.elem_type)))


@rule(op.MaxPool("x").named("node"), opsets=(11, ANY_VERSION), finite_only=True)
def dilated_max_pool(x: Value, node: Node) -> Any:
    """MaxPool whose window has gaps is the greatest of shifted slices, axis by axis."""
    kernel = list(known(node.attribute("kernel_shape"), "the kernel has no shape"))
    n = len(kernel)
    dilations = list(node.attribute("dilations") or [1] * n)
    if all(dilation == 1 for dilation in dilations):
        return None
    strides, pads = list(node.attribute("strides") or [1] * n), list(node.attribute("pads") or [0] * 2 * n)
    require(not any(value.uses for value in node.outputs[1:]), "the positions are read")
    require(types.is_float(x.elem_type), "it is not of floating-point numbers")
    require(node.attribute("auto_pad", "NOTSET") in ("NOTSET", "VALID"), "the padding depends on the size")
    require(not node.attribute("ceil_mode", 0) and sum(kernel) <= 64, "the window reaches beyond, or is large")
    term = _padded(x, pads, n) if any(pads) and node.attribute("auto_pad", "NOTSET") == "NOTSET" else x
    for axis in range(n):
        term = _greatest(term, axis + 2, kernel[axis], dilations[axis], strides[axis])
    return term


def _padded(x: Value, pads: list[int], n: int) -> Any:
    dtype = known(types.numpy_dtype(x.elem_type), "the type is unknown")
    borders = np.array([0, 0, *pads[:n], 0, 0, *pads[n:]], np.int64)
    return op.Pad(x, borders, np.array(ml_dtypes.finfo(dtype).min, dtype))


def _greatest(term: Any, axis: int, size: int, dilation: int, stride: int) -> Any:
    """The greatest of `size` elements along an axis, `dilation` apart, at every `stride`th place."""
    reach = (size - 1) * dilation
    slices = []
    for start in range(0, reach + 1, dilation):
        end = start - reach or LARGEST
        slices.append(_slice(term, start, end, axis, stride))
    return op.Max(*slices) if len(slices) > 1 else slices[0]
