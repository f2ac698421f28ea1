"""Rewrites that keep FP16 from overflowing: the same results in FP32, from numbers that FP16 can hold.

Each is right by itself, before anything is lowered. Those of `ALWAYS` cost nothing; those of `SQUARES` and `SUMS` cost
a few nodes, and are for places where a measured value would overflow (see `at`).

A softmax written out with Exp is none of these: its FP32 result is NaN where Exp overflows, so that a form which
subtracts the maximum gives something else there. Nor are masks and epsilons that FP16 does not hold: another number
means the same in half precision only, so that the lowering itself replaces them (`onnx_opt.precision.substitutes`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt import types
from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import anyof, const, decline, known, op, opt, require, rule
from onnx_opt.rewrite.rule import Rule

LARGEST = 65504.0
_ANY = 1 << 30


_TYPES = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16})


def _dtype(value: Value) -> np.dtype[Any]:
    """The numpy type of floating-point values; declines for others."""
    require(value.elem_type in _TYPES, "not floating-point")
    return known(types.numpy_dtype(value.elem_type), "numpy has no such type")


# -- attention scores --------------------------------------------------------------------------------------------------


@rule(
    anyof(op.Mul(op.MatMul("q", "k"), const("scale")), op.Div(op.MatMul("q", "k"), const("divisor"))), opsets=(7, _ANY)
)
def scale_before_product(q: Value, k: Value, scale: np.ndarray | None = None, divisor: np.ndarray | None = None) -> Any:
    """A product of two computed matrices that is scaled down: the first factor is scaled down instead."""
    factor = scale if scale is not None else divisor
    assert factor is not None
    _dtype(q)
    require(q.constant is None and k.constant is None, "one factor is constant")
    require(factor.size == 1 and np.isfinite(factor).all() and factor.item() != 0, "the scale is not one number")
    smaller = abs(factor.item()) < 1 if scale is not None else abs(factor.item()) > 1
    require(smaller, "the product is not scaled down")
    rank, other = known(q.rank, "the rank is unknown"), known(k.rank, "the rank is unknown")
    require(factor.ndim <= max(rank, other, 1) and min(rank, other) >= 2, "the scale adds dims")
    number = factor.reshape(())
    return op.MatMul(op.Mul(q, number) if scale is not None else op.Div(q, number), k)


# -- norms -------------------------------------------------------------------------------------------------------------


_SQUARE = anyof(op.Mul("x", "x").named("square"), op.Pow("x", const("two")).named("square"))
_REDUCED = anyof(
    op.ReduceMean(_SQUARE, opt("axes")).named("reduce"),
    op.ReduceSum(_SQUARE, opt("axes")).named("reduce"),
)


def _axes(reduce: Node, axes: Value | None) -> list[int]:
    """The reduced axes; declines where the result has fewer dims, or where no axes are named."""
    found = known(axes.constant, "the axes are only known when the model runs") if axes is not None else None
    listed = reduce.attribute("axes") if found is None else found.tolist()
    require(listed, "no axes are named")
    require(reduce.attribute("keepdims", 1) == 1, "the reduced dims go")
    return [int(axis) for axis in listed]


def _largest(x: Value, reduce: Node, axes: Value | None) -> Any:
    """max |x| along the reduced axes, but from 1 to 65504; declines where x was divided by that already.

    No less than 1, so that nothing is divided by 0 and no epsilon grows; no infinity, which divided by itself is NaN.
    """
    dtype, divided = _dtype(x), x.producer
    divisor = divided.inputs[1].producer if divided is not None and divided.op == "Div" else None
    require(divisor is None or divisor.op != "Min", "it is divided by the largest already")
    largest = reduced("ReduceMax", reduce.version, op.Abs(x), _axes(reduce, axes))
    return op.Min(op.Max(largest, np.ones((), dtype)), np.full((), LARGEST, dtype))


def reduced(operator: str, version: int, x: Any, axes: list[int]) -> Any:
    """A reduction with the axes where this operator set wants them."""
    if version >= 18:
        return op[operator](x, np.array(axes, np.int64), keepdims=1)
    return op[operator](x, axes=axes, keepdims=1)


@rule(
    anyof(op.Sqrt(op.Add(_REDUCED, const("epsilon"))), op.Sqrt(_REDUCED)),
    shared=True,
    opsets=(8, _ANY),
)
def scale_before_square(
    x: Value,
    square: Node,
    reduce: Node,
    axes: Value | None = None,
    two: np.ndarray | None = None,
    epsilon: np.ndarray | None = None,
) -> Any:
    """The root of a mean or sum of squares (RMSNorm, LayerNorm, L2 norm): squared after dividing by the largest.

    sqrt(mean(x^2) + e) = m * sqrt(mean((x / m)^2) + e / m^2) with m = max |x|, but from 1 to 65504: no square of a
    number that FP16 holds is above 1, and an epsilon that vanishes beside them did so before.
    """
    require(two is None or (two.size == 1 and two.item() == 2), "not a square")
    require(two is None or two.ndim <= known(x.rank, "the rank is unknown"), "the exponent adds dims")
    m = _largest(x, reduce, axes)
    small = op.Div(x, m)
    total = op[reduce.op](op.Mul(small, small), *((axes,) if axes is not None else ()), **reduce.attrs)
    if epsilon is not None:
        require(epsilon.size == 1 and 0 <= epsilon.item() < 1, "no small number")
        require(epsilon.ndim <= known(x.rank, "the rank is unknown"), "epsilon adds dims")
        total = op.Add(total, op.Div(op.Div(epsilon.reshape(()), m), m))
    return op.Mul(m, op.Sqrt(total))


@rule(op.ReduceL2("x", opt("axes")).named("square"), opsets=(8, _ANY))
def scale_before_norm(x: Value, square: Node, axes: Value | None = None) -> Any:
    """The Euclidean norm: of numbers that were divided by the largest, times that."""
    m = _largest(x, square, axes)
    return op.Mul(m, op.ReduceL2(op.Div(x, m), *((axes,) if axes is not None else ()), **square.attrs))


@rule(op.ReduceMean("x", opt("axes")).named("square"), opsets=(8, _ANY))
def divide_before_sum(x: Value, square: Node, axes: Value | None = None) -> Any:
    """A mean of many: the sum of what was divided before."""
    dtype = _dtype(x)
    along = _axes(square, axes)
    dims = known(x.dims, "the rank is unknown")
    sizes = [dims[axis] for axis in along]
    require(all(isinstance(size, int) and size > 0 for size in sizes), "the number of elements is not known")
    small = op.Mul(x, np.asarray(1.0 / np.prod(sizes, dtype=np.float64), dtype))
    if square.version >= 13:
        return op.ReduceSum(small, np.array(along, np.int64), keepdims=1)
    return op.ReduceSum(small, axes=along, keepdims=1)


ALWAYS = [scale_before_product]
SQUARES = [scale_before_square, scale_before_norm]
SUMS = [divide_before_sum]


def at(rules: list[Rule], nodes: Collection[Node]) -> list[Rule]:
    """The rules of `SQUARES` or `SUMS` for squares and sums among `nodes` only."""
    return [replace(each, build=_guarded(each, nodes)) for each in rules]


def _guarded(each: Rule, nodes: Collection[Node]) -> Any:
    def build(**found: Any) -> Any:
        if found["square"] not in nodes:
            decline("nothing was measured here that would overflow")
        return each.build(**found)

    return build
