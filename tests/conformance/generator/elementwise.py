"""Operators that work element by element, with broadcasting."""

from __future__ import annotations

from functools import partial

import numpy as np
from onnx import helper

from .draw import ANY, INTEGERS, NUMBERS, UNSIGNED, dtype_of
from .registry import sampler
from .scope import Refused, Scope, Val

UNARY = {
    "Abs": 7, "Neg": 7, "Exp": 7, "Log": 7, "Sqrt": 7, "Reciprocal": 7, "Floor": 7, "Ceil": 7, "Relu": 7, "Sigmoid": 7,
    "Tanh": 7, "Erf": 9, "Softplus": 7, "Softsign": 7, "Sin": 7, "Cos": 7, "Atan": 7, "Sinh": 9, "Asinh": 9, "Round": 11,
    "Sign": 9, "IsNaN": 9, "IsInf": 10, "HardSwish": 14, "Mish": 18, "Identity": 7,
    "Acos": 7, "Asin": 7, "Tan": 7, "Cosh": 9, "Acosh": 9, "Atanh": 9,
}  # fmt: skip
WITH_ALPHA = {"Elu": 7, "LeakyRelu": 7, "ThresholdedRelu": 10, "Celu": 12, "Selu": 7, "HardSigmoid": 7, "Gelu": 20}
BINARY = {"Add": 4, "Sub": 3, "Mul": 4, "Div": 3, "Pow": 1.5}
COMPARE = {"Equal": 7, "Less": 7, "Greater": 7, "LessOrEqual": 12, "GreaterOrEqual": 12}


def broadcastable(scope: Scope, value: Val, widens: float = 0.15) -> list[int]:
    """Dims of a constant that broadcasts with `value`; sometimes it widens the result."""
    draw = scope.draw
    dims = [1 if dim is None or draw.chance(0.4) else dim for dim in value.dims]
    if draw.chance(widens):
        dims = [draw.integer(2, 4) if dim == 1 and draw.chance(0.5) else dim for dim in dims]
        dims = [1] * draw.integer(0, 2) + dims if len(dims) < 5 else dims
    return dims[draw.integer(0, len(dims)) :] if draw.chance(0.6) else dims


def other(scope: Scope, value: Val) -> Val:
    """A second operand for `value`."""
    draw = scope.draw
    if draw.chance(0.45):
        return scope.const(draw.array(value.dtype, broadcastable(scope, value)))
    if draw.chance(0.1):
        return value
    found = scope.find(lambda v: v.dtype == value.dtype and _broadcasts(v, value))
    return found or scope.const(draw.array(value.dtype, []))


def _broadcasts(one: Val, two: Val) -> bool:
    pairs = zip(one.shapes, two.shapes, strict=True)
    return all(all(a == b or 1 in (a, b) for a, b in zip(reversed(p), reversed(q), strict=False)) for p, q in pairs)


def _unary(op: str, scope: Scope) -> Val:
    kinds = () if op in ("Abs", "Neg", "Relu", "Sign", "Identity") else scope.plan.floats
    x = scope.pick(kinds)
    if op == "Sign" and x.dtype in ("float16", "bfloat16"):
        raise Refused("ONNX Runtime's sign of NaN depends on the operators beside it")
    return scope.node(op, [x])


for _op, _since in UNARY.items():
    sampler(0.3 if _op not in ("Relu", "Sigmoid", "Identity") else 0.8, _since, name=_op)(partial(_unary, _op))


def _with_alpha(op: str, scope: Scope) -> Val:
    draw = scope.draw
    attrs = {}
    if op == "Gelu":
        attrs = {"approximate": draw.pick(["none", "tanh"])}
    elif draw.chance(0.7):
        attrs = {"alpha": draw.pick([0.0, 1.0, 0.1, -0.5, 0.25])}
        attrs |= {"beta": draw.real(0, 1)} if op == "HardSigmoid" else {}
        attrs |= {"gamma": 1.5} if op == "Selu" else {}
    return scope.node(op, [scope.floating()], **attrs)


for _op, _since in WITH_ALPHA.items():
    sampler(0.25, _since, name=_op)(partial(_with_alpha, _op))


def _binary(op: str, scope: Scope) -> Val:
    x = scope.pick([d for d in (*scope.plan.floats, *scope.plan.integers) if op != "Pow" or d[0] != "u"] or ["float32"])
    y = other(scope, x)
    if op == "Div" and x.dtype in INTEGERS:
        y = _divisor(scope, x)
    elif op == "Pow" and scope.draw.chance(0.7):
        exponent = scope.draw.pick([0, 1, 2, 3] if x.dtype in INTEGERS else [0, 1, 2, 3, 0.5, -1, -2])
        y = scope.scalar(exponent, x.dtype)
    elif op in ("Add", "Mul", "Sub") and scope.draw.chance(0.3):
        return scope.node(op, [y, x])
    return scope.node(op, [x, y])


for _op, _weight in BINARY.items():
    sampler(_weight, 7, name=_op)(partial(_binary, _op))


def _divisor(scope: Scope, value: Val) -> Val:
    """A constant that divides no integer by zero, nor the smallest one by -1, which stops the process."""
    array = scope.draw.array(value.dtype, broadcastable(scope, value), "plain")
    bad = (array == 0) | (array.astype(np.int64) == -1)
    return scope.const(np.where(bad, scope.draw.pick([1, 1, 2]), array).astype(array.dtype))


@sampler(0.5, 10)
def mod(scope: Scope) -> Val:
    x = scope.pick()
    fmod = 1 if x.dtype not in INTEGERS else scope.draw.pick([None, 0, 1])
    return scope.node("Mod", [x, _divisor(scope, x) if x.dtype in INTEGERS else other(scope, x)], fmod=fmod)


def _compare(op: str, scope: Scope) -> Val:
    x = scope.pick((*scope.plan.floats, *scope.plan.integers) if op != "Equal" else ())
    return scope.node(op, [x, other(scope, x)])


for _op, _since in COMPARE.items():
    sampler(0.5, _since, name=_op)(partial(_compare, _op))


def _logic(op: str, scope: Scope) -> Val:
    x = scope.pick(["bool"])
    return scope.node(op, [x] if op == "Not" else [x, other(scope, x)])


for _op in ("And", "Or", "Xor", "Not"):
    sampler(0.4, 7, name=_op)(partial(_logic, _op))


def _bitwise(op: str, scope: Scope) -> Val:
    x = scope.pick(INTEGERS)
    return scope.node(op, [x] if op == "BitwiseNot" else [x, other(scope, x)])


for _op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"):
    sampler(0.2, 18, name=_op)(partial(_bitwise, _op))


@sampler(0.2, 11)
def bit_shift(scope: Scope) -> Val:
    x = scope.pick([kind for kind in UNSIGNED if kind != "uint16"])
    by = scope.const(scope.draw.array(x.dtype, broadcastable(scope, x), "simple"))
    return scope.node("BitShift", [x, by], direction=scope.draw.pick(["LEFT", "RIGHT"]))


@sampler(1.2, 9)
def where(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick()
    y = x if draw.chance(0.1) else other(scope, x)
    condition = scope.find(lambda v: v.dtype == "bool" and _broadcasts(v, x))
    if condition is None or draw.chance(0.3):
        array = draw.array("bool", broadcastable(scope, x))
        condition = scope.const(array if draw.chance(0.5) else np.full(array.shape, draw.chance(0.5)))
    return scope.node("Where", [condition, x, y] if draw.chance(0.7) else [condition, y, x])


def _variadic(op: str, scope: Scope) -> Val:
    x = scope.pick(scope.plan.floats if op in ("Sum", "Mean") else NUMBERS)
    return scope.node(op, [x, *(other(scope, x) for _ in range(scope.draw.pick([0, 1, 1, 1, 2])))])


for _op in ("Max", "Min", "Sum", "Mean"):
    sampler(0.6, 8, name=_op)(partial(_variadic, _op))


@sampler(1.0)
def clip(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.floating() if scope.plan.opset < 12 else scope.pick()
    low, high = draw.pick([(0, 6), (-1, 1), (0, None), (None, 3), (None, None), (2, 1), (-0.0, 1), (0, 0)])
    if x.dtype in UNSIGNED:
        low = None if low is None else max(0, low)
    if scope.plan.opset < 11:
        bounds = {"min": low, "max": high}
        return scope.node("Clip", [x], **{key: float(v) for key, v in bounds.items() if v is not None})
    operands = [None if v is None else scope.scalar(v, x.dtype) for v in (low, high)]
    return scope.node("Clip", [x, *operands])


@sampler(2.0)
def cast(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick([*ANY[:4], *scope.plan.integers, "bool"])
    favorites = [*scope.plan.floats, *scope.plan.integers, "bool", "int64", "float32", draw.pick(ANY)]
    target = x.dtype if draw.chance(0.2) else draw.pick(favorites)
    if scope.plan.opset < 13 and "bfloat16" in (x.dtype, target):
        raise Refused("no bfloat16 yet")
    if target in ("uint32", "uint64") and not all(np.isfinite(array.astype(np.float64)).all() for array in x.values):
        raise Refused("what becomes of NaN depends on the place of the element")
    return scope.node("Cast", [x], to=int(helper.np_dtype_to_tensor_dtype(dtype_of(target))))


@sampler(0.4, 15)
def cast_like(scope: Scope) -> Val:
    return scope.node("CastLike", [scope.pick(), scope.pick([*scope.plan.floats, *scope.plan.integers, "bool"])])


@sampler(0.5, 7)
def prelu(scope: Scope) -> Val:
    x = scope.floating(wide=True)
    return scope.node("PRelu", [x, scope.const(scope.draw.array(x.dtype, broadcastable(scope, x, 0)))])


@sampler(0.6, 7)
def dropout(scope: Scope) -> object:
    draw = scope.draw
    x = scope.floating()
    count = draw.pick([1, 1, 2])
    if scope.plan.opset < 12:
        return scope.node("Dropout", [x], outputs=count, ratio=0.3)
    ratio = draw.pick([None, 0.3, 0.0])
    training = draw.pick([None, False, False, True]) if scope.plan.opset >= 12 else None
    operands = [x, None if ratio is None else scope.scalar(ratio, "float32")]
    operands.append(None if training is None else scope.const(np.asarray(training)))
    return scope.node("Dropout", operands, outputs=count)
