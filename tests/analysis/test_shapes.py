"""Dims: normal form, arithmetic and proofs, each against plain integers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_opt import shapes
from onnx_opt.shapes import Shapes, substitute


@pytest.fixture
def algebra() -> Shapes:
    return Shapes()


# -- what people write down --------------------------------------------------------------------------------------------


def test_ints_stay_ints(algebra: Shapes) -> None:
    assert algebra.add(2, 3) == 5
    assert algebra.product([2, 3, 4]) == 24
    assert algebra.floordiv(7, 2) == 3
    assert algebra.ceildiv(7, 2) == 4
    assert algebra.maximum(2, 3) == 3


def test_one_name_is_one_symbol(algebra: Shapes) -> None:
    assert algebra.symbol("batch") is algebra.symbol("batch")
    assert algebra.symbol("batch") != algebra.symbol("length")
    assert algebra.symbol("?0") != algebra.fresh()


def test_equal_dims_are_equal_however_they_came_about(algebra: Shapes) -> None:
    n, s = algebra.symbol("n"), algebra.symbol("s")
    assert algebra.mul(algebra.add(n, 1), s) == algebra.add(algebra.mul(n, s), s)
    assert algebra.sub(algebra.add(n, s), s) is n
    assert algebra.quotient(algebra.product([n, s, 768]), algebra.product([n, 12])) == algebra.mul(s, 64)
    assert algebra.quotient(algebra.mul(n, algebra.add(n, s)), algebra.add(n, s)) == n
    assert not algebra.equal(n, s)


def test_strides_chain(algebra: Shapes) -> None:
    h = algebra.symbol("h")
    half = algebra.floordiv(h, 2)
    assert algebra.floordiv(half, 2) == algebra.floordiv(h, 4)
    assert algebra.floordiv(algebra.add(half, 1), 2) == algebra.floordiv(algebra.add(h, 2), 4)
    assert algebra.floordiv(algebra.mul(h, 6), 3) == algebra.mul(h, 2)


def test_proofs_know_that_sizes_are_not_negative(algebra: Shapes) -> None:
    h, w = algebra.symbol("h"), algebra.symbol("w")
    assert algebra.at_least(h, 0)
    assert not algebra.at_least(h, 1)
    assert algebra.positive(algebra.add(h, 1))
    assert algebra.at_least(h, algebra.floordiv(h, 2))
    assert algebra.at_least(algebra.add(h, w), h)
    assert algebra.differ(algebra.add(h, 1), h)
    assert not algebra.differ(h, w)
    assert algebra.maximum(algebra.add(h, 2), h) == algebra.add(h, 2)


def test_bounds_make_proofs(algebra: Shapes) -> None:
    h, w = algebra.symbol("h"), algebra.symbol("w")
    algebra.fix(h, (32, 512))
    assert algebra.positive(h)
    assert algebra.bounds(h) == (32, 512)
    assert algebra.bounds(algebra.floordiv(h, 16)) == (2, 32)
    assert algebra.minimum(h, 1024) == h
    assert algebra.broadcast(h, w) == h
    assert algebra.at_least(algebra.mul(h, w), w)


def test_fixed_symbol_is_an_int(algebra: Shapes) -> None:
    algebra.fix(algebra.symbol("n"), 4)
    assert algebra.symbol("n") == 4
    with pytest.raises(ValueError, match="can't be 3:2"):
        algebra.fix(algebra.symbol("m"), (3, 2))


def test_broadcast_of_two_unknown_sizes(algebra: Shapes) -> None:
    a, b = algebra.symbol("a"), algebra.symbol("b")
    assert algebra.broadcast(a, 1) == a
    assert algebra.broadcast(a, 5) == 5
    assert algebra.broadcast(0, a) == 0
    either = algebra.broadcast(a, b)
    assert either not in (a, b)
    assert algebra.broadcast(b, a) == either
    assert algebra.broadcast(either, a) == either


def test_large_expressions_become_symbols(algebra: Shapes) -> None:
    dim = algebra.symbol("h")
    for step in range(200):
        dim = algebra.mul(algebra.add(dim, step), algebra.add(dim, algebra.symbol(f"s{step % 7}")))
        dim = algebra.floordiv(algebra.add(algebra.mul(dim, 3), algebra.symbol("w")), 2)
    assert algebra.at_least(dim, 0)


def test_statements_without_a_model() -> None:
    h = Shapes().symbol("h")
    assert shapes.equal(h + 1, 1 + h)
    assert shapes.equal((h + 1) * 2, 2 * h + 2)
    assert shapes.provably_positive(h + 1)
    assert not shapes.provably_positive(h)
    assert shapes.is_one(1)
    assert not shapes.is_one(h)


# -- against plain integers --------------------------------------------------------------------------------------------

SYMBOLS = ("a", "b", "c")
OPERATORS: dict[str, Any] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "floordiv": lambda x, y: math.floor(x // y),
    "ceildiv": lambda x, y: -(-x // y),
    "maximum": max,
    "minimum": min,
}

leaves = st.one_of(st.integers(-3, 9), st.sampled_from(SYMBOLS))
trees = st.recursive(leaves, lambda inner: st.tuples(st.sampled_from(sorted(OPERATORS)), inner, inner), max_leaves=7)
sizes = st.fixed_dictionaries({name: st.integers(0, 40) for name in SYMBOLS})


def _plain(tree: Any, env: dict[str, int]) -> int:
    if isinstance(tree, tuple):
        return int(OPERATORS[tree[0]](_plain(tree[1], env), _plain(tree[2], env)))
    return env[tree] if isinstance(tree, str) else tree


def _symbolic(algebra: Shapes, tree: Any) -> Any:
    if isinstance(tree, tuple):
        return getattr(algebra, tree[0])(_symbolic(algebra, tree[1]), _symbolic(algebra, tree[2]))
    return algebra.symbol(tree) if isinstance(tree, str) else tree


@settings(max_examples=300, deadline=None)
@given(trees, sizes)
def test_expressions_mean_what_they_were_built_from(tree: Any, env: dict[str, int]) -> None:
    algebra = Shapes()
    try:
        expected = _plain(tree, env)
    except ZeroDivisionError:
        return
    try:
        dim = _symbolic(algebra, tree)
    except ZeroDivisionError:
        return
    low, high = algebra.bounds(dim)
    assert low is None or low <= expected
    assert high is None or expected <= high
    if not algebra.is_made(dim):
        assert substitute(dim, {algebra.symbol(name): size for name, size in env.items()}) == expected


@settings(max_examples=300, deadline=None)
@given(trees, trees, sizes, st.booleans())
def test_what_is_proven_is_true(left: Any, right: Any, env: dict[str, int], bounded: bool) -> None:
    algebra = Shapes()
    if bounded:
        for name, size in env.items():
            algebra.fix(algebra.symbol(name), (max(size - 2, 0), size + 3))
    try:
        x, y = _plain(left, env), _plain(right, env)
        a, b = _symbolic(algebra, left), _symbolic(algebra, right)
    except ZeroDivisionError:
        return
    assert not algebra.equal(a, b) or x == y
    assert not algebra.differ(a, b) or x != y
    assert not algebra.at_least(a, b) or x >= y
    assert not algebra.at_most(a, b) or x <= y
    quotient = algebra.quotient(a, b)
    if quotient is not None and y and not algebra.is_made(quotient):
        assert substitute(quotient, {algebra.symbol(name): size for name, size in env.items()}) * y == x
