"""The laws of arithmetic, checked on ONNX Runtime: to the bit without liberties, and not at all without those needed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from onnx_opt.laws import BOOLS, FLOATS, INTEGERS, Law
from onnx_opt.liberties import NO_INFS, NO_NANS, NO_SIGNED_ZEROS, REASSOCIATE
from onnx_opt_rules.tables import laws

from .test_algebra import run, same, samples

DTYPES = {
    FLOATS: ("float32", "float64", "float16"),
    INTEGERS: ("int32", "int64", "int8", "uint8", "uint32", "uint64"),
    BOOLS: ("bool",),
}


def rows(table: dict[str, tuple[Law, ...]]) -> list[Any]:
    return [
        pytest.param(op, law, id=f"{op} of {law.kind} {law.value}")
        for ops, stated in table.items()
        for op in ops.split()
        for law in stated
    ]


def evaluate(op: str, x: np.ndarray, z: np.ndarray) -> np.ndarray | None:
    if op == "BitShift":
        return x << z if x.dtype.kind == "u" else None  # ONNX Runtime wants the attribute; shifts are plain
    results = run([(op, ["x", "z"], "y")], {"x": x, "z": z})
    return None if results is None else results[0]


def constant(law: Law, dtype: str, value: Any) -> np.ndarray:
    return np.asarray(value).astype(dtype)


def agrees(law: Law, expected: np.ndarray, got: np.ndarray, operands: np.ndarray) -> bool:
    """Whether the law holds, in view of the liberties that it needs."""
    keep = np.ones(np.broadcast(expected, got).shape, bool)
    for array in (operands, expected, got):
        if array.dtype.kind == "f" and NO_NANS in law.needs:
            keep &= ~np.isnan(array)
        if array.dtype.kind == "f" and NO_INFS in law.needs:
            keep &= ~np.isinf(array)
    return same(got[keep], np.broadcast_to(expected, keep.shape)[keep], zeros=NO_SIGNED_ZEROS not in law.needs)


def check(op: str, law: Law, case: Any) -> None:
    """`case` makes (operands, expected, got) of samples of a type. A law that needs liberties is wrong without."""
    found, without = 0, []
    for dtype in DTYPES[law.kind]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = case(samples(dtype), dtype)
        if outcome is None:
            continue
        operands, expected, got = outcome
        found += 1
        assert agrees(law, expected, got, operands), (op, dtype)
        without.append(agrees(Law(law.kind), np.broadcast_to(expected, got.shape), got, operands))
    assert found, f"ONNX Runtime runs {op} on no type"
    assert not law.needs or not all(without), f"{op} needs no {sorted(law.needs)}"


@pytest.mark.parametrize(("op", "law"), rows(laws.NEUTRAL))
def test_neutral(op: str, law: Law) -> None:
    def case(x: np.ndarray, dtype: str) -> Any:
        c = np.full_like(x, constant(law, dtype, law.value))
        got = evaluate(op, x, c)
        swapped = evaluate(op, c, x) if 0 in law.sides else got
        if got is None or swapped is None:
            return None
        assert agrees(law, x, swapped, x)
        return x, x, got

    check(op, law, case)


@pytest.mark.parametrize(("op", "law"), rows(laws.ABSORBING))
def test_absorbing(op: str, law: Law) -> None:
    def case(x: np.ndarray, dtype: str) -> Any:
        got = evaluate(op, x, np.full_like(x, constant(law, dtype, law.value)))
        return None if got is None else (x, constant(law, dtype, law.result), got)

    check(op, law, case)


@pytest.mark.parametrize(("op", "law"), rows(laws.CANCELLING))
def test_cancelling(op: str, law: Law) -> None:
    def case(x: np.ndarray, dtype: str) -> Any:
        got = evaluate(op, x, x)
        return None if got is None else (x, np.asarray(law.result).astype(got.dtype), got)

    check(op, law, case)


@pytest.mark.parametrize(("op", "law"), rows(laws.ASSOCIATIVE))
def test_associative(op: str, law: Law) -> None:
    for dtype in DTYPES[law.kind]:
        x = samples(dtype)
        y, z = np.roll(x, 1), np.roll(x, 3)
        inner = evaluate(op, x, y)
        other = evaluate(op, y, z)
        if inner is None or other is None:
            continue
        left, right = evaluate(op, inner, z), evaluate(op, x, other)
        assert left is not None and right is not None
        assert same(left, right) or REASSOCIATE in law.needs, (op, dtype)


def test_integer_division_has_no_laws_that_hide_a_trap() -> None:
    assert all(law.kind != INTEGERS for law in laws.CANCELLING["Div"])
    assert "Mod" not in laws.CANCELLING
