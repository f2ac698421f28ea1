"""Origins: which nodes of the source model a node stands for, and which rules made it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """A node of the source (`name`), or what `rule` made of `parents`.

    It is a graph of shared parts, not a list of names: merging is O(1), so a chain of n merges costs n, not n squared.
    """

    name: str = ""
    rule: str = ""
    parents: tuple[Origin, ...] = ()

    @staticmethod
    def of_node(name: str) -> Origin:
        """The origin of a node as it stands in the source."""
        return Origin(name=name)

    @staticmethod
    def merge(rule: str, parents: Iterable[Origin]) -> Origin:
        """The origin of what `rule` puts in place of nodes with the origins `parents`."""
        return Origin(rule=rule, parents=tuple(dict.fromkeys(parents)))

    def names(self) -> list[str]:
        """The nodes of the source, in the order in which they were merged."""
        return [origin.name for origin in self._parts() if origin.name]

    def rules(self) -> list[str]:
        """The rules that had a part in it, each once, the latest first."""
        return list(dict.fromkeys(origin.rule for origin in self._parts() if origin.rule))

    def _parts(self) -> list[Origin]:
        seen: dict[Origin, None] = {}
        stack = [self]
        while stack:
            origin = stack.pop()
            if origin not in seen:
                seen[origin] = None
                stack.extend(reversed(origin.parents))
        return list(seen)
