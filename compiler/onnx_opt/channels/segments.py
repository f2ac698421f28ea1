"""The channels of a dim as a row of segments, and what it takes for two dims to have the same ones.

A `Leaf` is a run of channels that is padded as one, at its end. A dim is a `Layout`: a row of segments, each a leaf
whose channels take `inner` places side by side (as after Flatten, where a channel becomes height times width places).
The same leaf may stand in a row several times (the groups of a convolution).

Two dims that must agree are unified: leaves become equal, are cut where the other dim has a boundary, or, where no way
of padding suits both, are pinned with a reason. A leaf that was cut or became equal to others has `pieces`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import lcm
from typing import NamedTuple

import numpy as np


class Leaf:
    """A run of `size` channels. With `pieces` it stands for these; else `padded` is its size with padding, and `pin`
    the reason why it can't have any."""

    __slots__ = ("at_input", "multiple", "padded", "pieces", "pin", "refusal", "size")

    def __init__(self, size: int, pin: str = "", at_input: bool = False):
        self.size = self.padded = size
        self.pin = pin
        self.at_input = at_input
        """Whether these are channels of a graph input."""
        self.pieces: Layout | None = None
        self.multiple = 1
        """What its padded size should be a multiple of."""
        self.refusal = ""
        """Why it is not padded though it could be."""

    @property
    def reason(self) -> str:
        """Why it has no padding."""
        return self.pin or self.refusal


class Segment(NamedTuple):
    """A leaf each of whose channels takes `inner` places."""

    leaf: Leaf
    inner: int = 1


Layout = tuple[Segment, ...]


def fresh(size: int, pin: str = "", at_input: bool = False) -> Layout:
    """A dim of one leaf."""
    return (Segment(Leaf(size, pin, at_input)),)


def scaled(layout: Layout, inner: int) -> Layout:
    """The dim in which every channel takes `inner` times as many places."""
    return tuple(Segment(leaf, own * inner) for leaf, own in layout)


def segments(layout: Layout) -> Iterator[Segment]:
    """The segments of a dim down to leaves that were not cut."""
    stack = list(reversed(layout))
    while stack:
        segment = stack.pop()
        pieces = segment.leaf.pieces
        if pieces is None:
            yield segment
        else:
            stack.extend(Segment(leaf, inner * segment.inner) for leaf, inner in reversed(pieces))


def leaves(layout: Layout) -> dict[Leaf, None]:
    """The leaves of a dim, each once."""
    return {segment.leaf: None for segment in segments(layout)}


def size_of(layout: Layout) -> int:
    """The size of a dim without padding."""
    return sum(leaf.size * inner for leaf, inner in layout)


def padded_size(layout: Layout) -> int:
    """The size of a dim with its padding."""
    return sum(leaf.padded * inner for leaf, inner in segments(layout))


def has_holes(layout: Layout) -> bool:
    """Whether a dim has padding."""
    return any(leaf.padded != leaf.size for leaf, _ in segments(layout))


def places(layout: Layout) -> np.ndarray:
    """Where each place of the dim without padding is in the dim with it."""
    parts, base = [], 0
    for leaf, inner in segments(layout):
        parts.append(np.arange(base, base + leaf.size * inner))
        base += leaf.padded * inner
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def holes(layout: Layout) -> np.ndarray:
    """The places of the padding in a dim."""
    return np.setdiff1d(np.arange(padded_size(layout)), places(layout), assume_unique=True)


def is_leading(layout: Layout) -> bool:
    """Whether all padding of a dim comes behind all channels."""
    *first, _ = [leaf.padded != leaf.size for leaf, _ in segments(layout)] or [False]
    return not any(first)


# -- pinning and unifying ----------------------------------------------------------------------------------------------


def pin(layout: Layout, reason: str) -> None:
    """Let a dim have no padding. The first reason is kept."""
    for leaf, _ in segments(layout):
        leaf.pin = leaf.pin or reason


def unify(one: Layout, other: Layout, where: str = "") -> None:
    """Let two dims of one size have the same channels in the same places; `where` goes into the reasons."""
    a, b = _Walk(one), _Walk(other)
    while (p := a.head()) and (q := b.head()):
        if p == q:
            a.take(), b.take()
        elif p.leaf.pin or q.leaf.pin:
            _pin_overlap(a, b, p.leaf.pin or q.leaf.pin)
        elif p.leaf.size * p.inner == q.leaf.size * q.inner:
            _equate(p, q, where)
        elif p.leaf.size * p.inner > q.leaf.size * q.inner:
            _cut(p, q, where)
        else:
            _cut(q, p, where)


class _Walk:
    """A dim from its first segment to its last; leaves may be cut meanwhile."""

    def __init__(self, layout: Layout):
        self.stack = list(reversed(layout))

    def head(self) -> Segment | None:
        while self.stack and (pieces := self.stack[-1].leaf.pieces) is not None:
            inner = self.stack.pop().inner
            self.stack.extend(Segment(leaf, own * inner) for leaf, own in reversed(pieces))
        return self.stack[-1] if self.stack else None

    def take(self) -> Segment:
        return self.stack.pop()


def _pin_overlap(a: _Walk, b: _Walk, reason: str) -> None:
    """Take as many places from both as the shorter segment has; what is left of the other stays pinned."""
    p, q = a.take(), b.take()
    pin((p, q), reason)
    rest = p.leaf.size * p.inner - q.leaf.size * q.inner
    if rest:
        (a if rest > 0 else b).stack.append(Segment(Leaf(abs(rest), reason)))


def _equate(p: Segment, q: Segment, where: str) -> None:
    """Segments of one length become equal."""
    common = lcm(p.inner, q.inner)
    length = p.leaf.size * p.inner
    p.leaf.at_input = q.leaf.at_input = p.leaf.at_input or q.leaf.at_input
    if p.leaf is q.leaf or length % common:
        pin((p, q), f"they are laid out in two ways that no padding suits{where}")
    elif common == p.inner:
        q.leaf.pieces = (Segment(p.leaf, common // q.inner),)
    elif common == q.inner:
        p.leaf.pieces = (Segment(q.leaf, common // p.inner),)
    else:
        shared = Leaf(length // common, at_input=p.leaf.at_input)
        p.leaf.pieces, q.leaf.pieces = (Segment(shared, common // p.inner),), (Segment(shared, common // q.inner),)


def _cut(long: Segment, short: Segment, where: str) -> None:
    """Cut the leaf of the longer segment where the shorter one ends."""
    size, rest = divmod(short.leaf.size * short.inner, long.inner)
    if rest:
        pin((long, short), f"they are regrouped in a way that no padding suits{where}")
        return
    sizes, at_input = (size, long.leaf.size - size), long.leaf.at_input
    long.leaf.pieces = tuple(Segment(Leaf(each, at_input=at_input)) for each in sizes)


def all_leaves(layouts: Iterable[Layout]) -> dict[Leaf, None]:
    """The leaves of several dims, each once, in order."""
    return {leaf: None for layout in layouts for leaf in leaves(layout)}
