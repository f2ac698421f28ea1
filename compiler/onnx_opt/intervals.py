"""Bounds of symbolic expressions by interval arithmetic.

An interval is (lowest, highest), infinite where there is no bound. Every rule here widens or keeps, so a bound that
comes out is proven. Expressions are those of `onnx_opt.shapes`, which limits their size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, TypeAlias

Number: TypeAlias = "int | float | Fraction"
Interval: TypeAlias = tuple[Any, Any]

EVERYTHING: Interval = (-math.inf, math.inf)
LARGEST = 2**64


def of(expr: Any, bounds: Mapping[Any, Interval]) -> Interval:
    """Where the values of a sympy expression lie, given the intervals of its symbols (and of whole expressions).

    A symbol without an entry in `bounds` counts as what its sympy assumptions say.
    """
    found = _of_parts(expr, bounds)
    known = EVERYTHING if expr.is_Symbol else bounds.get(expr, EVERYTHING)
    return max(found[0], known[0]), min(found[1], known[1])


def _of_parts(expr: Any, bounds: Mapping[Any, Interval]) -> Interval:
    if expr.is_Rational:
        number = int(expr) if expr.is_Integer else Fraction(int(expr.p), int(expr.q))
        return number, number
    if expr.is_Symbol:
        return bounds.get(expr) or ((0, math.inf) if expr.is_nonnegative else EVERYTHING)
    parts = [of(arg, bounds) for arg in expr.args]
    if expr.is_Add:
        return _sum(parts)
    if expr.is_Mul:
        return _product(parts)
    if expr.is_Pow:
        return _power(parts[0], expr.exp)
    name = type(expr).__name__
    if name == "floor":
        return _floor(parts[0])
    if name == "Max":
        return max(low for low, _ in parts), max(high for _, high in parts)
    if name == "Min":
        return min(low for low, _ in parts), min(high for _, high in parts)
    return EVERYTHING


def relax(expr: Any, bounds: Mapping[Any, Interval]) -> tuple[Any, dict[Any, Interval]]:
    """An expression whose interval is tighter, though not wider in truth, and the bounds of its symbols.

    A symbol x >= k becomes k + y with y >= 0, and floor(u) becomes u - d with 0 <= d < 1: after expanding, terms
    cancel that interval arithmetic would treat as independent.
    """
    import sympy

    known: dict[Any, Interval] = {}
    outermost_first = sorted(expr.atoms(sympy.Max, sympy.Min), key=lambda atom: (-atom.count(sympy.Basic), str(atom)))
    for extreme in outermost_first:  # an inner one is gone once the outer one is replaced
        stand_in = sympy.Dummy("m", integer=True)
        known[stand_in] = of(extreme, bounds)
        expr = expr.xreplace({extreme: stand_in})
    for _ in range(8):
        floors = sorted(expr.atoms(sympy.floor), key=lambda floor: (-floor.count(sympy.floor), str(floor)))
        if not floors:
            break
        slack = sympy.Dummy("d", nonnegative=True)
        known[slack] = (0, 1)
        expr = sympy.expand(expr.xreplace({floors[0]: floors[0].args[0] - slack}))
    for symbol in sorted(expr.free_symbols - known.keys(), key=str):
        low, high = of(symbol, bounds)
        known[symbol] = (low, high)
        if 0 < low < math.inf:
            above = sympy.Dummy("y", integer=True, nonnegative=True)
            known[above] = (0, high - low)
            expr = expr.xreplace({symbol: above + low})
    return sympy.expand(expr), known


def times(a: Interval, b: Interval) -> Interval:
    """The products of two intervals."""
    corners = [_multiply(x, y) for x in a for y in b]
    return _clamp(min(corners), max(corners))


def _clamp(low: Any, high: Any) -> Interval:
    """Bounds past any size that a tensor can have are not worth their digits."""
    return (-math.inf if low < -LARGEST else min(low, LARGEST)), (math.inf if high > LARGEST else max(high, -LARGEST))


def _sum(parts: list[Interval]) -> Interval:
    return _clamp(sum(low for low, _ in parts), sum(high for _, high in parts))


def _product(parts: list[Interval]) -> Interval:
    result: Interval = (1, 1)
    for part in parts:
        result = times(result, part)
    return result


def _multiply(x: Any, y: Any) -> Any:
    """x * y where either may be infinite; zero times infinity is zero, since the infinite end is never reached."""
    if x == 0 or y == 0:
        return 0
    if abs(x) == math.inf or abs(y) == math.inf:
        return math.inf if (x > 0) == (y > 0) else -math.inf
    return x * y


def _power(base: Interval, exponent: Any) -> Interval:
    """base ** exponent for whole exponents; a base that is divided by is not zero, so at least 1 if not negative."""
    if not exponent.is_Integer:
        return EVERYTHING
    low, high = base
    count = int(exponent)
    if count >= 0:
        return _product([base] * count)
    if low < 0:
        return EVERYTHING
    inverse: Interval = (0 if high == math.inf else Fraction(1) / max(high, 1), Fraction(1) / max(low, 1))
    return _product([inverse] * -count)


def _floor(inner: Interval) -> Interval:
    low, high = inner
    return (low if low == -math.inf else math.floor(low)), (high if high == math.inf else math.floor(high))
