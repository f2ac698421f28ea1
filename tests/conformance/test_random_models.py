"""A bounded part of the random models, CONFORMANCE_SEEDS=FIRST:LAST chooses others; `python tests/conformance` runs any
number."""

from __future__ import annotations

import os

import generator
import pytest
from runner.campaign import Campaign
from runner.cases import random_names

FIRST, LAST = map(int, os.environ["CONFORMANCE_SEEDS"].split(":"))
STEP = 80
"""Seeds of one test, which starts a process of its own for them: several of these run at once."""
MOST_THROWN_AWAY = 0.1
"""Share of models that ONNX Runtime may refuse."""


@pytest.mark.parametrize("first", range(FIRST, LAST, STEP))
def test_random_models(first):
    campaign = Campaign(random_names(range(first, min(first + STEP, LAST))))
    campaign.run()
    found = [f"{name}: {finding.way}: {finding.kind}: {finding.text}" for name, finding in campaign.findings]
    assert not found, "\n".join([*found, "python tests/conformance --case NAME makes such a model small"])
    thrown_away = [report for report in campaign.reports if report.thrown_away]
    assert len(thrown_away) <= max(2, MOST_THROWN_AWAY * len(campaign.reports)), thrown_away[0].thrown_away


def test_a_seed_gives_the_same_model_and_feeds():
    one, two = generator.make(11), generator.make(11)
    assert one.model.SerializeToString() == two.model.SerializeToString()
    assert [sorted(feed) for feed in one.feeds] == [sorted(feed) for feed in two.feeds]
    assert all(a[name].tobytes() == b[name].tobytes() for a, b in zip(one.feeds, two.feeds, strict=True) for name in a)
