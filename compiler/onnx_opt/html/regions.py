"""Which nodes changed, and the regions that they form: what was there and what is there now, side by side."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_opt.html.graphs import Look, Picture, names_of

if TYPE_CHECKING:
    from onnx_opt.ir.origin import Origin

LARGEST = 40
"""Nodes of a region, both sides together, about: larger ones are cut, so that each can be drawn and read."""
SHOWN_OPS = 5


@dataclass
class Region:
    """Places of nodes in the original and in the result."""

    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    title: str = ""


@dataclass
class Match:
    """How the nodes of two models belong together."""

    before: Picture
    after: Picture
    origins: list[list[int]] = field(default_factory=list)
    """For each node of the result, the nodes of the original that it stands for."""
    twins: dict[int, int] = field(default_factory=dict)
    """Node of the original -> the node of the result that is the same one, changed or not."""
    labels: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def of(before: Picture, after: Picture) -> Match:
        match = Match(before, after)
        for place, node in enumerate(before.nodes):
            match.labels.setdefault(node.label(), place)
        for place, node in enumerate(after.nodes):
            found = match.places_of(node.origin)
            match.origins.append(found)
            if len(found) == 1 and (not node.origin.rule or before.looks[found[0]][0] == after.looks[place][0]):
                match.twins.setdefault(found[0], place)
        return match

    def places_of(self, origin: Origin) -> list[int]:
        """The nodes of the original that an origin goes back to."""
        return [self.labels[name] for name in names_of(origin) if name in self.labels]

    @property
    def looks(self) -> tuple[list[Look], list[Look]]:
        return self.before.looks, self.after.looks

    def is_retyped(self, old: int, new: int) -> bool:
        """Whether two nodes differ in the types of elements and in nothing else but sizes."""
        one, other = self.before.looks[old], self.after.looks[new]
        return one[:2] == other[:2] and one[2].partition(" ")[0] != other[2].partition(" ")[0]

    def changed(self) -> tuple[set[int], set[int]]:
        """The nodes of the original that are gone or do something else, and those of the result that are new or do."""
        same = {old: new for old, new in self.twins.items() if self.before.looks[old] == self.after.looks[new]}
        return set(range(len(self.before))) - same.keys(), set(range(len(self.after))) - set(same.values())


def regions_of(match: Match) -> list[Region]:
    """The regions, in the order of the original. A node of the original and what became of it are in one. So are
    neighbours that both changed in more than the type of their elements, as long as it is no larger than `LARGEST`."""
    before, after = match.changed()
    offset = len(match.before)
    kin = [(old, offset + new) for new in sorted(after) for old in match.origins[new] if old in before]
    retyped = {old for old, new in match.twins.items() if match.is_retyped(old, new)}
    edges = [
        *_edges(match.before, before - retyped, 0),
        *_edges(match.after, after - {match.twins[old] for old in retyped}, offset),
    ]
    members = [*sorted(before), *(offset + new for new in sorted(after))]
    found = _components(members, kin, edges)
    parts = [Region([m for m in g if m < offset], [m - offset for m in g if m >= offset]) for g in found]
    for region in parts:
        region.title = _title(match, region)
    return sorted(parts, key=lambda region: (region.before[:1] or [_anchor(match, region)], region.after[:1]))


def _anchor(match: Match, region: Region) -> int:
    """Where a region of new nodes belongs: behind what computes its operands."""
    for place in region.after:
        for value in match.after.nodes[place].inputs:
            if value.producer is not None and (found := match.origins[match.after.places[value.producer]]):
                return found[0]
    return -1


def _edges(picture: Picture, changed: set[int], offset: int) -> Iterator[tuple[int, int]]:
    for place in sorted(changed):
        readers = dict.fromkeys(picture.readers(place))
        if picture.nodes[place].op == "Constant" and len(readers) > 1:
            continue  # it is shared by what has nothing else in common
        yield from ((offset + place, offset + reader) for reader in readers if reader in changed)


def _components(
    members: Iterable[int], bonds: Iterable[tuple[int, int]], neighbours: Iterable[tuple[int, int]]
) -> list[list[int]]:
    """The connected components, each sorted, in the order of their first members. Neighbours join while the component
    is no larger than a region may be."""
    parent = {member: member for member in members}
    sizes = dict.fromkeys(parent, 1)

    def root(member: int) -> int:
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    def join(one: int, other: int, most: float) -> None:
        one, other = sorted((root(one), root(other)))
        if one != other and sizes[one] + sizes[other] <= most:
            parent[other] = one
            sizes[one] += sizes[other]

    for one, other in bonds:
        join(one, other, math.inf)
    for one, other in neighbours:
        join(one, other, LARGEST)
    groups: dict[int, list[int]] = {}
    for member in parent:
        groups.setdefault(root(member), []).append(member)
    return [sorted(group) for group in groups.values()]


def _title(match: Match, region: Region) -> str:
    """What became of what: all of a small region (Mul, Add, Conv → Conv), of a large one what is gone and new."""
    old = [match.before.looks[place] for place in region.before]
    new = [match.after.looks[place] for place in region.after]
    ops = [Counter(look[0] for look in side) for side in (old, new)]
    stayed = [(was, now) for was in region.before if (now := match.twins.get(was)) in set(region.after)]
    kept = [Counter(looks[place[side]][0] for place in stayed) for side, looks in enumerate(match.looks)]
    gone, come = ops[0] - kept[0], ops[1] - kept[1]
    if ops[0] == ops[1]:
        moved = gone and f"{_operators(gone)}: moved among {_operators(kept[1])}"
        return moved or f"{_operators(ops[0])}: {_difference(old, new)}"
    if max(sum(each.values()) for each in ops) <= SHOWN_OPS:
        gone, come = ops
    return f"{_operators(gone)} → {_operators(come)}"


def _difference(old: list[Look], new: list[Look]) -> str:
    """How nodes of the same operators differ."""
    kinds = [dict.fromkeys(look[2].partition(" ")[0] for look in side) for side in (old, new)]
    if kinds[0] != kinds[1]:
        return f"{', '.join(kinds[0])} → {', '.join(kinds[1])}"
    if [look[0] for look in old] != [look[0] for look in new]:
        return "in another order"
    return "other shapes" if [look[1] for look in old] == [look[1] for look in new] else "other attributes"


def _operators(counts: Counter[str]) -> str:
    shown = [f"{count} {name}" if count > 1 else name for name, count in list(counts.items())[:SHOWN_OPS]]
    rest = sum(list(counts.values())[SHOWN_OPS:])
    return ", ".join(shown + [f"{rest} more"] * bool(rest)) or "nothing"
