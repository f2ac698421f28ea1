"""Patterns and replacements: the same `op.X(...)` writes both.

As a pattern it says which nodes to look for, with names for what it finds; as the result of a rule it says which nodes
to make, with values, arrays and None (absent) as operands.

    op.Add(op.MatMul("a", "b"), const("c"))      "a": any value, present;  const("c"): a known one, bound as an array
    op["Relu", "Sigmoid"]("x").named("f")        one of several operators; the node is bound to f
    op.Conv("x", "w", opt("b"))                  an operand that may be absent: None then
    op.Concat(rest("parts"), axis=1)             all remaining operands, as a list; an attribute that must be 1
    op.Transpose("x", perm="p")                  an attribute bound to p, the operator's default where it is not set
    op.Split("x")[1]                             the second result
    anyof(op.Relu("x"), op.Clip("x"))            alternatives
    domain("com.microsoft").Gelu("x")            another domain
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from onnx_opt import traits
from onnx_opt.ir import Node, Value

Head = tuple[str, str]
"""(domain, operator)."""


@dataclass(frozen=True)
class Leaf:
    """A named operand: 'value' (any), 'const' (known, bound as an array) or 'rest' (all that remain, as a list)."""

    name: str
    kind: str = "value"
    optional: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """An operator applied to operands."""

    heads: tuple[Head, ...]
    args: tuple[Any, ...]
    attrs: dict[str, Any]
    name: str = ""
    outputs: int = 1

    def named(self, name: str) -> Call:
        """Bind the matched node to `name`."""
        return replace(self, name=name)

    def returning(self, outputs: int) -> Call:
        """As a replacement: make a node with this many results."""
        return replace(self, outputs=outputs)

    def __getitem__(self, index: int) -> Result:
        return Result(self, index)

    def __iter__(self) -> Iterator[Result]:
        return iter([Result(self, index) for index in range(self.outputs)])


@dataclass(frozen=True, eq=False)
class Result:
    """One of the results of a call."""

    call: Call
    index: int


@dataclass(frozen=True, eq=False)
class AnyOf:
    """One of several patterns."""

    patterns: tuple[Any, ...]


class Operators:
    """`op.Relu(...)`, `op["Relu", "Tanh"](...)`."""

    def __init__(self, domain: str = ""):
        self._domain = domain

    def __getattr__(self, name: str) -> _Maker:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Maker(((self._domain, name),))

    def __getitem__(self, names: str | tuple[str, ...]) -> _Maker:
        names = (names,) if isinstance(names, str) else names
        return _Maker(tuple((self._domain, name) for name in names))


@dataclass(frozen=True)
class _Maker:
    heads: tuple[Head, ...]

    def __call__(self, *args: Any, **attrs: Any) -> Call:
        return Call(self.heads, args, attrs)


op = Operators()
domain = Operators


def const(name: str) -> Leaf:
    """An operand whose value is known, bound as a numpy array (read-only)."""
    return Leaf(name, "const")


def opt(leaf: str | Leaf) -> Leaf:
    """An operand that may be absent; None is bound then."""
    return replace(_leaf(leaf), optional=True)


def rest(name: str) -> Leaf:
    """All remaining operands, as a list of values."""
    return Leaf(name, "rest")


def anyof(*patterns: Any) -> AnyOf:
    """The first of several patterns that matches."""
    return AnyOf(patterns)


def _leaf(item: str | Leaf) -> Leaf:
    return Leaf(item) if isinstance(item, str) else item


def calls_of(pattern: Any) -> list[Call]:
    """The calls that a pattern's root may be."""
    if isinstance(pattern, AnyOf):
        return [call for inner in pattern.patterns for call in calls_of(inner)]
    if isinstance(pattern, Result):
        return calls_of(pattern.call)
    if not isinstance(pattern, Call):
        raise TypeError("the root of a pattern must be an operator")
    return [pattern]


def names_in(pattern: Any) -> set[str]:
    """The names that a pattern binds."""
    if isinstance(pattern, str | Leaf):
        return {_leaf(pattern).name}
    if isinstance(pattern, AnyOf):
        return set().union(*map(names_in, pattern.patterns))
    if isinstance(pattern, Result):
        return names_in(pattern.call)
    bound = {value for value in pattern.attrs.values() if isinstance(value, str)}
    return bound.union({pattern.name} - {""}, *map(names_in, pattern.args))


@dataclass(frozen=True)
class Match:
    """What a pattern found: its bindings, and the nodes, the root first."""

    bindings: dict[str, Any] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()

    def bind(self, name: str, found: Any) -> Match | None:
        """With `name` bound to `found`; None where it is bound to something else already."""
        if name not in self.bindings:
            return Match({**self.bindings, name: found}, self.nodes)
        return self if _same(self.bindings[name], found) else None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one is other or (
            one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        )
    if isinstance(one, Node | Value) or isinstance(other, Node | Value):
        return one is other
    return bool(one == other)


def match_node(pattern: Any, node: Node) -> Iterator[Match]:
    """Each way in which `pattern` matches with `node` as its root."""
    for call in calls_of(pattern):
        yield from _match_call(call, node, Match())


def _match_call(call: Call, node: Node, match: Match) -> Iterator[Match]:
    if (node.domain, node.op) not in call.heads:
        return
    found: Match | None = Match(match.bindings, (*match.nodes, node))
    if call.name and found is not None:
        found = found.bind(call.name, node)
    for name, wanted in call.attrs.items():
        if found is None:
            return
        have = node.attribute(name)
        if isinstance(wanted, str):
            found = found.bind(wanted, have)
        elif not _same(have, wanted):
            return
    if found is not None:
        for operands in _operand_orders(call, node):
            yield from _match_operands(call.args, operands, found)


def _operand_orders(call: Call, node: Node) -> Iterator[list[Value]]:
    operands = list(node.inputs)
    yield operands
    if len(operands) == 2 == len(call.args) and traits.is_commutative(node.domain, node.op):
        yield operands[::-1]


def _match_operands(args: tuple[Any, ...], operands: list[Value], match: Match) -> Iterator[Match]:
    tail = args[-1] if args and isinstance(args[-1], Leaf) and args[-1].kind == "rest" else None
    fixed = args[:-1] if tail else args
    states: Iterator[Match] = iter((match,))
    for position, pattern in enumerate(fixed):
        states = _match_each(pattern, operands[position] if position < len(operands) else None, states)
    extra = operands[len(fixed) :]
    if tail is None:
        if any(value.name for value in extra):
            return
        yield from states
        return
    for state in states:
        bound = state.bind(tail.name, extra)
        if bound is not None:
            yield bound


def _match_each(pattern: Any, operand: Value | None, states: Iterator[Match]) -> Iterator[Match]:
    for state in states:
        yield from _match_value(pattern, operand, state)


def _match_value(pattern: Any, value: Value | None, match: Match) -> Iterator[Match]:
    if value is not None and not value.name:
        value = None
    if isinstance(pattern, AnyOf):
        for inner in pattern.patterns:
            yield from _match_value(inner, value, match)
        return
    if isinstance(pattern, str | Leaf):
        bound = _match_leaf(_leaf(pattern), value, match)
        if bound is not None:
            yield bound
        return
    call, index = (pattern.call, pattern.index) if isinstance(pattern, Result) else (pattern, 0)
    producer = value.producer if value is not None else None
    if producer is not None and len(producer.outputs) > index and producer.outputs[index] is value:
        yield from _match_call(call, producer, match)


def _match_leaf(leaf: Leaf, value: Value | None, match: Match) -> Match | None:
    if value is None:
        return match.bind(leaf.name, None) if leaf.optional else None
    if leaf.kind != "const":
        return match.bind(leaf.name, value)
    known = value.constant
    return None if known is None else match.bind(leaf.name, known)
