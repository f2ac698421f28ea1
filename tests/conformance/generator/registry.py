"""The samplers: functions that add one operator, or one pattern, to a scope."""

from __future__ import annotations

from collections.abc import Callable
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


ENTRIES: list[Entry] = []


def sampler(weight: float = 1.0, since: int = 1, until: int = 99, name: str = "") -> Callable[[Sampler], Sampler]:
    """Register a sampler. It raises `Refused` where it does not get along with what it finds."""

    def register(function: Sampler) -> Sampler:
        label = name or getattr(function, "__name__", "")
        ENTRIES.append(Entry(label, function, weight, since, until))
        return function

    return register


def draw_sampler(scope: Scope) -> Entry:
    """One of the samplers of the model's operator set."""
    fitting = [entry for entry in ENTRIES if entry.since <= scope.plan.opset <= entry.until]
    return scope.draw.weighted(fitting, [entry.weight for entry in fitting])
