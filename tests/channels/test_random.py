"""Random convolutional graphs of whole numbers: padded, they give the same bits."""

from __future__ import annotations

from collections import Counter

import pytest

from channel_models import expect_equal, padded, random_model, rows

OPTIONS = ("multiple=8", "multiple=4,inputs=true", "multiple=7", "multiple=16,inputs=true", "multiple=3")


@pytest.mark.parametrize("seed", range(60))
def test_same_bits(seed: int) -> None:
    before = random_model(seed)
    after, _ = padded(before, OPTIONS[seed % len(OPTIONS)])
    expect_equal(before, after, seed)


def test_most_layers_of_such_graphs_are_padded() -> None:
    counts: Counter[bool] = Counter()
    for seed in range(0, 40, 5):
        _, context = padded(random_model(seed))
        counts.update(bool(row[1]) for row in rows(context).values())
    assert counts[True] > counts[False]
