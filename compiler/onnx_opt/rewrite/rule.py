"""Rewrite rules: a pattern, and a pure function from what it found to what takes its place.

@rule(op.Transpose(op.Transpose("x", perm="p"), perm="q"), shared=True)
def merge_transposes(x, p, q):
    \"\"\"Two transposes in a row are one.\"\"\"
    return op.Transpose(x, perm=[p[axis] for axis in q])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import numpy as np

from onnx_opt.rewrite.pattern import Head, Match, calls_of, names_in

T = TypeVar("T")

ALWAYS_BOUND = frozenset({"root", "graph", "target", "fast"})
"""Parameters that every rule may ask for: the matched root node, its graph, the target of the run, and the liberties
that the user grants (`Granted`)."""


class NoMatch(Exception):
    """A rule declines; the message is the reason that the user reads."""


def require(condition: Any, why_not: str) -> None:
    """Decline with the reason `why_not` unless `condition` holds."""
    if not condition:
        raise NoMatch(why_not)


def known(fact: T | None, why_not: str) -> T:
    """`fact`, or decline with the reason `why_not` where it is not known."""
    if fact is None:
        raise NoMatch(why_not)
    return fact


def decline(why: str) -> NoReturn:
    """Decline with a reason."""
    raise NoMatch(why)


@dataclass
class Granted:
    """The liberties that a rule may take (`onnx_opt.liberties`), and those that it did take for this rewrite."""

    granted: frozenset[str] = frozenset()
    taken: set[str] = field(default_factory=set)

    def take(self, needs: Iterable[str]) -> None:
        """Use these liberties; decline where one is not granted."""
        missing = sorted(set(needs) - self.granted)
        require(not missing, f"it needs --fast-math={','.join(missing)}")
        self.taken.update(needs)


@dataclass(frozen=True)
class Rule:
    """A rule with its name in the spelling of flags.

    `shared`: the matched interior may have other users; it stays for them. `exact`: results are equal to the bit.
    `precision`: the type whose precision results have where it is coarser than their own.
    `finite_only`: they are the same where all numbers are finite; of NaN and infinities anything may come.
    `opsets`: the versions (first, last) of the root's domain that the rule is right for.
    """

    name: str
    pattern: Any
    build: Callable[..., Any]
    shared: bool = False
    exact: bool = False
    opsets: tuple[int, int] | None = None
    finite_only: bool = False
    precision: str = ""
    parameters: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the rule's docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]

    @property
    def heads(self) -> set[Head]:
        """The operators that a match may have at its root."""
        return {head for call in calls_of(self.pattern) for head in call.heads}

    def apply(self, match: Match, **always: Any) -> Any:
        """The replacement for a match, None for none. Raises NoMatch where the rule declines."""
        with np.errstate(all="ignore"):  # rules look at what came out; a warning would only puzzle the user
            return self.build(**{name: match.bindings.get(name, always.get(name)) for name in self.parameters})


def rule(
    pattern: Any,
    *,
    shared: bool = False,
    exact: bool = False,
    opsets: tuple[int, int] | None = None,
    finite_only: bool = False,
    precision: str = "",
) -> Callable[[Callable[..., Any]], Rule]:
    """Make a rule of a function. Its parameters name what the pattern binds, or `root`, `graph`, `target` and `fast`;
    the name is the function's with hyphens. Raises TypeError for a parameter that nothing binds."""

    def decorate(build: Callable[..., Any]) -> Rule:
        parameters = tuple(inspect.signature(build).parameters)
        name = build.__name__.replace("_", "-")
        unknown = set(parameters) - names_in(pattern) - ALWAYS_BOUND
        if unknown:
            raise TypeError(f"rule {name}: its pattern binds {sorted(names_in(pattern))}, not {sorted(unknown)}")
        return Rule(name, pattern, build, shared, exact, opsets, finite_only, precision, parameters)

    return decorate
