"""Operators that make tensors from shapes, numbers, or nothing."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from onnx import SparseTensorProto, TensorProto, helper

from onnx_opt.analysis.infer.registry import NodeView, Unknown, infer
from onnx_opt.shapes import Dim
from onnx_opt.types import TensorType, Type, is_integer

FLOAT, INT32, INT64 = int(TensorProto.FLOAT), int(TensorProto.INT32), int(TensorProto.INT64)
STRING = int(TensorProto.STRING)


def elem_type_of(dtype: np.dtype) -> int:
    """The element type of an array; `object` and `str` arrays are strings."""
    return STRING if dtype.kind in "OUS" else int(helper.np_dtype_to_tensor_dtype(dtype))


@infer("Constant", elem=-1)
def constant(n: NodeView) -> Type:
    """The tensor, number or string that an attribute gives."""
    array = n.facts.constant(n.node.outputs[0])
    if array is not None:
        return TensorType(elem_type_of(array.dtype), array.shape)
    tensor = n.attr("value")
    if isinstance(tensor, TensorProto):
        return n.result(tensor.data_type, tensor.dims)
    sparse = n.attr("sparse_value")
    if isinstance(sparse, SparseTensorProto):
        return n.result(sparse.values.data_type, sparse.dims)
    raise Unknown


@infer("ConstantOfShape", elem=-1)
def constant_of_shape(n: NodeView) -> Type:
    """A tensor of the dims that the operand lists, filled with one number (a float zero by default)."""
    value = n.attr("value")
    array = getattr(value, "values", value)
    elem_type = FLOAT if array is None else elem_type_of(array.dtype)
    return n.result(elem_type, n.elements(0))


@infer("Shape", kind=INT64)
def shape(n: NodeView) -> Type:
    """The dims of the operand, from `start` to `end`, as a vector."""
    dims = n.dims(0)
    return TensorType(INT64, (n.fresh(),) if dims is None else (len(shape_range(n, dims)),))


def shape_range(n: NodeView, dims: tuple[Any, ...]) -> tuple[Any, ...]:
    """The dims that a Shape node gives."""
    end = n.attr("end")
    return dims[int(n.attr("start", 0)) : None if end is None else int(end)]


@infer("Size", kind=INT64)
def size(n: NodeView) -> Type:
    """The number of elements, as a scalar."""
    return TensorType(INT64, ())


@infer("Range")
def range_(n: NodeView) -> Type:
    """max(ceil((limit - start) / delta), 0) numbers."""
    elem_type = n.elem(0)
    count = _integer_range(n) if is_integer(elem_type) else _float_range(n)
    return n.result(elem_type, (n.fresh() if count is None else count,))


def _integer_range(n: NodeView) -> Dim | None:
    start, limit, delta = (n.elements(index) for index in range(3))
    if not start or not limit or not delta or not isinstance(delta[0], int) or delta[0] == 0:
        return None
    shapes, step = n.shapes, delta[0]
    length = shapes.sub(limit[0], start[0])
    return shapes.maximum(shapes.ceildiv(length if step > 0 else shapes.sub(0, length), abs(step)), 0)


def _float_range(n: NodeView) -> int | None:
    """Exact where the quotient is far from where rounding could change its ceiling, or all three are whole."""
    given = [n.constant(index) for index in range(3)]
    if any(array is None or array.size != 1 for array in given):
        return None
    start, limit, delta = (float(array.reshape(-1)[0]) for array in given)  # type: ignore[union-attr]
    if not all(map(math.isfinite, (start, limit, delta))) or delta == 0:
        return None
    ratio = (Fraction(limit) - Fraction(start)) / Fraction(delta)
    whole = all(number == int(number) and abs(number) < 2**20 for number in (start, limit, delta))
    if not whole and abs(ratio - round(ratio)) < Fraction(1, 1000):
        return None
    return max(math.ceil(ratio), 0) if abs(ratio) < 2**20 else None


@infer("EyeLike", "RandomNormalLike", "RandomUniformLike", "Bernoulli", elem=-1)
def like_with_dtype(n: NodeView) -> Type:
    """The dims of the operand; its element type too unless `dtype` is set."""
    return TensorType(int(n.attr("dtype", 0)) or n.elem(0), n.dims(0))


@infer("RandomNormal", "RandomUniform", elem=-1)
def random(n: NodeView) -> Type:
    """The dims of the attribute `shape`."""
    return n.result(int(n.attr("dtype", FLOAT)), n.ints("shape"))


@infer("Multinomial", elem=-1)
def multinomial(n: NodeView) -> Type:
    """[batch, samples]."""
    dims = n.dims(0)
    return n.result(int(n.attr("dtype", INT32)), (dims[0] if dims else n.fresh(), int(n.attr("sample_size", 1))))


@infer("HannWindow", "HammingWindow", "BlackmanWindow", elem=-1)
def window(n: NodeView) -> Type:
    """A vector of `size` numbers."""
    length = n.scalar(0)
    return n.result(int(n.attr("output_datatype", FLOAT)), (n.fresh() if length is None else length,))


@infer("MelWeightMatrix", elem=-1)
def mel_weight_matrix(n: NodeView) -> Type:
    """[dft_length / 2 + 1, bins]."""
    bins, length = n.scalar(0), n.scalar(1)
    rows = n.fresh() if length is None else n.shapes.add(n.shapes.floordiv(length, 2), 1)
    return n.result(int(n.attr("output_datatype", FLOAT)), (rows, n.fresh() if bins is None else bins))
