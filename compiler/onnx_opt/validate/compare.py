"""Whether a candidate's output may stand for the reference's.

Dtype, shape and structure must be the same. Strings, booleans and integers must be equal; NaN answers NaN and an
infinity the same infinity. A finite floating-point element c may differ from the reference's r by

    |c - r| <= rtol * |r| + atol * scale        scale = min(max |r|, 16 * median of the non-zero |r|)

with the maximum and the median taken over the finite elements of that output (`figures.scale_of`), so that `atol`, too,
is relative: to the output's own magnitude. Integers of 8 bits are usually quantized values, where a rounding difference
before the quantization shows as one step: up to 1 % of an output's elements may be one step off. What is beyond that is
not yet a failure: `noise` then asks whether the reference itself is as unstable. Under `exact` nothing of this holds:
every bit counts, signed zeros included, except which NaN a NaN is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnx_opt.validate.figures import (
    Figures,
    bits_equal,
    is_float,
    measure,
    same_up_to_nan_payload,
    scale_of,
)
from onnx_opt.validate.run import Value


@dataclass(frozen=True)
class Tolerance:
    """`rtol` relative to each element, `atol` relative to the output's scale."""

    rtol: float
    atol: float


# About a hundred units in the last place of a typical element; fusing and reordering cost most networks a tenth of
# that. Tight on purpose, since `noise` makes room for those that need it.
_DEFAULTS = {
    "float64": Tolerance(2e-9, 2e-10),
    "float32": Tolerance(2e-5, 2e-6),
    "float16": Tolerance(1e-2, 2e-3),
    "bfloat16": Tolerance(4e-2, 1.6e-2),
}


def default_tolerance(dtype: str) -> Tolerance:
    """The tolerance of a floating-point type where the user gives none."""
    return _DEFAULTS[dtype]


_COARSE = Tolerance(0.25, 0.125)  # floats of 8 bits and less
_QUANTIZED_FLIPS = 0.01

ToleranceLike = float | tuple[float, float] | Tolerance | Mapping[str, "ToleranceLike"] | None


def resolve_tolerance(given: ToleranceLike, output: str, dtype: np.dtype[Any]) -> Tolerance:
    """The tolerance of an output: `given` as one number (rtol and atol), a pair, or a mapping from output names or
    dtype names to these; the dtype's default otherwise."""
    if isinstance(given, Mapping):
        given = given.get(output, given.get(dtype.name))
    if isinstance(given, Tolerance):
        return given
    if isinstance(given, tuple):
        return Tolerance(*given)
    if given is not None and not isinstance(given, Mapping):
        return Tolerance(given, given)
    real = np.dtype("float32") if dtype == np.complex64 else np.dtype("float64") if dtype == np.complex128 else dtype
    return _DEFAULTS.get(real.name, _COARSE)


@dataclass
class Difference:
    """`problem` is empty where the candidate's output is good. A `rounding` problem is one that instability of the
    reference could explain: then `ratios` holds the errors beyond the tolerance, as multiples of it."""

    problem: str = ""
    figures: Figures = field(default_factory=Figures)
    rounding: bool = False
    ratios: np.ndarray = field(default_factory=lambda: np.zeros(0))


def compare(
    output: str, reference: Value, candidate: Value, tolerance: ToleranceLike = None, exact: bool = False
) -> Difference:
    """The difference of one output; sequences, maps and optionals are compared leaf by leaf."""
    expected, got = list(leaves(reference)), list(leaves(candidate))
    if [path for path, _ in expected] != [path for path, _ in got]:
        return Difference(f"structure differs: {_outline(reference)} became {_outline(candidate)}")
    whole = Difference()
    for (path, ref), (_, cand) in zip(expected, got, strict=True):
        part = compare_arrays(output, ref, cand, tolerance, exact)
        whole.figures.merge(part.figures)
        if part.problem and (not whole.problem or (whole.rounding and not part.rounding)):
            whole.problem, whole.rounding = f"{path}: {part.problem}" if path else part.problem, part.rounding
        whole.ratios = np.concatenate([whole.ratios, part.ratios])
    return whole


def compare_arrays(
    output: str, reference: np.ndarray, candidate: np.ndarray, tolerance: ToleranceLike = None, exact: bool = False
) -> Difference:
    """The difference of two arrays."""
    if reference.dtype != candidate.dtype:
        return Difference(f"dtype differs: {reference.dtype} became {candidate.dtype}")
    if reference.shape != candidate.shape:
        return Difference(f"shape differs: {list(reference.shape)} became {list(candidate.shape)}", rounding=not exact)
    if reference.dtype.kind == "O":
        return _compare_strings(reference, candidate)
    if bits_equal(reference, candidate):
        return Difference(figures=Figures(elements=reference.size))
    if reference.dtype.kind == "c":
        pair = "f4" if reference.dtype == np.complex64 else "f8"
        reference, candidate = (np.ascontiguousarray(a).reshape(-1).view(pair) for a in (reference, candidate))
    if is_float(reference.dtype):
        return _compare_floats(reference, candidate, resolve_tolerance(tolerance, output, reference.dtype), exact)
    return _compare_integers(reference, candidate, exact)


def _compare_strings(reference: np.ndarray, candidate: np.ndarray) -> Difference:
    wrong = int((reference != candidate).sum())
    figures = Figures(reference.size, wrong, wrong, worst=np.inf if wrong else 0.0, bit_equal=not wrong)
    return Difference(f"{wrong} of {reference.size} strings differ" if wrong else "", figures)


def _compare_floats(reference: np.ndarray, candidate: np.ndarray, tolerance: Tolerance, exact: bool) -> Difference:
    figures, ratios = measure(reference, candidate, tolerance.rtol, tolerance.atol * scale_of(reference))
    if exact:
        wrong = int((~same_up_to_nan_payload(reference, candidate)).sum())
        text = f"{wrong} of {reference.size} elements are not equal to the bit (up to {figures.max_ulp} ULP apart)"
        return Difference(text if wrong else "", figures)
    if not figures.beyond:
        return Difference("", figures)
    broken = int((np.isnan(reference) != np.isnan(candidate)).sum())
    text = f"{figures.beyond} of {reference.size} elements beyond the tolerance, by up to {figures.worst:.3g} times"
    if broken:
        text = f"{broken} of {reference.size} elements are NaN in only one of the two"
    elif np.isinf(figures.worst) and np.isinf(figures.max_abs):
        text = f"{figures.beyond} of {reference.size} elements differ, infinities among them"
    return Difference(text, figures, rounding=True, ratios=ratios)


def _compare_integers(reference: np.ndarray, candidate: np.ndarray, exact: bool) -> Difference:
    r, c = reference.reshape(-1), candidate.reshape(-1)
    differ = np.flatnonzero(r != c)
    steps = np.abs(r[differ].astype(np.float64) - c[differ].astype(np.float64))
    figures = Figures(r.size, differ.size, differ.size, bit_equal=not differ.size)
    if not differ.size:
        return Difference("", figures)
    figures.max_abs, figures.worst = float(steps.max()), np.inf
    if not exact and is_quantized(reference.dtype) and steps.max() <= 1 and differ.size <= _QUANTIZED_FLIPS * r.size:
        figures.beyond, figures.worst = 0, 0.0
        return Difference("", figures)
    text = f"{differ.size} of {r.size} elements differ, by up to {steps.max():g}"
    return Difference(text, figures, rounding=not exact, ratios=integer_ratios(r[differ], c[differ]))


def is_quantized(dtype: np.dtype[Any]) -> bool:
    """Whether integers of this type are usually rounded real numbers, so that one step is a rounding difference."""
    return dtype.name in ("int8", "uint8", "int4", "uint4", "int2", "uint2")


def integer_ratios(reference: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    """Errors of integers as ratios to a tolerance of half a step for quantized values; of indices and booleans, whose
    difference has no size, infinity where they differ."""
    differ = reference != candidate
    if not is_quantized(reference.dtype):
        return np.full(int(differ.sum()), np.inf)
    steps = np.abs(reference[differ].astype(np.float64) - candidate[differ].astype(np.float64))
    return np.asarray(2 * steps)


def leaves(value: Value, path: str = "") -> list[tuple[str, np.ndarray]]:
    """The arrays in a tensor, sequence, map or optional, each with its path: '[2]', '{cat}', 'none'."""
    found: list[tuple[str, np.ndarray]] = []
    pending = [(path, value)]
    while pending:
        at, item = pending.pop()
        if item is None:
            found.append((f"{at}none", np.zeros(0)))
        elif isinstance(item, Mapping):
            pending += [(f"{at}{{{key}}}", item[key]) for key in sorted(item, key=str, reverse=True)]
            found.append((f"{at}map", np.zeros(0)))
        elif isinstance(item, list):
            pending += [(f"{at}[{i}]", item[i]) for i in reversed(range(len(item)))]
            found.append((f"{at}sequence", np.zeros(0)))
        else:
            found.append((at, item if isinstance(item, np.ndarray) else _scalar(item)))
    return found


def _scalar(item: Any) -> np.ndarray:
    """A map's value, which arrives as a plain Python number or string; ONNX maps hold float32 or int64."""
    return np.array(item, object if isinstance(item, str) else np.float32 if isinstance(item, float) else np.int64)


def _outline(value: Value) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return f"a sequence of {len(value)}"
    return f"a map of {len(value)}" if isinstance(value, Mapping) else "a tensor"
