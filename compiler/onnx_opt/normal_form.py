"""The one form in which symbolic dims are kept: expanded polynomials over symbols, with floor, Max and Min as atoms.

sympy does the algebra. It is imported by the first function that is called, since importing it takes 0.2 s and most
models are static. Every division here is checked, so a quotient that comes out is right.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

MAX_SIZE = 80
"""Expressions with more parts are given up: chains of thousands of nodes must not grow them without end."""
MAX_TERMS = 32
_MAX_DEGREE = 12
_MAX_COEFFICIENT = 2**62


@cache
def sympy() -> Any:
    """The module sympy."""
    import sympy as module

    return module


def terms(expr: Any) -> int:
    """How many terms the sum has."""
    return 1 if isinstance(expr, int) or not expr.is_Add else len(expr.args)


def is_small(expr: Any) -> bool:
    """Whether an expression is worth keeping: few parts, low degree, numbers that a size could be."""
    return _size(expr) <= MAX_SIZE and all(
        abs(number.p) <= _MAX_COEFFICIENT and number.q <= _MAX_COEFFICIENT for number in expr.atoms(sympy().Rational)
    )


@lru_cache(maxsize=100_000)
def _size(expr: Any) -> int:
    """How many parts an expression has. Its arguments were small before, so the recursion is shallow."""
    if expr.is_Pow and not abs(expr.exp) <= _MAX_DEGREE:
        return MAX_SIZE + 1
    return 1 + sum(map(_size, expr.args))


def exact_quotient(a: Any, b: Any) -> Any:
    """The polynomial a / b with integer coefficients, checked by multiplying back; None if there is none or b is 0."""
    if a == 0 or b == 0:
        return None if b == 0 else 0
    ratio = sympy().expand(sympy().sympify(a) / b)
    if not _is_integral(ratio) and terms(b) > 1:
        ratio = sympy().expand(sympy().cancel(a / b))
    return ratio if _is_integral(ratio) and sympy().expand(ratio * b - a) == 0 else None


def _is_integral(expr: Any) -> bool:
    """Whether an expanded expression is a polynomial with integer coefficients (over symbols, floors, Max and Min)."""
    for term in sympy().Add.make_args(expr):
        coefficient, factor = term.as_coeff_Mul()
        if not coefficient.is_Integer:
            return False
        for part in sympy().Mul.make_args(factor):
            if part.is_Pow and not (part.exp.is_Integer and part.exp > 0):
                return False
    return True


def floor_quotient(a: Any, b: Any) -> Any:
    """floor(a / b) for b > 0, or for a symbolic b that is not zero.

    Whole multiples of b are taken out of the floor, and a floor in the numerator is merged, so that strides chain:
    floor((floor(x / c) + k) / b) = floor((x + k c) / (b c)).
    """
    if not isinstance(b, int):
        return sympy().floor(sympy().expand(a / b))
    whole, rest = _split(a, b)
    inner, offset = _floor_plus_int(rest)
    ratio = rest / sympy().Integer(b)
    if inner is not None:
        numerator, denominator = sympy().fraction(sympy().together(inner))
        if denominator.is_Integer:
            ratio = (numerator + offset * denominator) / (b * denominator)
    return sympy().expand(whole + sympy().floor(sympy().expand(ratio)))


def _split(a: Any, b: int) -> tuple[Any, Any]:
    """a = b * whole + rest, the coefficients of `rest` within [0, b). Coefficients that are no ints stay in `rest`."""
    whole: Any = sympy().Integer(0)
    rest: Any = sympy().Integer(0)
    for term in sympy().Add.make_args(sympy().sympify(a)):
        coefficient, factor = term.as_coeff_Mul()
        if not coefficient.is_Integer:
            rest += term
            continue
        times, left = divmod(int(coefficient), b)
        whole += times * factor
        rest += left * factor
    return whole, rest


def _floor_plus_int(a: Any) -> tuple[Any, int]:
    """(x, k) where a = floor(x) + k; (None, 0) where it is not of that form."""
    parts = sympy().Add.make_args(a)
    floors = [part for part in parts if isinstance(part, sympy().floor)]
    numbers = [part for part in parts if part.is_Integer]
    if len(floors) != 1 or len(floors) + len(numbers) != len(parts):
        return None, 0
    return floors[0].args[0], int(sum(numbers))


def linear_in_one(expr: Any) -> tuple[Any, Any, Any] | None:
    """(c, x, k) where expr = c x + k with numbers c and k; None where it is not of that form."""
    number, rest = expr.as_coeff_Add()
    coefficient, atom = rest.as_coeff_Mul()
    return None if atom.is_Add or atom.is_Mul or atom.is_Number else (coefficient, atom, number)
