"""A bounded part of the random models; `python tests/conformance/fuzz.py --seeds 0:20000 --jobs 8` runs any number."""

from __future__ import annotations

import generator
import pytest
from runner.campaign import Campaign

PARTS = 16
"""The seeds are dealt to this many tests, so that several processes share them."""
SEEDS = 480
FIRST = 1_000_000
MOST_THROWN_AWAY = 0.1
"""Share of models that ONNX Runtime may refuse."""


@pytest.mark.parametrize("part", range(PARTS))
def test_random_models(part):
    campaign = Campaign(range(FIRST + part, FIRST + SEEDS, PARTS))
    campaign.run()
    found = [f"seed {seed}: {finding.way}: {finding.kind}: {finding.text}" for seed, finding in campaign.findings]
    assert not found, "\n".join([*found, "python tests/conformance/fuzz.py --seeds SEED makes such a model small"])
    thrown_away = [report for report in campaign.reports if report.thrown_away]
    assert len(thrown_away) <= max(2, MOST_THROWN_AWAY * len(campaign.reports)), thrown_away[0].thrown_away


def test_a_seed_gives_the_same_model_and_feeds():
    one, two = generator.make(11), generator.make(11)
    assert one.model.SerializeToString() == two.model.SerializeToString()
    assert [sorted(feed) for feed in one.feeds] == [sorted(feed) for feed in two.feeds]
    assert all(a[name].tobytes() == b[name].tobytes() for a, b in zip(one.feeds, two.feeds, strict=True) for name in a)
