"""What is said of many timings: percentiles, and the ratio of two models with its confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95
PERCENTILES = (50, 90, 99)
LEAST_ROUNDS = 6
"""With fewer rounds no interval reaches the confidence."""


@dataclass(frozen=True)
class Latency:
    """Timings of one model. All in milliseconds, `throughput` in runs per second."""

    runs: int
    mean: float
    std: float
    min: float
    p50: float
    p90: float
    p99: float
    max: float
    throughput: float

    @staticmethod
    def of(seconds: Sequence[float]) -> Latency:
        """Of the seconds that each run took; there must be at least one."""
        times = np.asarray(seconds, np.float64) * 1e3
        p50, p90, p99 = np.percentile(times, PERCENTILES)
        std = times.std(ddof=1) if times.size > 1 else 0.0
        figures = (times.mean(), std, times.min(), p50, p90, p99, times.max(), 1e3 / times.mean())
        return Latency(times.size, *map(float, figures))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Ratio:
    """How many times as fast the second model is as the first: the median over rounds in which both ran. `low` and
    `high` are the ends of its 95% confidence interval, None where there were too few rounds for one."""

    speedup: float
    low: float | None
    high: float | None
    rounds: int

    @property
    def shows_a_difference(self) -> bool:
        """Whether the interval leaves out that both are equally fast."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    @staticmethod
    def of(first: Sequence[float], second: Sequence[float]) -> Ratio:
        """Of the seconds that a run of each took, round by round.

        The interval is that of the sign test (David and Nagaraja, Order Statistics, 7.1): it asks nothing of how the
        times are distributed, only that one round tells nothing of the next.
        """
        ratios = np.sort(np.asarray(first, np.float64) / np.asarray(second, np.float64))
        rank = _rank(ratios.size)
        low, high = (None, None) if rank is None else (float(ratios[rank]), float(ratios[-1 - rank]))
        return Ratio(float(np.median(ratios)), low, high, ratios.size)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "confidence": CONFIDENCE}


def _rank(count: int) -> int | None:
    """The largest k at which the k-th lowest and k-th highest (from 0) of `count` values enclose the median of their
    distribution with the confidence wanted; None where no two of them do."""
    from scipy.stats import binom  # type: ignore[import-untyped]

    rank = int(binom.ppf((1 - CONFIDENCE) / 2, count, 0.5)) - 1
    return rank if rank >= 0 else None
