"""Operations on the bits of integers as arithmetic: digits to the base 2, and powers of 2.

An integer of w bits in two's complement is its remainder modulo 2^w; the digit of 2^k is floor(x / 2^k) mod 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt import types
from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import const, known, op, require, rule
from onnx_opt_rules.legalize.integers import type_bounds, whole_bounds

INT32, INT64 = TensorProto.INT32, TensorProto.INT64
MOST_BITS = 32
TOO_WIDE = "the numbers may have more than 32 bits"


def wide(value: Value) -> Any:
    """An operand in INT64."""
    array = value.constant
    if array is not None:
        return array.astype(np.int64)
    return value if value.elem_type == INT64 else op.Cast(value, to=INT64)


def narrowed(term: Any, elem_type: int) -> Any:
    """A term of INT64 in another type."""
    return term if elem_type == INT64 else op.Cast(term, to=elem_type)


def number(value: int) -> np.ndarray:
    return np.array(value, np.int64)


def width(value: Value) -> tuple[int, bool]:
    """How many bits in two's complement hold every number of a value, and whether some may be negative."""
    low, high = known(whole_bounds(value), "the operand is no integer")
    require(low >= -(2**31) and high < 2**32, TOO_WIDE)
    bits = max(int(high).bit_length(), (-int(low) - 1).bit_length() if low < 0 else 0)
    return bits + (low < 0), low < 0


@rule(op.BitwiseAnd("x", const("mask")), exact=True)
def lowest_bits(x: Value, mask: np.ndarray) -> Any:
    """The lowest bits are a remainder modulo a power of 2."""
    require(x.elem_type != TensorProto.UINT64 and (mask >= 0).all(), "the mask is negative, or of 64 bits")
    whole = mask.astype(np.int64)
    require(((whole & (whole + 1)) == 0).all(), "the mask is not of the lowest bits")
    require((whole < np.iinfo(np.int64 if x.elem_type == INT64 else np.int32).max).all(), "the mask is of all bits")
    if x.elem_type == INT32:
        return op.Mod(x, (whole + 1).astype(np.int32))
    return narrowed(op.Mod(wide(x), whole + 1), x.elem_type)


@rule(op["BitwiseAnd", "BitwiseOr", "BitwiseXor"]("a", "b").named("node"), exact=True)
def by_digits(a: Value, b: Value, node: Node) -> Any:
    """And, or and xor of bits are products, maxima and remainders of digits."""
    one, other = width(a), width(b)
    signed = one[1] or other[1]
    bits = max(one[0] + (signed and not one[1]), other[0] + (signed and not other[1]), 1)
    terms = [op.Mul(joined, number(2**place)) for place, joined in enumerate(_joined(node.op, a, b, bits))]
    total = terms[0]
    for term in terms[1:]:
        total = op.Add(total, term)
    if signed:  # the highest digit counts as negative
        total = op.Sub(total, op.Mul(op.Div(total, number(2 ** (bits - 1))), number(2**bits)))
    return narrowed(total, node.outputs[0].elem_type)


def _joined(name: str, a: Value, b: Value, bits: int) -> Iterator[Any]:
    """The digits of the result, the lowest first. Side by side, since runtimes make one kernel of them."""
    one, other = (op.Mod(wide(value), number(2**bits)) for value in (a, b))
    for place in range(bits):
        digits = [op.Mod(op.Div(value, number(2**place)), number(2)) for value in (one, other)]
        if name == "BitwiseAnd":
            yield op.Mul(*digits)
        elif name == "BitwiseOr":
            yield op.Max(*digits)
        else:
            yield op.Mod(op.Add(*digits), number(2))


@rule(op.BitwiseNot("x"), exact=True)
def not_of_bits(x: Value) -> Any:
    """Not of all bits is the largest number minus it, -1 of types with a sign."""
    low, high = known(type_bounds(x.elem_type), "the operand is no integer")
    require(x.elem_type != TensorProto.UINT64, TOO_WIDE)
    if x.elem_type in (INT32, INT64):
        return op.Sub(np.array(-1, types.numpy_dtype(x.elem_type)), x)
    return narrowed(op.Sub(number(-1 if low < 0 else int(high)), wide(x)), x.elem_type)


@rule(op.BitShift("x", const("by"), direction="direction").named("node"), exact=True)
def shift_of_bits(x: Value, by: np.ndarray, direction: str, node: Node) -> Any:
    """A shift is a product with a power of 2, or a quotient."""
    bits = 8 * by.dtype.itemsize
    require((by.astype(np.uint64) < bits).all(), "it shifts by more bits than there are")
    low, high = known(whole_bounds(x), "the operand is no integer")
    require(low >= 0 and high < 2**MOST_BITS, TOO_WIDE)
    shift = by.astype(np.int64)
    if direction == "RIGHT":
        far = np.minimum(shift, MOST_BITS)
        return narrowed(op.Div(wide(x), 2**far), x.elem_type)
    require(bits <= MOST_BITS, TOO_WIDE)
    return narrowed(op.Mul(op.Mod(wide(x), 2 ** (bits - shift)), 2**shift), x.elem_type)
