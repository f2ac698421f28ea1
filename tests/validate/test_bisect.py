"""Finding wrong rewrites among many, with made-up pipelines."""

from __future__ import annotations

import random
from functools import partial

import pytest

from onnx_opt.validate import find_faults, first_bad


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 1000])
def test_the_first_bad_rewrite_is_found_in_log_n_steps(n):
    for fault in {1, min(2, n), max(n // 2, 1), max(n - 1, 1), n}:
        tried: list[int] = []
        assert first_bad(n, partial(is_bad, fault, tried)) == fault
        assert len(tried) <= n.bit_length()


def is_bad(fault: int, tried: list[int], k: int) -> bool:
    tried.append(k)
    return k >= fault


def test_a_fault_that_comes_and_goes_is_still_a_step_from_good_to_bad():
    rng = random.Random(1)
    for _ in range(50):
        bad = [False, *(rng.random() < 0.5 for _ in range(30)), True]
        k = first_bad(31, bad.__getitem__)
        assert bad[k]
        assert not bad[k - 1]


def test_nothing_to_bisect():
    with pytest.raises(ValueError, match="nothing was applied"):
        first_bad(0, lambda k: True)


class Pipeline:
    """Rewrites with keys 0..n-1; some are wrong, some only happen after another."""

    def __init__(self, n: int, wrong: set[int], needs: dict[int, int] | None = None) -> None:
        self.n, self.wrong, self.needs, self.runs = n, wrong, needs or {}, 0

    def run(self, limit: int | None, excluded: frozenset[int]) -> tuple[list[int], list[int]]:
        self.runs += 1
        done: list[int] = []
        for key in range(self.n):
            if key not in excluded and self.needs.get(key, key) in [*done, key]:
                done.append(key)
        done = done if limit is None else done[:limit]
        return done, done

    def is_good(self, candidate: list[int]) -> bool:
        return not self.wrong & set(candidate)


def test_no_fault_costs_one_run():
    pipeline = Pipeline(100, set())
    search = find_faults(pipeline.run, pipeline.is_good)
    assert not search.faults
    assert search.candidate == list(range(100))
    assert pipeline.runs == 1


def test_several_faults_are_taken_out_and_the_rest_kept():
    pipeline = Pipeline(500, {3, 250, 499})
    search = find_faults(pipeline.run, pipeline.is_good)
    assert [fault.key for fault in search.faults] == [3, 250, 499]
    assert search.candidate is not None
    assert len(search.candidate) == 497
    assert pipeline.runs < 60


def test_what_depended_on_a_wrong_rewrite_goes_with_it():
    pipeline = Pipeline(50, {10}, needs={20: 10})
    search = find_faults(pipeline.run, pipeline.is_good)
    assert search.excluded == {10}
    assert 20 not in search.candidate


def test_too_many_faults_end_the_search():
    pipeline = Pipeline(50, set(range(20)))
    search = find_faults(pipeline.run, pipeline.is_good, rounds=4)
    assert len(search.faults) == 4
    assert search.candidate is None


def test_a_model_that_is_bad_without_any_rewrite_has_no_fault():
    search = find_faults(Pipeline(5, {0}).run, lambda candidate: False)
    assert not search.faults
    assert search.candidate is None


def test_a_pipeline_that_ignores_exclusions_does_not_hang():
    search = find_faults(lambda limit, excluded: Pipeline(9, {4}).run(limit, frozenset()), lambda done: 4 not in done)
    assert [fault.key for fault in search.faults] == [4]
    assert search.candidate is None
