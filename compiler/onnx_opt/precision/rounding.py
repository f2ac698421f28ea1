"""Constants in half precision, and what rounding does to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnx_opt.precision.formats import FORMATS
from onnx_opt.types import numpy_dtype

CHUNK = 1 << 20
"""Elements that are looked at together, so that a mapped weight is never held as a whole."""


@dataclass(frozen=True)
class Rounding:
    """What becomes of the elements of one constant.

    `count` elements in all; `overflows` finite ones beyond the largest half number; `underflows` non-zero ones that
    become 0; `worst` the largest relative error of an element that does neither; `error` the relative error of the
    whole, ||x - half(x)|| / ||x|| (Euclidean norm of the finite elements; 0 where x is 0, inf where one overflows).
    """

    name: str
    count: int
    overflows: int
    underflows: int
    worst: float
    error: float


def to_half(array: np.ndarray, elem_type: int) -> np.ndarray:
    """The elements rounded to nearest even; what is too large becomes an infinity."""
    dtype = numpy_dtype(elem_type)
    assert dtype is not None
    with np.errstate(over="ignore", under="ignore"):
        return array.astype(dtype)


def to_nearest(array: np.ndarray, elem_type: int) -> np.ndarray:
    """The elements as finite numbers of a half type, and 0 for 0 alone: the largest, or the least, for those beyond."""
    form = FORMATS[elem_type]
    half = to_half(np.clip(array, -form.largest, form.largest), elem_type)
    least = to_half(np.copysign(np.float32(form.least), array), elem_type)
    return np.where((half == 0) & (array != 0), least, half).astype(half.dtype)


def measure(name: str, array: np.ndarray, elem_type: int) -> Rounding:
    """What rounding does to an FP32 array."""
    flat = array.reshape(-1)
    overflows = underflows = 0
    worst = lost = whole = 0.0
    for start in range(0, flat.size, CHUNK):
        part = flat[start : start + CHUNK]
        half = to_half(part, elem_type).astype(np.float32)
        usual = np.isfinite(half)
        if not usual.all():
            overflows += int((np.isfinite(part) & ~usual).sum())
            part, half = part[usual], half[usual]
        error = np.abs(part - half)
        underflows += int(((half == 0) & (part != 0)).sum())
        lost += float(np.square(error, dtype=np.float64).sum())
        whole += float(np.square(part, dtype=np.float64).sum())
        changed = (error != 0) & (half != 0)
        if changed.any():
            worst = max(worst, float((error[changed] / np.abs(part[changed])).max()))
    error_of_all = np.inf if overflows else float(np.sqrt(lost / whole)) if whole else 0.0
    return Rounding(name, flat.size, overflows, underflows, worst, error_of_all)
