"""How channels pass through operators: the vocabulary of the channel table.

A row is a `Behaviour`. It answers three questions about a node: which dims of its operands and results have the same
channels (`link`), what the results hold in padded channels (`content`), and which attributes and operands change when
there are some (`rebuild`). Constant operands are padded by the machinery. An operator without a row stops channels:
whatever it reads keeps its size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_opt import traits
from onnx_opt.channels.content import Content, bounds_of, holes_of, of_array
from onnx_opt.channels.segments import Layout, fresh

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.channels.apply import Edit
    from onnx_opt.channels.holes import Contents
    from onnx_opt.ir import Node, Value

TRAIT = "channels"
traits.define(TRAIT, "how channels pass through the operator (a Behaviour)")


class Stopped(Exception):
    """Channels can't pass a node; the message says why."""


def need(condition: Any, why_not: str) -> None:
    """Stop the channels at a node unless `condition` holds."""
    if not condition:
        raise Stopped(why_not)


def dims_of(value: Value) -> tuple[Any, ...]:
    """The dims of a value. Raises Stopped where the rank is unknown."""
    dims = value.dims
    need(dims is not None, f"the rank of '{value.name}' is unknown")
    assert dims is not None
    return dims


def normal(axis: int, rank: int) -> int:
    """An axis counted from the front. Raises Stopped where there is no such axis."""
    need(-rank <= axis < rank, f"axis {axis} of a tensor of rank {rank}")
    return axis % rank


class Behaviour:
    """A row of the channel table. This one stops channels, as does an operator without a row."""

    def operands(self, node: Node) -> Iterable[int]:
        """The operands that `link` speaks of; the others keep their sizes."""
        return (0,)

    def link(self, node: Node, channels: Channels) -> None:
        """Say what must agree, for every dim of these operands. Raises Stopped where channels can't pass."""
        raise Stopped(f"{node.op} fixes the sizes of its operands")

    def content(self, node: Node, contents: Contents) -> None:
        """Say what results hold in padded channels, and refuse what the node can't take in. What is not said is
        unknown."""

    def rebuild(self, node: Node, edit: Edit) -> None:
        """Change what depends on sizes: attributes, and operands that hold sizes."""


@dataclass(frozen=True)
class Fixed(Behaviour):
    """An operator that channels can't pass, and why."""

    why: str

    def link(self, node: Node, channels: Channels) -> None:
        raise Stopped(f"{node.op} {self.why}")


class Elementwise(Behaviour):
    """Each element is computed from those at its place, after numpy's broadcasting."""

    def operands(self, node: Node) -> Iterable[int]:
        return [index for index, _ in self._operands(node)]

    def link(self, node: Node, channels: Channels) -> None:
        need(node.version >= 7 or not node.attribute("broadcast", 0) or node.domain, "it broadcasts by an attribute")
        rank = len(dims_of(node.outputs[0]))
        fill = holes_of(node).fill
        operands = self._operands(node)
        need(
            all(len(dims_of(result)) == rank for result in node.outputs if result.name), "its results have other ranks"
        )
        for _, value in operands:
            need(len(dims_of(value)) <= rank, "an operand has more dims than the result")
        for axis in range(rank):
            parts = [self._part(node, channels, index, value, axis, rank, fill) for index, value in operands]
            found = [part for part in parts if part is not None]
            if not found:
                continue
            for other in found[1:]:
                channels.same(found[0], other)
            for result in node.outputs:
                if result.name:
                    channels.give(result, axis, found[0])

    def _part(
        self, node: Node, channels: Channels, index: int, value: Value, axis: int, rank: int, fill: float
    ) -> Layout | None:
        own = axis - rank + len(value.dims or ())
        size = dims_of(node.outputs[0])[axis]
        if own < 0:
            return None
        if dims_of(value)[own] == 1 and (value.constant is not None or size != 1):
            if value.constant is None:
                channels.stop(value, own, f"it is broadcast by {node.op} '{node.label()}'")
            return None
        if isinstance(size, int) and not isinstance(dims_of(value)[own], int):
            return fresh(size, f"at {node.op} '{node.label()}': '{value.name}' may be broadcast to them")
        return channels.operand(node, index, own, fill)

    def content(self, node: Node, contents: Contents) -> None:
        rank = len(dims_of(node.outputs[0]))
        row, operands = holes_of(node), self._operands(node)
        for axis in contents.holed(node.outputs[0]):
            found = row(node, [self._seen(node, contents, index, value, axis, rank) for index, value in operands])
            for result in node.outputs:
                if result.name:
                    contents.give(result, axis, found)

    def _seen(self, node: Node, contents: Contents, index: int, value: Value, axis: int, rank: int) -> Content:
        """What an operand has at padded places of the result."""
        own = axis - rank + len(value.dims or ())
        if own >= 0 and contents.is_holed(node, index, own):
            return contents.operand(node, index, own)
        return of_array(value.constant) if value.constant is not None else bounds_of(value, holes_of)

    def _operands(self, node: Node) -> list[tuple[int, Value]]:
        arity = traits.elementwise_arity(node.domain, node.op)
        values = node.inputs if arity < 0 else node.inputs[:arity]
        return [(index, value) for index, value in enumerate(values) if value.name]


def behaviour_of(node: Node) -> Behaviour:
    """The row for a node's operator: elementwise operators need none."""
    row = traits.ask(node.domain, node.op, TRAIT)
    if row is not None:
        found: Behaviour = row
        return found
    return _ELEMENTWISE if traits.is_elementwise(node.domain, node.op) else _STOPPING


_ELEMENTWISE = Elementwise()
_STOPPING = Behaviour()
