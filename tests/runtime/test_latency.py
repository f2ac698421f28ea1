"""What is said of timings."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from onnx_opt.runtime.latency import CONFIDENCE, LEAST_ROUNDS, Latency, Ratio


def test_percentiles_in_milliseconds_and_runs_per_second() -> None:
    latency = Latency.of([n / 1000 for n in range(1, 102)])
    assert (latency.min, latency.p50, latency.p90, latency.p99, latency.max) == pytest.approx((1, 51, 91, 100, 101))
    assert latency.mean == pytest.approx(51) and latency.throughput == pytest.approx(1000 / 51)
    assert latency.runs == 101


def test_one_run_has_no_spread() -> None:
    assert Latency.of([0.5]).std == 0


def test_the_ratio_is_that_of_rounds_so_a_slow_minute_does_not_count() -> None:
    machine = np.array([1, 1, 10, 1, 3, 1, 1, 1, 1])  # how slow it was in each round, for both
    ratio = Ratio.of(0.2 * machine, 0.1 * machine)
    assert ratio.speedup == pytest.approx(2)
    assert (ratio.low, ratio.high) == pytest.approx((2, 2))
    assert ratio.shows_a_difference


def test_too_few_rounds_have_no_interval() -> None:
    few = Ratio.of([1.0] * (LEAST_ROUNDS - 1), [2.0] * (LEAST_ROUNDS - 1))
    assert few.low is None and few.high is None and not few.shows_a_difference
    assert Ratio.of([1.0] * LEAST_ROUNDS, [2.0] * LEAST_ROUNDS).shows_a_difference


@pytest.mark.parametrize("count", [6, 7, 10, 25, 200])
def test_the_interval_holds_the_median_as_often_as_it_says(count: int) -> None:
    ratios = np.arange(1.0, count + 1)
    found = Ratio.of(ratios, np.ones(count))
    assert found.low is not None and found.high is not None
    below = int(found.low) - 1  # ratios left out at either end
    assert count - int(found.high) == below
    assert 1 - 2 * binom.cdf(below, count, 0.5) >= CONFIDENCE
    assert 1 - 2 * binom.cdf(below + 1, count, 0.5) < CONFIDENCE  # and no narrower one does


def test_equal_models_show_no_difference() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.uniform(1, 2, (2, 50))
    assert not Ratio.of(one, two).shows_a_difference
