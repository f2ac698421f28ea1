"""QuantizeLinear and DequantizeLinear for runtimes that know signed 8-bit integers around zero alone.

    q = saturate(round(x / scale) + zero)          x' = (q - zero) * scale

With another zero point or another integer type the same numbers come from Div, Round, Add, Clip, Sub and Mul: whole
numbers of 16 bits are exact in FP32. Formulas: the ONNX specification of the two operators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt import types
from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import const, known, op, opt, require, rule
from onnx_opt_rules.legalize.integers import fits, has_negative_zero, type_bounds, whole_bounds

FLOAT, FLOAT16, INT8, UINT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8
BYTES = frozenset({INT8, UINT8})
SMALL_INTEGERS = frozenset({*BYTES, TensorProto.INT16, TensorProto.UINT16})
HALF_BYTES = frozenset({TensorProto.INT4, TensorProto.UINT4})
"""Types of which two fill a byte: the parser of TensorRT takes even counts of the signed one."""
MIDDLE = 128
"""The zero point with which unsigned bytes stand for signed ones around zero."""
ANY_VERSION = 1 << 30
SYMMETRIC = "signed 8-bit integers around zero are taken as they are"
BLOCKED = "it is quantized in blocks"


def is_symmetric(elem_type: int, zero: Value | None) -> bool:
    """Whether quantized numbers are signed bytes around zero."""
    constant = zero.constant if zero is not None else np.zeros((), np.int8)
    return elem_type == INT8 and constant is not None and not constant.any()


def along_axis(node: Node, operand: Value | None, what: Value) -> np.ndarray | Value:
    """The scale or zero point of a quantizing node, of a shape that broadcasts against `what`."""
    assert operand is not None
    require(not node.attribute("block_size", 0), BLOCKED)
    rank = known(operand.rank, "the rank of the scale is not known")
    if rank == 0:
        return operand
    require(rank == 1, BLOCKED)
    array = known(operand.constant, "scales along an axis are not constant")
    if array.size == 1:
        return array.reshape(())
    dims = known(what.dims, "the rank of the operand is not known")
    axis = int(node.attribute("axis", 1))
    require(-len(dims) <= axis < len(dims), "there is no such axis")
    return array.reshape([-1 if position == axis % len(dims) else 1 for position in range(len(dims))])


def number(value: np.ndarray | Value) -> Any:
    """A scale or zero point in FP32."""
    if isinstance(value, Value) and value.elem_type == FLOAT:
        return value
    array = value if isinstance(value, np.ndarray) else value.constant
    return op.Cast(value, to=FLOAT) if array is None else array.astype(np.float32)


def in_fp32(value: Any, elem_type: int) -> Any:
    return value if elem_type == FLOAT else op.Cast(value, to=FLOAT)


@rule(op.DequantizeLinear(const("x"), const("scale"), opt(const("zero"))).named("node"), shared=True)
def dequantized_constant(x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, node: Node) -> Any:
    """Constants that are not quantized around zero in signed bytes are written as the numbers that they stand for."""
    kind = node.inputs[0].elem_type
    require(x.dtype.kind in "iu" or kind in HALF_BYTES, "it is not quantized to integers")
    pairs = kind == TensorProto.INT4 and x.size % 2 == 0 and not np.any(0 if zero is None else zero.astype(np.int64))
    require(not is_symmetric(kind, node.input(2)) and not pairs, SYMMETRIC)
    if x.dtype == np.uint8 and zero is not None and (zero == MIDDLE).all():
        shifted, zeros = _shifted(x), np.zeros(zero.shape, np.int8)
        return op.DequantizeLinear(shifted, scale, zeros, **dict(node.attrs))
    factor = np.asarray(_axis_array(node, node.inputs[1], x))
    offset = np.int64(0) if zero is None else np.asarray(_axis_array(node, node.inputs[2], x)).astype(np.int64)
    whole = (x.astype(np.int64) - offset).astype(np.float32)
    return (whole * factor.astype(np.float32)).astype(scale.dtype)


def _axis_array(node: Node, operand: Value, x: np.ndarray) -> Any:
    found = along_axis(node, operand, node.inputs[0])
    return found if isinstance(found, np.ndarray) else found.constant


def _shifted(array: np.ndarray) -> np.ndarray:
    return (array.astype(np.int16) - MIDDLE).astype(np.int8)


PAIR = op.DequantizeLinear(op.QuantizeLinear("x", "scale", const("zero")).named("q"), "other", const("same")).named(
    "dq"
)


@rule(PAIR, shared=True)
def signed_bytes(x: Value, scale: Value, zero: np.ndarray, q: Node, other: Value, same: np.ndarray, dq: Node) -> Any:
    """Unsigned bytes around 128 are signed ones around zero."""
    require(zero.dtype == np.uint8 and same.dtype == np.uint8, "these are no unsigned bytes")
    require((zero == MIDDLE).all() and (same == MIDDLE).all(), "the zero point is not 128")
    attrs = {name: value for name, value in q.attrs.items() if name != "output_dtype"}
    made = op.QuantizeLinear(x, scale, np.zeros(zero.shape, np.int8), **attrs)
    return op.DequantizeLinear(made, other, np.zeros(same.shape, np.int8), **dict(dq.attrs))


@rule(op.QuantizeLinear("x", "scale", opt("zero")).named("node"), opsets=(11, ANY_VERSION), finite_only=True)
def quantize_in_float(x: Value, scale: Value, zero: Value | None, node: Node) -> Any:
    """QuantizeLinear is written out: clip(round(x / scale) + zero)."""
    elem_type = node.outputs[0].elem_type
    require(elem_type in SMALL_INTEGERS, "it does not quantize to integers of 8 or 16 bits")
    require(not is_symmetric(elem_type, zero), SYMMETRIC)
    require(types.is_float(x.elem_type) and x.elem_type != TensorProto.DOUBLE, "the operand is not FP32 or half")
    low, high = known(type_bounds(elem_type), "the type is unknown")
    steps = scale.constant
    require(steps is not None and (steps != 0).all(), "the scale is computed: it may be 0, and 0 / 0 is no number")
    divisor = number(along_axis(node, scale, x))
    offset = number(along_axis(node, zero, x)) if zero is not None else np.float32(0)
    # Adding 0 is not idle: round(-0.2) is -0, and there is no such integer.
    term = op.Add(op.Round(op.Div(in_fp32(x, x.elem_type), divisor)), offset)
    return op.Cast(op.Clip(term, np.float32(low), np.float32(high)), to=elem_type)


@rule(op.DequantizeLinear("x", "scale", opt("zero")).named("node"))
def dequantize_in_float(x: Value, scale: Value, zero: Value | None, node: Node) -> Any:
    """DequantizeLinear is written out: (x - zero) * scale."""
    require(x.elem_type in {*SMALL_INTEGERS, TensorProto.INT32}, "the operand is not of 8, 16 or 32 bit integers")
    require(not is_symmetric(x.elem_type, zero), SYMMETRIC)
    require(x.elem_type != TensorProto.INT32 or is_none_or_zero(zero), "the operand is INT32 around another number")
    multiplier = number(along_axis(node, scale, x))
    term: Any = op.Cast(x, to=FLOAT)
    if not is_none_or_zero(zero):
        term = op.Sub(term, number(along_axis(node, zero, x)))
    result = op.Mul(term, multiplier)
    wanted = node.outputs[0].elem_type
    return result if wanted == FLOAT else op.Cast(result, to=wanted)


def is_none_or_zero(zero: Value | None) -> bool:
    constant = zero.constant if zero is not None else np.zeros(())
    return constant is not None and not constant.any()


def require_plain(cast: Node) -> None:
    """Decline where a Cast says how 8-bit floats saturate: with other types that is no valid attribute."""
    require(set(cast.attrs) <= {"to"}, "a Cast has other attributes than its type")


@rule(op.Cast(op.Cast("x").named("inner")).named("outer"), shared=True, finite_only=True)
def whole_numbers_there_and_back(x: Value, inner: Node, outer: Node) -> Any:
    """Two casts in a row are one where the type in between holds every number that occurs."""
    middle, wanted = inner.outputs[0].elem_type, outer.outputs[0].elem_type
    require_plain(inner)
    require_plain(outer)
    bounds = whole_bounds(x)
    require(fits(bounds, middle), "the type in between may not hold the numbers")
    require(fits(bounds, wanted), "the last type may not hold the numbers")
    exact: Any = op.Add(x, x_zero(x)) if has_negative_zero(x) and types.is_float(wanted) else x
    return exact if x.elem_type == wanted else op.Cast(exact, to=wanted)


def x_zero(x: Value) -> np.ndarray:
    """0 in the type of a value."""
    return np.zeros((), known(types.numpy_dtype(x.elem_type), "the type is unknown"))
