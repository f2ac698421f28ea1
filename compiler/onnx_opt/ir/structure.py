"""The structure of a graph: nodes in a linked list, the interface, and what the source bytes still say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import onnx_graphsurgeon as gs

from onnx_opt.ir.lists import GraphInputs, GraphOutputs
from onnx_opt.ir.values import Constant, Identity, Value
from onnx_opt.wire import Span

if TYPE_CHECKING:
    from onnx_opt.ir.graph import Graph
    from onnx_opt.ir.model import Model
    from onnx_opt.ir.node import Node


class Structure(Identity, gs.Graph):
    """The part of a graph that only holds and shows it. Iterating gives the nodes; the current one may be removed."""

    is_graph = True
    is_function_body = False
    in_function = False
    """Whether this is a function body, or a subgraph in one: attributes may refer to those of the call."""

    def __init__(self, model: Model, owner: Node | None = None, name: str = "", opsets: dict[str, int] | None = None):
        self.model = model
        self.owner = owner
        if owner is not None and owner.graph is not None and owner.graph.in_function:
            self.in_function = True
        self.name = name
        self.opsets = model.opsets if opsets is None else opsets
        self.constants: dict[Constant, None] = {}
        """The initializers, in the order of the file."""
        self.input_set: set[Value] = set()
        self._inputs = GraphInputs((), self)
        self._outputs = GraphOutputs((), self)
        self.head: Node | None = None
        self.tail: Node | None = None
        self.count = 0
        self.dirty = False
        self.source: Span | None = None
        self.layout: list[tuple[int, Span | None]] = []
        """The order of the fields in the source; the fields that the IR holds appear once, without a place."""
        self.lists_initializers = False
        """Before IR version 4: whether the source lists every initializer as an input, as it should."""
        self.source_outputs: dict[Value, Span] = {}
        self.source_infos: list[tuple[Span, Value | None]] = []
        """The value_info entries of the source, with the value each describes, if there is one."""
        self.annotations: list[Span] = []
        self.doc_string = ""
        self.name_idx = 0

    def __iter__(self) -> Iterator[Node]:
        node = self.head
        while node is not None:
            following = node.next
            yield node
            node = following

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return True

    @property
    def parent(self) -> Graph | None:
        """The graph around this one."""
        return self.owner.graph if self.owner is not None else None

    def walk(self) -> Iterator[Node]:
        """The nodes of this graph and of the subgraphs in them, outer before inner."""
        for graph in self.nested():
            yield from graph

    def nested(self) -> Iterator[Graph]:
        """This graph and the subgraphs in it, outer before inner."""
        stack = [cast("Graph", self)]
        while stack:
            graph = stack.pop()
            yield graph
            stack.extend(body for node in graph if node.bodies for _, _, body in node.bodies)

    def holds(self, node: Node) -> bool:
        """Whether a node is in this graph now."""
        return node.graph is self and node.alive

    def _link(self, node: Node, before: Node | None) -> None:
        previous = before.prev if before is not None else self.tail
        node.prev, node.next = previous, before
        if previous is None:
            self.head = node
        else:
            previous.next = node
        if before is None:
            self.tail = node
        else:
            before.prev = node
        self.count += 1

    def _unlink(self, node: Node) -> None:
        if node.prev is None:
            self.head = node.next
        else:
            node.prev.next = node.next
        if node.next is None:
            self.tail = node.prev
        else:
            node.next.prev = node.prev
        self.count -= 1

    # -- marking what the source bytes no longer say ---------------------------------------------------------------

    def touch_node(self, node: Node) -> None:
        """The exporter must write this node anew, and the graphs around it."""
        if not node.dirty:
            node.dirty = True
            self.touch()

    def touch(self) -> None:
        """The exporter must write this graph anew, and what is around it."""
        graph: Structure | None = self
        while graph is not None and not graph.dirty:
            graph.dirty = True
            owner = graph.owner
            if owner is None:
                return
            owner.dirty = True
            graph = owner.graph
