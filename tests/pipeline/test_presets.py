"""Presets, and where a pass that is asked for by name goes."""

from __future__ import annotations

import pytest

from onnx_opt.errors import UsageError
from onnx_opt.pipeline import PRESETS, Pipeline, compose

from .conftest import Cleanup, Fold, Fuse, Half, Pad, Strip

pytestmark = pytest.mark.usefixtures("imaginary")

O1 = "repeat(fold,cleanup)"
O2 = f"{O1},repeat(fuse-conv-bn-relu,layout,fold,cleanup)"


@pytest.mark.parametrize("level", PRESETS)
def test_presets_round_trip(level: int) -> None:
    assert Pipeline.parse(str(compose(level))) == compose(level)


def test_what_the_levels_run() -> None:
    assert str(compose(0)) == ""
    assert str(compose(1)) == O1
    assert str(compose(2)) == O2
    assert compose(1).exact
    assert not compose(2).exact


def test_an_unknown_level() -> None:
    with pytest.raises(UsageError, match="unknown level"):
        compose(4)


def test_added_passes_go_to_their_stage() -> None:
    added = [Half(), Pad(16), Strip(("a::B",))]
    text = f"strip-custom-ops{{ops=[a::B]}},{O2},pad-channels{{multiple=16}},fp16,{O1}"
    assert str(compose(2, added)) == text


def test_a_pass_before_all_others_needs_no_cleaning_behind() -> None:
    assert str(compose(1, [Strip()])) == f"strip-custom-ops,{O1}"


def test_a_pass_that_the_preset_has_is_not_added_again() -> None:
    assert compose(2, [Fold(), Fuse()]) == compose(2)


def test_removed_passes_go_everywhere() -> None:
    assert str(compose(2, removed={"fold", "fuse-conv-bn-relu"})) == "repeat(cleanup),repeat(layout,cleanup)"
    assert str(compose(1, removed={"fold", "cleanup"})) == ""


def test_settings_reach_every_occurrence() -> None:
    settings = {"fold": {"max_growth": 5}}
    assert str(compose(2, settings=settings)).count("fold{max-growth=5}") == 2


def test_level_0_runs_what_is_given_in_that_order() -> None:
    assert str(compose(0, [Half(), Cleanup(), Fold(), Cleanup()])) == "fp16,cleanup,fold,cleanup"
