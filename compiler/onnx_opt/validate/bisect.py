"""Which rewrite is wrong: bisecting over how many of them are applied."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Candidate = TypeVar("Candidate")


def first_bad(n: int, is_bad: Callable[[int], bool]) -> int:
    """The number k of 1..n such that the first k - 1 rewrites are good together and the first k are not.

    `is_bad(n)` is known to hold and `is_bad(0)` not to; neither is called. About log2(n) calls. Where later rewrites
    hide and bring back the fault there are several such k, and one of them is found.
    """
    if n < 1:
        raise ValueError("nothing was applied, so nothing of it is bad")
    good, bad = 0, n
    while bad - good > 1:
        middle = (good + bad) // 2
        if is_bad(middle):
            bad = middle
        else:
            good = middle
    return bad


@dataclass(frozen=True)
class Fault(Generic[Key]):
    """A rewrite that makes the result wrong: `index` counts from 0 in the run in which it was found."""

    index: int
    key: Key


@dataclass
class Search(Generic[Key, Candidate]):
    """The faults in the order in which they were found, and the candidate without them: None where even the model with
    no rewrite at all is bad, or where `rounds` did not suffice."""

    faults: list[Fault[Key]] = field(default_factory=list)
    candidate: Candidate | None = None

    @property
    def excluded(self) -> frozenset[Key]:
        return frozenset(fault.key for fault in self.faults)


def find_faults(
    run: Callable[[int | None, frozenset[Key]], tuple[Candidate, Sequence[Key]]],
    is_good: Callable[[Candidate], bool],
    rounds: int = 8,
) -> Search[Key, Candidate]:
    """Takes rewrites out until the rest is good, at most `rounds` of them.

    `run(limit, excluded)` applies the first `limit` rewrites (all with None) without those whose keys are `excluded`,
    and returns the candidate and the keys of what it applied, in order. It must be deterministic.
    """
    search: Search[Key, Candidate] = Search()
    for _ in range(rounds + 1):
        candidate, keys = run(None, search.excluded)
        if is_good(candidate):
            search.candidate = candidate
            return search
        if len(search.faults) == rounds or not keys or not is_good(run(0, search.excluded)[0]):
            return search
        count = first_bad(len(keys), lambda limit: not is_good(run(limit, search.excluded)[0]))
        if keys[count - 1] in search.excluded:
            return search  # `run` does not honour the exclusion: going on would never end
        search.faults.append(Fault(count - 1, keys[count - 1]))
    return search
