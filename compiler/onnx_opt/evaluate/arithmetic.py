"""Kernels that compute: IEEE-exact floating point, wrapping integers, comparisons, logic.

Left to ONNX Runtime: everything whose last bit depends on an implementation (Exp, Tanh, sums of floats; Pow, where even
a square depends on how operands are broadcast), and Max, Min, Clip and Relu of floats, where two zeros may come back in
either sign.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from onnx_opt.evaluate.kernels import Declined, Kernel, axes_of, kernel, normal_axis, require
from onnx_opt.types import EXACT_IN_DOUBLE

if TYPE_CHECKING:
    from onnx_opt.ir import Node

Ufunc = Callable[..., Any]
Dtypes = frozenset[np.dtype]


def _dtypes(*names: Any) -> Dtypes:
    return frozenset(np.dtype(name) for name in names)


FLOATS = _dtypes("float16", "float32", "float64", ml_dtypes.bfloat16)
SIGNED = _dtypes("int8", "int16", "int32", "int64")
INTEGERS = SIGNED | _dtypes("uint8", "uint16", "uint32", "uint64")
BOOL = _dtypes("bool")
WIDE_FLOATS = _dtypes("float32", "float64")


def _check(dtypes: Dtypes, first: np.ndarray, *others: np.ndarray) -> None:
    if first.dtype not in dtypes:
        raise Declined(f"no exact kernel for {first.dtype}")
    for other in others:
        if other.dtype != first.dtype:
            raise Declined("operands differ in type")


def _unary(ufunc: Ufunc, dtypes: Dtypes) -> Kernel:
    def run(node: Node, x: np.ndarray) -> np.ndarray:
        if x.dtype not in dtypes:
            raise Declined(f"no exact kernel for {x.dtype}")
        return ufunc(x)

    return run


def _binary(ufunc: Ufunc, dtypes: Dtypes) -> Kernel:
    def run(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.dtype not in dtypes or a.dtype != b.dtype:
            raise Declined(f"no exact kernel for {a.dtype} and {b.dtype}")
        return ufunc(a, b)

    return run


UNARY: dict[str, tuple[Ufunc, Dtypes]] = {
    "Abs": (np.absolute, FLOATS | INTEGERS),
    "BitwiseNot": (np.bitwise_not, INTEGERS),
    "Ceil": (np.ceil, FLOATS),
    "Floor": (np.floor, FLOATS),
    "IsNaN": (np.isnan, FLOATS),
    "Neg": (np.negative, FLOATS | SIGNED),
    "Not": (np.logical_not, BOOL),
    "Round": (np.rint, FLOATS),
    "Sign": (np.sign, WIDE_FLOATS | INTEGERS),  # ONNX Runtime's sign of a half-precision NaN is 0
    "Sqrt": (np.sqrt, FLOATS),
}

BINARY: dict[str, tuple[Ufunc, Dtypes]] = {
    "Add": (np.add, FLOATS | INTEGERS),
    "And": (np.logical_and, BOOL),
    "BitwiseAnd": (np.bitwise_and, INTEGERS),
    "BitwiseOr": (np.bitwise_or, INTEGERS),
    "BitwiseXor": (np.bitwise_xor, INTEGERS),
    "Equal": (np.equal, FLOATS | INTEGERS | BOOL),
    "Greater": (np.greater, FLOATS | INTEGERS),
    "GreaterOrEqual": (np.greater_equal, FLOATS | INTEGERS),
    "Less": (np.less, FLOATS | INTEGERS),
    "LessOrEqual": (np.less_equal, FLOATS | INTEGERS),
    "Mul": (np.multiply, FLOATS | INTEGERS),
    "Or": (np.logical_or, BOOL),
    "Sub": (np.subtract, FLOATS | INTEGERS),
    "Xor": (np.logical_xor, BOOL),
}

for _op, (_ufunc, _kinds) in UNARY.items():
    kernel(_op)(_unary(_ufunc, _kinds))

for _op, (_ufunc, _kinds) in BINARY.items():
    kernel(_op, since=7)(_binary(_ufunc, _kinds))  # before operator set 7, broadcasting went by attributes


@kernel("Reciprocal")
def reciprocal(node: Node, x: np.ndarray) -> np.ndarray:
    _check(FLOATS, x)
    return np.divide(x.dtype.type(1), x)


@kernel("IsInf")
def is_inf(node: Node, x: np.ndarray) -> np.ndarray:
    _check(FLOATS, x)
    positive, negative = node.attribute("detect_positive", 1), node.attribute("detect_negative", 1)
    return np.isinf(x) & ((positive == 1) & (x > 0) | (negative == 1) & (x < 0))


@kernel("Div", since=7)
def div(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Integers are divided towards zero."""
    _check(FLOATS | INTEGERS, a, b)
    if a.dtype in FLOATS:
        return np.divide(a, b)
    _refuse_traps(a, b)
    floored = np.floor_divide(a, b)
    if a.dtype not in SIGNED:
        return floored
    inexact = floored * b != a
    return floored + (inexact & ((a < 0) != (b < 0))).astype(a.dtype)


@kernel("Mod")
def mod(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`fmod=1`: the sign of the dividend, as in C; otherwise, of integers only, that of the divisor."""
    _check(FLOATS | INTEGERS, a, b)
    truncates = node.attribute("fmod", 0) == 1
    if a.dtype in FLOATS:
        require(truncates, "Mod of floats needs fmod=1")
        return np.fmod(a, b)
    _refuse_traps(a, b)
    if not truncates:
        return np.remainder(a, b)
    require(all((np.abs(x.astype(np.float64)) < EXACT_IN_DOUBLE).all() for x in (a, b)), "may be rounded")
    return np.fmod(a, b)


def _refuse_traps(a: np.ndarray, b: np.ndarray) -> None:
    """What has no integer quotient stops the processor: that is for the run to meet, not for the compiler."""
    require(b.all(), "an integer is divided by zero")
    if a.dtype in SIGNED:
        smallest = np.iinfo(a.dtype).min
        require(not ((b == -1).any() and (a == smallest).any()), "the smallest integer is divided by -1")


@kernel("Sum", since=8)
def total(node: Node, first: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """From left to right. In half precision, ONNX Runtime rounds only once."""
    _check(WIDE_FLOATS, first, *others)
    result = first
    for other in others:
        result = np.add(result, other)
    return result


def _fold(ufunc: Ufunc) -> Callable[..., np.ndarray]:
    def run(node: Node, first: np.ndarray, *others: np.ndarray) -> np.ndarray:
        _check(INTEGERS, first, *others)
        result = first
        for other in others:
            result = ufunc(result, other)
        return result

    return run


kernel("Max", since=8)(_fold(np.maximum))
kernel("Min", since=8)(_fold(np.minimum))


@kernel("Clip", since=11)
def clip(node: Node, x: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> np.ndarray:
    """Of integers. Where the bounds cross, the upper one wins."""
    _check(INTEGERS, x, *(bound for bound in (low, high) if bound is not None))
    require(all(bound is None or bound.ndim == 0 for bound in (low, high)), "a bound is no scalar")
    result = x if low is None else np.maximum(x, low)
    return result if high is None else np.minimum(result, high)


@kernel("BitShift")
def bit_shift(node: Node, x: np.ndarray, by: np.ndarray) -> np.ndarray:
    _check(INTEGERS - SIGNED, x, by)
    require((by < x.dtype.itemsize * 8).all(), "shifted by more than the width of the type")
    return np.left_shift(x, by) if node.attribute("direction") == "LEFT" else np.right_shift(x, by)


@kernel("Where")
def where(node: Node, condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    _check(BOOL, condition)
    require(x.dtype == y.dtype, "operands differ in type")
    return np.where(condition, x, y)


def _reduction(ufunc: np.ufunc, bound: np.ufunc | None) -> Callable[..., np.ndarray]:
    """Of integers: a sum of floats depends on its order. `bound` accumulates the magnitudes of what may overflow."""

    def run(node: Node, x: np.ndarray, axes_operand: np.ndarray | None = None) -> np.ndarray:
        _check(_dtypes("int32", "int64"), x)
        axes = axes_of(node, axes_operand)
        if not axes and node.attribute("noop_with_empty_axes", 0) == 1:
            return x
        require(x.size, "reduces an empty tensor")
        if bound is not None:
            # ONNX Runtime accumulates in double precision.
            largest = bound.reduce(np.maximum(np.abs(x.astype(np.float64)), 1), axis=None)
            require(largest < min(EXACT_IN_DOUBLE, np.iinfo(x.dtype).max), "may overflow or be rounded")
        which = tuple(normal_axis(axis, x.ndim) for axis in axes) if axes else None
        return ufunc.reduce(x, axis=which, dtype=x.dtype, keepdims=node.attribute("keepdims", 1) == 1)

    return run


kernel("ReduceSum")(_reduction(np.add, np.add))
kernel("ReduceProd")(_reduction(np.multiply, np.multiply))
kernel("ReduceMax")(_reduction(np.maximum, None))
kernel("ReduceMin")(_reduction(np.minimum, None))
