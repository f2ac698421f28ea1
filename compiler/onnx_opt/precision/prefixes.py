"""The search for how many of the worst nodes must stay in higher precision: few trials, none taken for granted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

GROWTH = 4.0
"""How much larger the next set is while none was good."""


def shortest_good(count: int, is_good: Callable[[int], bool], is_affordable: Callable[[], bool]) -> int | None:
    """How many of `count` ranked nodes make a good set: growing numbers of them until one is good, then smaller ones
    between it and the last bad one, as long as trials are affordable. None where no set that was tried is good."""
    low, good = 0, 0
    for size in _sizes(count):
        if not is_affordable():
            break
        if is_good(size):
            good = size
            break
        low = size
    if not good:
        return None
    while good - low > max(1, good // 8) and is_affordable():
        middle = max(low + 1, round(math.sqrt(max(low, 1) * good)))
        if is_good(middle):
            good = middle
        else:
            low = middle
    return good


def _sizes(count: int) -> Iterator[int]:
    """Growing numbers of nodes."""
    size = max(1.0, count / 64)
    while round(size) < count:
        yield round(size)
        size *= GROWTH
    if round(0.75 * count) > round(size / GROWTH):
        yield round(0.75 * count)
