"""How much of a range is worth its resolution: thresholds from histograms.

The methods are those of onnxruntime.quantization.calibrate, whose collectors are not used: with its default of as many
bins as levels its entropy method has one candidate, the whole range; it truncates the expanded distribution to
integers; a tensor of zeros gets the range of half a unit; arrays of different shapes cannot be collected.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

BINS = 2048
"""Of each half of a histogram."""
LEVELS = 128
"""Magnitudes that 8 bits tell apart."""
STRIDE = 8
"""Bins between two candidates for a threshold."""


@dataclass
class Histogram:
    """How often the magnitudes up to `reach` occur, on either side of zero: bin k of `counts` holds those in
    ((k - BINS) * width, (k - BINS + 1) * width)."""

    reach: float
    counts: np.ndarray = field(default_factory=lambda: np.zeros(2 * BINS, np.int64))

    @property
    def width(self) -> float:
        """The width of a bin."""
        return self.reach / BINS

    def add(self, array: np.ndarray) -> None:
        """Count the finite elements of an array, which must lie within the reach."""
        if self.reach:
            self.counts += np.histogram(array, 2 * BINS, range=(-self.reach, self.reach))[0]

    @property
    def magnitudes(self) -> np.ndarray:
        """How often each magnitude occurs, of either sign."""
        return self.counts[:BINS][::-1] + self.counts[BINS:]


def percentile(histogram: Histogram, percent: float) -> float:
    """The smallest threshold that `percent` of all elements do not exceed in magnitude, to the width of a bin."""
    counts = histogram.magnitudes
    total = counts.sum()
    if not total:
        return histogram.reach
    place = int(np.searchsorted(np.cumsum(counts), total * percent / 100.0))
    return float(min(place + 1, BINS) * histogram.width)


def entropy(histogram: Histogram, levels: int = LEVELS) -> float:
    """The threshold at which the distribution of the quantized magnitudes is closest to that of the magnitudes, by the
    Kullback-Leibler divergence.

    Source: S. Migacz, 8-bit inference with TensorRT, GTC 2017. Zero is exact at every scale, so the bin that holds it
    counts as its neighbour does: the zeros behind a Relu would outweigh all else.
    """
    counts = histogram.magnitudes.astype(np.float64)
    counts[0] = counts[1]
    if not counts.any():
        return histogram.reach
    sizes = range(levels, BINS + 1, STRIDE)
    worst = [_divergence(counts, size, levels) for size in sizes]
    best = len(worst) - 1 - int(np.argmin(worst[::-1]))  # of equal ones the widest
    return sizes[best] * histogram.width


def _divergence(counts: np.ndarray, size: int, levels: int) -> float:
    """Of `levels` equal steps up to bin `size`, where what is beyond is cut off to the last bin."""
    inside = counts[:size]
    clipped = inside.copy()
    clipped[-1] += counts[size:].sum()
    starts = np.arange(levels) * size // levels
    lengths = np.diff(np.append(starts, size))
    present = inside > 0
    share = np.add.reduceat(inside, starts) / np.maximum(np.add.reduceat(present.astype(np.float64), starts), 1.0)
    expanded = np.where(present, np.repeat(share, lengths), 0.0)
    if not expanded.any():
        return float("inf")
    p, q = clipped / clipped.sum(), expanded / expanded.sum()
    tiny = 1e-4 / size  # where the last bin was empty, what is cut off has no counterpart
    q = np.where((p > 0) & (q == 0), tiny, q)
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / q[used])))
