"""Products of quantized numbers in FP32: exact as long as no partial sum leaves the whole numbers that FP32 holds.

MatMulInteger and ConvInteger sum products of two bytes, of at most 255 x 255 each; sums below 2^24 are exact in any
order. Where a sum may grow larger, the inner dimension is cut into parts, and integers add these up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import const, known, op, opt, require, rule
from onnx_opt_rules.legalize.integers import EXACT_FLOAT32, type_bounds
from onnx_opt_rules.legalize.quantization import ANY_VERSION, BYTES, FLOAT, is_none_or_zero, number, require_plain

INT32 = TensorProto.INT32
MOST_PARTS = 32
"""Into how many products one is cut at most."""
TOO_LARGE = "the sums may leave the whole numbers that FP32 holds"


def centred(value: Value, zero: Any) -> Any:
    """A quantized operand minus its zero point, in FP32."""
    array = value.constant
    whole = op.Cast(value, to=FLOAT) if array is None else array.astype(np.float32)
    if zero is None:
        return whole
    if isinstance(whole, np.ndarray) and isinstance(zero, np.ndarray):
        return whole - zero
    return op.Sub(whole, zero)


def largest(value: Value, zero: Value | None) -> float:
    """The greatest magnitude of a quantized operand minus its zero point."""
    low, high = known(type_bounds(value.elem_type), "an operand is not quantized to bytes")
    if value.constant is not None:
        low, high = float(value.constant.min(initial=0)), float(value.constant.max(initial=0))
    zeros = (0.0, 0.0) if zero is None else type_bounds(zero.elem_type) or (low, high)
    if zero is not None and zero.constant is not None:
        zeros = float(zero.constant.min(initial=0)), float(zero.constant.max(initial=0))
    return max(abs(high - zeros[0]), abs(low - zeros[1]), abs(low), abs(high))


def parts(sizes: np.ndarray) -> list[int]:
    """Where to cut the inner dimension so that no part sums to more than FP32 holds exactly. `sizes` has the greatest
    magnitude of each term."""
    cuts, total = [0], 0.0
    for index, size in enumerate(sizes.tolist()):
        require(size <= EXACT_FLOAT32, TOO_LARGE)
        if total + size > EXACT_FLOAT32:
            cuts.append(index)
            total = 0.0
        total += size
    require(len(cuts) <= MOST_PARTS and sizes.sum() < 2**31, TOO_LARGE)
    return [*cuts, len(sizes)]


def require_bytes(*operands: Value) -> None:
    require(all(operand.elem_type in BYTES for operand in operands), "an operand is not quantized to bytes")


# -- MatMulInteger -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Factors:
    """The operands of a matrix product in FP32, and where to cut their inner dimension."""

    a: Any
    b: Any
    cuts: list[int]
    one_dim: bool

    def products(self) -> Iterator[Any]:
        """The product of each part."""
        if len(self.cuts) == 2:
            yield op.MatMul(self.a, self.b)
            return
        for start, stop in zip(self.cuts, self.cuts[1:], strict=False):
            yield op.MatMul(_cut(self.a, start, stop, -1), _cut(self.b, start, stop, -1 if self.one_dim else -2))


def _cut(term: Any, start: int, stop: int, axis: int) -> Any:
    if isinstance(term, np.ndarray):
        return np.ascontiguousarray(term.take(range(start, stop), axis=axis))
    return op.Slice(term, *(np.array([number], np.int64) for number in (start, stop, axis)))


def factors(a: Value, b: Value, a_zero: Value | None, b_zero: Value | None) -> Factors:
    """The operands of MatMulInteger in FP32."""
    require_bytes(a, b)
    a_dims, b_dims = known(a.dims, "the rank of an operand is unknown"), known(b.dims, "the rank is unknown")
    require(a_dims and b_dims, "an operand is a scalar")
    require(len(b_dims) > 1 or b_zero is None or b_zero.dims in ((), (1,)), "an operand has several zero points")
    inner = a_dims[-1] if isinstance(a_dims[-1], int) else b_dims[-1 if len(b_dims) == 1 else -2]
    require(isinstance(inner, int), "the inner dimension is not known")
    sizes = _column_sizes(a, b, a_zero, b_zero, inner)
    left = centred(a, _zero_of(a_zero))
    right = centred(b, _zero_of(b_zero, per_column=True))
    return Factors(left, right, parts(sizes), len(b_dims) == 1)


def _column_sizes(a: Value, b: Value, a_zero: Value | None, b_zero: Value | None, inner: int) -> np.ndarray:
    most = largest(a, a_zero)
    if b.constant is None or (b_zero is not None and b_zero.constant is None):
        return np.full(inner, most * largest(b, b_zero))
    weights = np.abs(np.asarray(centred(b, _zero_of(b_zero, per_column=True))))
    axis = 0 if weights.ndim == 1 else weights.ndim - 2
    others = tuple(position for position in range(weights.ndim) if position != axis)
    return np.asarray(weights.max(axis=others, initial=0.0), np.float64) * most


def _zero_of(zero: Value | None, per_column: bool = False) -> Any:
    """The zero point in FP32: one number, or one per column of the second operand."""
    if zero is None or is_none_or_zero(zero):
        return None
    dims = known(zero.dims, "the rank of a zero point is unknown")
    require(dims in ((), (1,)) or (per_column and len(dims) == 1), "an operand has several zero points")
    whole = number(zero)
    return whole.reshape(()) if isinstance(whole, np.ndarray) and whole.size == 1 else whole


MATMUL = op.MatMulInteger("a", "b", opt("a_zero"), opt("b_zero"))


@rule(op.Cast(MATMUL, to=FLOAT).named("cast"))
def matmul_of_integers_to_float(a: Value, b: Value, a_zero: Value | None, b_zero: Value | None, cast: Node) -> Any:
    """MatMulInteger that becomes FP32 is a MatMul of FP32."""
    require_plain(cast)
    made = factors(a, b, a_zero, b_zero)
    require(len(made.cuts) == 2, TOO_LARGE)
    return next(made.products())


@rule(MATMUL)
def matmul_of_integers(a: Value, b: Value, a_zero: Value | None, b_zero: Value | None) -> Any:
    """MatMulInteger is a MatMul of whole numbers in FP32, in parts whose sums are exact."""
    return _sum(list(factors(a, b, a_zero, b_zero).products()))


def _sum(products: list[Any]) -> Any:
    total = op.Cast(products[0], to=INT32)
    for term in products[1:]:
        total = op.Add(total, op.Cast(term, to=INT32))
    return total


# -- ConvInteger -------------------------------------------------------------------------------------------------------


def convolution(x: Value, w: np.ndarray, x_zero: Value | None, w_zero: np.ndarray | None, node: Node) -> list[Any]:
    """ConvInteger in FP32 as convolutions of some input channels each; their sum is the result."""
    require_bytes(x, node.inputs[1])
    require(w.ndim >= 3, "the weights have too few dimensions")
    weights = w.astype(np.float32)
    if w_zero is not None:
        require(w_zero.ndim <= 1, "the zero point has more than one dimension")
        weights = weights - w_zero.astype(np.float32).reshape(-1, *[1] * (w.ndim - 1))
    others = tuple(range(2, w.ndim))
    per_channel = np.abs(weights).astype(np.float64).sum(axis=others).max(axis=0, initial=0.0) * largest(x, x_zero)
    cuts = parts(per_channel)
    data = centred(x, _zero_of(x_zero))
    attrs = dict(node.attrs)
    if len(cuts) == 2:
        return [op.Conv(data, weights, **attrs)]
    require(node.attribute("group", 1) == 1, TOO_LARGE)
    return [
        op.Conv(_cut(data, start, stop, 1), _cut(weights, start, stop, 1), **attrs) for start, stop in pairwise(cuts)
    ]


CONV = op.ConvInteger("x", const("w"), opt("x_zero"), opt(const("w_zero"))).named("node")


@rule(op.Cast(CONV, to=FLOAT).named("cast"))
def conv_of_integers_to_float(
    x: Value, w: np.ndarray, x_zero: Value | None, w_zero: np.ndarray | None, node: Node, cast: Node
) -> Any:
    """ConvInteger that becomes FP32 is a Conv of FP32."""
    require_plain(cast)
    made = convolution(x, w, x_zero, w_zero, node)
    require(len(made) == 1, TOO_LARGE)
    return made[0]


@rule(CONV)
def conv_of_integers(x: Value, w: np.ndarray, x_zero: Value | None, w_zero: np.ndarray | None, node: Node) -> Any:
    """ConvInteger is a Conv of whole numbers in FP32, in parts whose sums are exact."""
    return _sum(convolution(x, w, x_zero, w_zero, node))


# -- DynamicQuantizeLinear ---------------------------------------------------------------------------------------------


@rule(op.DynamicQuantizeLinear("x"), opsets=(11, ANY_VERSION), finite_only=True)
def quantize_by_range(x: Value) -> Any:
    """DynamicQuantizeLinear is written out: the range of the operand with 0 in it is cut into 255 steps.

    Where all elements are 0, the scale is 1, as in ONNX Runtime: the specification divides 0 by 0.
    """
    zero, steps = np.float32(0), np.float32(255)
    flat = op.Reshape(x, np.array([-1], np.int64))
    padded = op.Concat(flat, np.zeros(1, np.float32), axis=0)  # 0 is in the range, and no element is no special case
    low, high = op.ReduceMin(padded, keepdims=0), op.ReduceMax(padded, keepdims=0)
    width = op.Sub(high, low)
    scale = op.Where(op.Equal(width, zero), np.float32(1), op.Div(width, steps))
    offset = op.Clip(op.Add(op.Round(op.Sub(zero, op.Div(low, scale))), zero), zero, steps)
    quantized = op.Clip(op.Add(op.Round(op.Div(x, scale)), offset), zero, steps)
    return op.Cast(quantized, to=TensorProto.UINT8), scale, op.Cast(offset, to=TensorProto.UINT8)


# -- QLinearMatMul, QLinearConv ----------------------------------------------------------------------------------------


def requantized(sums: Any, factor: np.ndarray, zero: Value, elem_type: int) -> Any:
    """Sums in FP32, scaled, rounded and clipped to bytes."""
    low, high = known(type_bounds(elem_type), "the type is unknown")
    offset = known(zero.constant, "the zero point of the result is not constant").astype(np.float32)
    require(offset.size == 1, "the result has several zero points")
    term = op.Add(op.Round(op.Mul(sums, factor)), offset.reshape(()))
    return op.Cast(op.Clip(term, np.float32(low), np.float32(high)), to=elem_type)


def scale_of_result(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What a sum is multiplied by: in FP32 and in this order, as ONNX Runtime does."""
    require(x.dtype == w.dtype == y.dtype == np.float32, "the scales are not FP32")
    require(x.size == 1 and y.size == 1 and w.ndim <= 1, "scales of the operand or the result along an axis")
    return np.asarray(x.reshape(()) * w / y.reshape(()), np.float32)


@rule(
    op.QLinearMatMul(
        "a", const("a_scale"), "a_zero", "b", const("b_scale"), "b_zero", const("y_scale"), "y_zero"
    ).named("node"),
    opsets=(11, ANY_VERSION),
)
def quantized_matmul(
    a: Value,
    a_scale: np.ndarray,
    a_zero: Value,
    b: Value,
    b_scale: np.ndarray,
    b_zero: Value,
    y_scale: np.ndarray,
    y_zero: Value,
    node: Node,
) -> Any:
    """QLinearMatMul is an exact product of whole numbers in FP32, scaled and rounded."""
    factor = scale_of_result(a_scale, b_scale, y_scale)
    made = factors(a, b, a_zero, b_zero)
    require(len(made.cuts) == 2, TOO_LARGE)
    factor = factor.reshape(()) if factor.size == 1 else factor
    return requantized(next(made.products()), factor, y_zero, node.outputs[0].elem_type)


QLINEAR_CONV = op.QLinearConv(
    "x",
    const("x_scale"),
    "x_zero",
    const("w"),
    const("w_scale"),
    const("w_zero"),
    const("y_scale"),
    "y_zero",
    opt(const("bias")),
).named("node")


@rule(QLINEAR_CONV, opsets=(11, ANY_VERSION))
def quantized_conv(
    x: Value,
    x_scale: np.ndarray,
    x_zero: Value,
    w: np.ndarray,
    w_scale: np.ndarray,
    w_zero: np.ndarray,
    y_scale: np.ndarray,
    y_zero: Value,
    bias: np.ndarray | None,
    node: Node,
) -> Any:
    """QLinearConv is an exact Conv of whole numbers in FP32, scaled and rounded."""
    require(x.elem_type in BYTES and node.inputs[3].elem_type in BYTES, "an operand is not quantized to bytes")
    factor = scale_of_result(x_scale, w_scale, y_scale)
    require(w.ndim >= 3 and w_zero.ndim <= 1, "the weights have too few dimensions")
    weights = w.astype(np.float32) - w_zero.astype(np.float32).reshape(-1, *[1] * (w.ndim - 1))
    sums = np.abs(weights).astype(np.float64).reshape(w.shape[0], prod(w.shape[1:])).sum(axis=1) * largest(x, x_zero)
    if bias is not None:
        sums = sums + np.abs(bias.astype(np.float64))
    require((sums <= EXACT_FLOAT32).all(), TOO_LARGE)
    operands = [centred(x, _zero_of(x_zero)), weights]
    if bias is not None:
        operands.append(bias.astype(np.float32))
    made = op.Conv(*operands, **dict(node.attrs))
    spread = factor.reshape(-1, *[1] * (w.ndim - 2)) if factor.size > 1 else factor.reshape(())
    return requantized(made, spread, y_zero, node.outputs[0].elem_type)
