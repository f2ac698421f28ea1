"""The samplers: functions that add one operator, or one pattern, to a scope."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from .scope import Scope

Sampler = Callable[[Scope], object]


@dataclass(frozen=True)
class Entry:
    """A sampler, how often it is drawn, and the operator sets that it works in."""

    name: str
    sample: Sampler
    weight: float
    since: int
    until: int
    group: str
    """The module that it stands in; a model may have one of these as its theme."""


ENTRIES: list[Entry] = []


def sampler(weight: float = 1.0, since: int = 1, until: int = 99, name: str = "") -> Callable[[Sampler], Sampler]:
    """Register a sampler. It raises `Refused` where it does not get along with what it finds."""

    def register(function: Sampler) -> Sampler:
        label = name or getattr(function, "__name__", "")
        home = getattr(getattr(function, "func", function), "__module__", "").rpartition(".")[2]
        ENTRIES.append(Entry(label, function, weight, since, until, home))
        return function

    return register


THEME_WEIGHT = 8.0
"""How much likelier the samplers of a model's theme are."""


def draw_sampler(scope: Scope, without: Collection[str] = ()) -> Entry:
    """One of the samplers of the model's operator set; none of the groups `without`."""
    plan = scope.plan
    fitting = [e for e in ENTRIES if e.since <= plan.opset <= e.until and e.group not in without]
    weights = [e.weight * (THEME_WEIGHT if plan.theme in (e.group, e.name) else 1) for e in fitting]
    return scope.draw.weighted(fitting, weights)
