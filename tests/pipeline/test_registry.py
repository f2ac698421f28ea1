"""Finding passes: what is offered wrongly gets one clear line and does no harm to the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from onnx_opt.errors import UsageError
from onnx_opt.passes import Pass, find_pass, option, registry

from .conftest import Cleanup, Fold, Offer, Point


def test_a_class_and_a_list_are_found(offer: Offer) -> None:
    offer(Point("one", lambda: Fold), Point("many", lambda: [Cleanup]))
    assert registry().passes == {"fold": Fold, "cleanup": Cleanup}
    assert not registry().problems


def test_the_same_class_twice_is_one(offer: Offer) -> None:
    offer(Point("one", lambda: Fold), Point("two", lambda: [Fold]))
    assert registry().passes == {"fold": Fold}


def test_duplicate_names_disable_both(offer: Offer) -> None:
    @dataclass(frozen=True)
    class Other(Pass):
        """Another fold."""

        name: ClassVar[str] = "fold"

    offer(Point("one", lambda: Fold), Point("two", lambda: [Other, Cleanup]))
    assert registry().passes == {"cleanup": Cleanup}
    with pytest.raises(UsageError, match="pass 'fold' comes from both"):
        find_pass("fold")


def test_a_plugin_that_does_not_import(offer: Offer) -> None:
    def fail() -> Any:
        raise ImportError("no module named missing")

    offer(Point("broken", fail), Point("one", lambda: Fold))
    assert list(registry().passes) == ["fold"]
    (problem,) = registry().problems.values()
    assert "ImportError: no module named missing" in problem
    assert "\n" not in problem


class NotFrozen(Pass):
    """No dataclass at all."""

    name = "not-frozen"


@dataclass(frozen=True)
class BadName(Pass):
    """A name with a capital."""

    name: ClassVar[str] = "Bad"


@dataclass(frozen=True)
class BadStage(Pass):
    """A stage that does not exist."""

    name: ClassVar[str] = "bad-stage"
    stage: ClassVar[str] = "later"


@dataclass(frozen=True)
class Undocumented(Pass):
    name: ClassVar[str] = "undocumented"


@dataclass(frozen=True)
class BadOption(Pass):
    """An option of a type that text cannot express."""

    name: ClassVar[str] = "bad-option"
    table: dict[str, int] = option({}.copy, type=dict)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        (NotFrozen, "not a frozen dataclass"),
        (BadName, "small letters"),
        (BadStage, "one of strip, fold"),
        (Undocumented, "no docstring"),
        (BadOption, "cannot have the type"),
        (3, "not a subclass"),
    ],
)
def test_what_is_no_pass_is_refused(offer: Offer, offered: Any, words: str) -> None:
    offer(Point("it", lambda: [offered, Cleanup]))
    assert list(registry().passes) == ["cleanup"]
    (problem,) = registry().problems.values()
    assert words in problem


@pytest.mark.usefixtures("imaginary")
def test_nearest_names() -> None:
    with pytest.raises(UsageError, match="did you mean 'cleanup'"):
        find_pass("clean-up")
    with pytest.raises(UsageError, match="--list-passes"):
        find_pass("zzz")
