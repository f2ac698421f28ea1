"""The types that nodes with subgraphs share with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value

SCAN_WITHOUT_BATCH = 9
"""The operator set from which Scan has no batch dim and no operand for lengths."""


@dataclass
class Tie:
    """Values of one type: the places where some are read, and those that come out."""

    uses: list[tuple[Node | Graph, int]] = field(default_factory=list)
    produced: list[Value] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    may_change: bool = True

    def reads(self, user: Node | Graph, index: int) -> None:
        """Operand or graph output `index` of `user` is one of them."""
        ends = user.outputs if user.is_graph else user.inputs
        if index < len(ends) and ends[index].name:
            self.uses.append((user, index))
            self.values.append(ends[index])

    def gives(self, value: Value) -> None:
        """`value` is one of them."""
        if value.name:
            self.produced.append(value)
            self.values.append(value)


def ties(node: Node) -> Iterator[Tie]:
    """The ties of a node with subgraphs. What is not known of an operator may not change."""
    if node.op == "If" and not node.domain:
        yield from _if(node)
    elif node.op == "Loop" and not node.domain:
        yield from _looped(node, node.bodies[0][2], len(node.inputs) - 2, node_first=2, inner_first=2, outer_first=1)
    elif node.op == "Scan" and not node.domain and node.version >= SCAN_WITHOUT_BATCH:
        states = len(node.inputs) - int(node.attribute("num_scan_inputs", 0))
        yield from _looped(node, node.bodies[0][2], states, node_first=0, inner_first=0, outer_first=0)
    else:
        yield from _unknown(node)


def _if(node: Node) -> Iterator[Tie]:
    for index, value in enumerate(node.outputs):
        tie = Tie()
        tie.gives(value)
        for _, _, branch in node.bodies:
            tie.reads(branch, index)
        yield tie


def _looped(
    node: Node, body: Graph, states: int, *, node_first: int, inner_first: int, outer_first: int
) -> Iterator[Tie]:
    """`states` carried values, then the scanned ones: operands from `node_first` on are inputs of the body from
    `inner_first` on, and its outputs from `outer_first` on are results."""
    for index in range(states):
        tie = Tie()
        tie.reads(node, node_first + index)
        tie.gives(body.inputs[inner_first + index])
        tie.reads(body, outer_first + index)
        tie.gives(node.outputs[index])
        yield tie
    for index in range(inner_first + states, len(body.inputs)):
        tie = Tie()
        tie.reads(node, node_first + index - inner_first)
        tie.gives(body.inputs[index])
        yield tie
    for index in range(states, len(node.outputs)):
        tie = Tie()
        tie.reads(body, outer_first + index)
        tie.gives(node.outputs[index])
        yield tie


def _unknown(node: Node) -> Iterator[Tie]:
    tie = Tie(may_change=False)
    for index in range(len(node.inputs)):
        tie.reads(node, index)
    for value in node.outputs:
        tie.gives(value)
    for _, _, body in node.bodies:
        for value in body.inputs:
            tie.gives(value)
        for index in range(len(body.outputs)):
            tie.reads(body, index)
    yield tie
