"""How far the outputs of a half precision model are from those in FP32: the metrics that a user can choose.

`max-rel` (the default): the largest difference over the largest magnitude of that output
`max-abs`: the largest difference
`cosine`: 1 - the cosine of the angle between both outputs
`top1`: the share of rows along the last axis whose largest element is another one
`file.py:name`: a function of both lists of outputs (expected, actual) that returns the error as a number

The error of a model is the largest over its outputs. Where one side is NaN or infinite and the other is not, it is
infinite. Of integers, booleans and strings every metric takes the share of elements that differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from onnx_opt.errors import UsageError
from onnx_opt.validate.compare import leaves
from onnx_opt.validate.figures import is_float
from onnx_opt.validate.run import Value

Error = Callable[[Sequence[Value], Sequence[Value]], float]
Pairwise = Callable[[np.ndarray, np.ndarray], float]


class Format(Protocol):
    """A format of lower precision, with the relative error of a whole model that is taken as normal."""

    @property
    def tolerance(self) -> float: ...


@dataclass(frozen=True)
class Metric:
    """`error(expected, actual)` of two lists of outputs; a model passes where it is at most `tolerance`."""

    name: str
    tolerance: float
    error: Error

    def accepts(self, error: float) -> bool:
        return error <= self.tolerance  # NaN is not


def find_metric(name: str, tolerance: float | None, form: Format) -> Metric:
    """The metric called `name`, with its own tolerance for `form` where none is given. Raises UsageError."""
    if ".py:" in name:
        if tolerance is None:
            raise UsageError(f"metric {name} needs a tolerance", remedy="give --tolerance")
        return Metric(name, tolerance, _of_function(name))
    if name not in _PAIRWISE:
        raise UsageError(f"unknown metric '{name}'", remedy=f"one of {', '.join(_PAIRWISE)}, or file.py:name")
    pairwise, usual = _PAIRWISE[name]
    return Metric(name, usual(form) if tolerance is None else tolerance, _largest(pairwise))


def tolerance_of(given: Any) -> float | None:
    """One number from what a user may give as tolerance for validation: of several, the largest."""
    if given is None or isinstance(given, int | float):
        return given
    if isinstance(given, Mapping):
        found = [number for number in map(tolerance_of, given.values()) if number is not None]
        return max(found, default=None)
    if isinstance(given, Sequence):
        return max(map(float, given), default=None)
    return float(max(given.rtol, given.atol))


# -- over all outputs --------------------------------------------------------------------------------------------------


def _largest(pairwise: Pairwise) -> Error:
    def error(expected: Sequence[Value], actual: Sequence[Value]) -> float:
        return max((_of_value(pairwise, one, two) for one, two in zip(expected, actual, strict=True)), default=0.0)

    return error


def _of_value(pairwise: Pairwise, expected: Value, actual: Value) -> float:
    """The error of one output; sequences and maps are compared leaf by leaf."""
    one, two = leaves(expected), leaves(actual)
    if [path for path, _ in one] != [path for path, _ in two]:
        return math.inf
    return max((_of_arrays(pairwise, a, b) for (_, a), (_, b) in zip(one, two, strict=True)), default=0.0)


def _of_arrays(pairwise: Pairwise, expected: np.ndarray, actual: np.ndarray) -> float:
    if expected.shape != actual.shape:
        return math.inf
    if not expected.size:
        return 0.0
    if not (is_float(expected.dtype) and is_float(actual.dtype)):
        return float((expected != actual).mean())
    one, two = expected.astype(np.float64).reshape(expected.shape), actual.astype(np.float64)
    if expected.dtype == np.float32:
        _merge_limits(one, two)
    fine = np.isfinite(one)
    if not np.array_equal(one[~fine], two[~fine], equal_nan=True) or not np.isfinite(two[fine]).all():
        return math.inf
    return pairwise(np.where(fine, one, 0.0), np.where(fine, two, 0.0)) if fine.any() else 0.0


def _merge_limits(one: np.ndarray, two: np.ndarray) -> None:
    """The largest FP32 number stands for infinity in masks: it may have become one."""
    limit = float(np.finfo(np.float32).max)
    for array in (one, two):
        huge = np.abs(array) >= limit
        array[huge] = np.copysign(np.inf, array[huge])


# -- of one output, finite numbers only --------------------------------------------------------------------------------


def _max_abs(expected: np.ndarray, actual: np.ndarray) -> float:
    return float(np.abs(actual - expected).max())


def _max_rel(expected: np.ndarray, actual: np.ndarray) -> float:
    error = _max_abs(expected, actual)
    return error / (float(np.abs(expected).max()) or 1.0)


def _cosine(expected: np.ndarray, actual: np.ndarray) -> float:
    norms = float(np.linalg.norm(expected)) * float(np.linalg.norm(actual))
    if norms == 0.0:
        return 0.0 if np.array_equal(expected, actual) else 1.0
    return max(0.0, 1.0 - float(np.vdot(expected, actual)) / norms)


def _top1(expected: np.ndarray, actual: np.ndarray) -> float:
    if expected.ndim == 0:
        return 0.0
    return float((expected.argmax(axis=-1) != actual.argmax(axis=-1)).mean())


_PAIRWISE: dict[str, tuple[Pairwise, Callable[[Format], float]]] = {
    "max-rel": (_max_rel, lambda form: form.tolerance),
    "max-abs": (_max_abs, lambda form: form.tolerance),
    "cosine": (_cosine, lambda form: form.tolerance / 10),
    "top1": (_top1, lambda form: 0.0),
}
METRICS = tuple(_PAIRWISE)


# -- a user's function -------------------------------------------------------------------------------------------------


def _of_function(spelling: str) -> Error:
    from onnx_opt.userfiles import load_function

    function = load_function(spelling)

    def error(expected: Sequence[Value], actual: Sequence[Value]) -> float:
        try:
            return float(function(list(expected), list(actual)))
        except Exception as problem:  # the user's code may fail in any way
            path = Path(spelling.rpartition(":")[0])
            raise UsageError(f"the metric failed: {type(problem).__name__}: {problem}", path=path) from problem

    return error
