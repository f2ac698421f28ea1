"""How far apart two arrays are: absolute, relative and ULP distance, and the ratio of error to tolerance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

_BLOCK = 1 << 20  # elements looked at together, which bounds the memory that a comparison takes
DECADES = range(-6, 2)
"""Powers of ten that part the errors of a distribution, as multiples of the tolerance."""


@dataclass
class Figures:
    """The difference of one output. `mismatches` counts the elements that are not equal (NaN equals NaN), of which
    `beyond` exceed the tolerance; `worst` is the largest error as a multiple of its tolerance. `distribution` counts
    the floating-point ones among them by that multiple: up to 1e-6, up to 1e-5, ..., up to 10, and beyond."""

    elements: int = 0
    mismatches: int = 0
    beyond: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    max_ulp: int = 0
    worst: float = 0.0
    bit_equal: bool = True
    distribution: list[int] = field(default_factory=lambda: [0] * (len(DECADES) + 1))

    def merge(self, other: Figures) -> None:
        """Keeps the worse of both."""
        self.elements += other.elements
        self.mismatches += other.mismatches
        self.beyond += other.beyond
        self.max_abs = max(self.max_abs, other.max_abs)
        self.max_rel = max(self.max_rel, other.max_rel)
        self.max_ulp = max(self.max_ulp, other.max_ulp)
        self.worst = max(self.worst, other.worst)
        self.bit_equal = self.bit_equal and other.bit_equal
        self.distribution = [a + b for a, b in zip(self.distribution, other.distribution, strict=True)]

    def to_json(self) -> dict[str, Any]:
        return {key: finite(value) for key, value in asdict(self).items()}


def finite(value: Any) -> Any:
    """`value` as JSON can say it, which has no infinity."""
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def is_float(dtype: np.dtype[Any]) -> bool:
    """Real floating point, the types of ml_dtypes included (numpy sees those as opaque)."""
    return dtype.kind == "f" or (dtype.kind == "V" and "float" in dtype.name)


def bits_equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether arrays of one shape and dtype hold the same bits."""
    width = np.dtype(f"u{min(a.dtype.itemsize, 8)}")
    return bool(np.array_equal(np.ascontiguousarray(a).reshape(-1).view(width), _flat(b).view(width)))


def same_up_to_nan_payload(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Elementwise: the same bits, or both NaN."""
    width = np.dtype(f"u{a.dtype.itemsize}")
    return np.asarray((_flat(a).view(width) == _flat(b).view(width)) | (np.isnan(_flat(a)) & np.isnan(_flat(b))))


def _flat(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(a).reshape(-1)


def scale_of(reference: np.ndarray) -> float:
    """The magnitude that an output's absolute tolerance is a fraction of.

    It is the largest finite magnitude, but at most 16 times the median of the non-zero ones: a few huge entries (a
    mask of -1e9 in the logits) must not hide errors in all the others.
    """
    flat = _flat(reference)
    if flat.dtype.kind == "V":
        flat = flat.astype(np.float32)
    step = max(1, flat.size // _BLOCK)
    magnitude = np.abs(flat[::step])
    magnitude = magnitude[np.isfinite(magnitude) & (magnitude > 0)]
    if not magnitude.size:
        return 0.0
    return min(float(magnitude.max()), 16.0 * float(np.median(magnitude)))


def measure(
    reference: np.ndarray, candidate: np.ndarray, rtol: float, atol: float, keep_ratios: bool = False
) -> tuple[Figures, np.ndarray]:
    """Figures of two real floating-point arrays of one shape and dtype, and the ratios error / tolerance above 1,
    unordered (all non-zero ratios with `keep_ratios`). `atol` is absolute: already scaled."""
    figures = Figures(elements=reference.size)
    kept: list[np.ndarray] = []
    for ref, cand in _blocks(reference, candidate):
        _measure_block(ref, cand, rtol, atol, keep_ratios, figures, kept)
    figures.bit_equal = bits_equal(reference, candidate)
    return figures, np.concatenate(kept) if kept else np.zeros(0)


def _blocks(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    flats = [_flat(a) for a in arrays]
    for start in range(0, flats[0].size, _BLOCK):
        yield tuple(flat[start : start + _BLOCK] for flat in flats)


def _measure_block(
    ref: np.ndarray,
    cand: np.ndarray,
    rtol: float,
    atol: float,
    keep_ratios: bool,
    figures: Figures,
    kept: list[np.ndarray],
) -> None:
    width = np.dtype(f"u{ref.dtype.itemsize}")
    differ = np.flatnonzero(ref.view(width) != cand.view(width))
    ref, cand = ref[differ], cand[differ]
    r, c = ref.astype(np.float64), cand.astype(np.float64)
    unequal = ~((r == c) | (np.isnan(r) & np.isnan(c)))
    if not unequal.any():
        return
    r, c, ref, cand = r[unequal], c[unequal], ref[unequal], cand[unequal]
    figures.mismatches += r.size
    comparable = np.isfinite(r) & np.isfinite(c)
    error = np.full(r.shape, np.inf)
    error[comparable] = np.abs(c[comparable] - r[comparable])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        bound = rtol * np.abs(r) + atol
        ratio = np.where(comparable, error / bound, np.inf)
        relative = np.where(comparable, error / np.abs(r), np.inf)
    figures.beyond += int((ratio > 1).sum())
    figures.worst = max(figures.worst, float(ratio.max()))
    bins = np.searchsorted([10.0**power for power in DECADES], ratio)
    counts = np.bincount(bins, minlength=len(figures.distribution)).tolist()
    figures.distribution = [a + b for a, b in zip(figures.distribution, counts, strict=True)]
    figures.max_abs = max(figures.max_abs, float(error.max()))
    figures.max_rel = max(figures.max_rel, float(relative.max()))
    if comparable.any():
        figures.max_ulp = max(figures.max_ulp, _max_ulp(ref[comparable], cand[comparable]))
    kept.append(ratio if keep_ratios else ratio[ratio > 1])


def _max_ulp(a: np.ndarray, b: np.ndarray) -> int:
    """The largest number of representable values between finite elements."""
    low, high = _ordinal(a), _ordinal(b)
    return int((np.maximum(low, high) - np.minimum(low, high)).max())


def _ordinal(a: np.ndarray) -> np.ndarray:
    """Bit patterns as unsigned integers in the order of the values they stand for; -0.0 and 0.0 coincide."""
    bits = 8 * a.dtype.itemsize
    code = a.view(f"u{a.dtype.itemsize}").astype(np.uint64)
    sign, top = code >> np.uint64(bits - 1), np.uint64(1 << (bits - 1))
    magnitude = code & (top - np.uint64(1))
    return np.where(sign == 1, top - magnitude, top + magnitude)
