"""The journal of an optimization: every rewrite with a number and a key, and why others did not happen.

A pipeline is deterministic, so a run from the same model with a `limit` does the first rewrites of the full run and no
more, and a run with `excluded` keys does all others.  That is how validation finds a wrong rewrite and takes it back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from onnx_opt.ir import Node
    from onnx_opt.ir.origin import Origin

# A node that many rules look at, round after round, keeps the first reasons only.
REASONS_PER_NODE = 16


class Key(NamedTuple):
    """What identifies a rewrite across runs: the pass, the rule, and the first result of the node it started from.

    It names no round and no position, so that an excluded rewrite is not simply made one round later.
    """

    pass_name: str
    rule: str
    output: str


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One change: `rule` replaced `nodes`; `outputs` are the values that it now computes otherwise."""

    index: int
    pass_name: str
    rule: str
    nodes: tuple[str, ...]
    origin: Origin | None
    outputs: tuple[str, ...]
    liberties: tuple[str, ...] = ()
    """What it could only do because the user granted it."""

    def origins(self) -> list[str]:
        """The nodes of the original model that were rewritten."""
        return self.origin.names() if self.origin is not None else list(self.nodes)


@dataclass(frozen=True, slots=True)
class Decline:
    """`rule` of `pass_name` matched and left the node alone, because of `reason`."""

    pass_name: str
    rule: str
    reason: str


@dataclass
class Table:
    """What a pass reports in rows; the first column is text."""

    headings: list[str]
    rows: list[list[str]] = field(default_factory=list)


@dataclass
class Journal:
    """The rewrites that were made, in order, and the reasons against the others.

    `limit` admits that many rewrites and no more; `excluded` keys are never admitted.
    """

    limit: int | None = None
    excluded: frozenset[Key] = frozenset()
    rewrites: list[Rewrite] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    """The key of every admitted rewrite; its position is the rewrite's running number."""
    failures: list[str] = field(default_factory=list)
    """A line on each pass that failed, was undone, and was left out."""
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What a pass measured to decide what it does, by pass: plain data for the report."""
    tables: dict[str, Table] = field(default_factory=dict)
    """What passes report beyond their rewrites, by title."""
    _declines: dict[Origin, dict[tuple[str, str], str]] = field(default_factory=dict)

    @property
    def admitted(self) -> int:
        """How many rewrites were admitted so far."""
        return len(self.keys)

    def admit(self, pass_name: str, rule: str, node: Node) -> bool:
        key = Key(pass_name, rule, next((v.name for v in node.outputs if v.name), node.name))
        return self.admit_key(key)

    def admit_key(self, key: Key) -> bool:
        if key in self.excluded or (self.limit is not None and len(self.keys) >= self.limit):
            return False
        self.keys.append(key)
        return True

    def applied(
        self,
        pass_name: str,
        rule: str,
        nodes: Iterable[str],
        origin: Origin | None,
        outputs: Iterable[str],
        liberties: Iterable[str] = (),
    ) -> None:
        index = max(len(self.keys) - 1, 0)
        taken = tuple(sorted(liberties))
        self.rewrites.append(Rewrite(index, pass_name, rule, tuple(nodes), origin, tuple(outputs), taken))

    def declined(self, pass_name: str, rule: str, node: Node, reason: str) -> None:
        reasons = self._declines.setdefault(node.origin, {})
        if (pass_name, rule) in reasons or len(reasons) < REASONS_PER_NODE:
            reasons[pass_name, rule] = reason

    def declines(self) -> list[Decline]:
        """Every recorded refusal."""
        return [Decline(*key, reason) for refused in self._declines.values() for key, reason in refused.items()]

    def reasons(self) -> list[str]:
        """Every recorded reason for leaving something alone."""
        return [decline.reason for decline in self.declines()]

    def by_rule(self) -> Counter[tuple[str, str]]:
        """(pass, rule) -> number of rewrites."""
        return Counter((r.pass_name, r.rule) for r in self.rewrites)

    def liberties_taken(self) -> Counter[tuple[str, str, str]]:
        """(liberty, pass, rule) -> number of rewrites that needed it."""
        return Counter((liberty, r.pass_name, r.rule) for r in self.rewrites for liberty in r.liberties)

    def rewrites_of(self, original: str) -> list[Rewrite]:
        """The rewrites in which the original node had a part, in order."""
        concerned = _descendants(original, [r.origin for r in self.rewrites])
        return [r for r in self.rewrites if (original in r.nodes if r.origin is None else r.origin in concerned)]

    def declines_at(self, origin: Origin) -> list[Decline]:
        """Each rule that matched at the node of this origin, and why it left it alone the last time."""
        return [Decline(*key, reason) for key, reason in self._declines.get(origin, {}).items()]

    def declines_of(self, original: str) -> list[Decline]:
        """Each rule that matched at the original node, or at what it became, and why it left it alone."""
        found: dict[tuple[str, str], str] = {}
        concerned = _descendants(original, self._declines)
        for origin, reasons in self._declines.items():
            if origin in concerned:
                for key, reason in reasons.items():
                    found.setdefault(key, reason)
        return [Decline(pass_name, rule, reason) for (pass_name, rule), reason in found.items()]


def _descendants(original: str, origins: Iterable[Origin | None]) -> set[Origin]:
    """Those of `origins`, and of what they were merged from, that go back to the node called `original`.

    Origins share their parts, so each part is looked at once: asking every origin for its names would be quadratic.
    """
    found: set[Origin] = set()
    done: set[Origin] = set()
    stack = [origin for origin in origins if origin is not None]
    while stack:
        origin = stack[-1]
        missing = [parent for parent in origin.parents if parent not in done]
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        done.add(origin)
        if origin.name == original or any(parent in found for parent in origin.parents):
            found.add(origin)
    return found
