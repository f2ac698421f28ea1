"""Order and reachability: iterative, linear in what they look at, and aware of what subgraphs capture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from onnx_opt.errors import ModelError

if TYPE_CHECKING:
    from onnx_opt.ir.graph import Graph
    from onnx_opt.ir.model import Model
    from onnx_opt.ir.node import Node
    from onnx_opt.ir.values import Value


def walk_node(node: Node) -> Iterator[Node]:
    """A node and the nodes in its subgraphs."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        for _, _, body in current.bodies:
            stack.extend(body)


def values_read(node: Node) -> Iterator[Value]:
    """The values that a node or its subgraphs read, their own interior included."""
    if not node.bodies:
        yield from node._inputs
        return
    for inner in walk_node(node):
        yield from inner._inputs
        for _, _, body in inner.bodies:
            yield from body._outputs


def remove_dead(graph: Graph) -> int:
    """Remove nodes whose results nobody reads, in the graph and its subgraphs; returns how many."""
    removed = 0
    for inner in graph.nested():
        for node in inner:
            if not any(value.uses or value.pinned for value in node._outputs):
                inner.erase(node)
                removed += 1
    return removed + sweep(graph.model)


def sweep(model: Model) -> int:
    """Remove what lost its last use since the last sweep, and what that leaves unused; returns the number of nodes.

    Initializers go too, but for those that a caller may feed or that something outside of the nodes names.
    """
    removed = 0
    while model.orphans:
        value, _ = model.orphans.popitem()
        if value.uses or value.pinned:
            continue
        node = value.producer
        if node is None:
            _drop_constant(value)
        elif node.alive and not any(result.uses or result.pinned for result in node._outputs):
            assert node.graph is not None
            node.graph.erase(node)
            removed += 1
    return removed


def _drop_constant(value: Value) -> None:
    graph = value.graph
    if graph is None or value not in graph.constants or getattr(value, "overridable", False):
        return
    graph.detach_constant(value)  # type: ignore[arg-type]


def toposort(graph: Graph) -> None:
    """Put producers before their users, in the graph and its subgraphs; what is sorted already keeps its order.

    Raises ModelError naming a node on a cycle.
    """
    for inner in graph.nested():
        nodes = list(inner)
        ordered = _sorted_nodes(inner, nodes)
        if ordered != nodes:
            inner.reorder(ordered)


def _sorted_nodes(graph: Graph, nodes: list[Node]) -> list[Node]:
    ordered: list[Node] = []
    state: dict[Node, int] = {}  # 1: its producers are being placed, 2: placed
    for start in nodes:
        stack = [] if start in state else [start]
        while stack:
            node = stack[-1]
            if state.get(node) == 2:
                stack.pop()
                continue
            waiting = [p for p in _local_producers(graph, node) if state.get(p) != 2]
            if not waiting:
                state[node] = 2
                ordered.append(node)
                stack.pop()
                continue
            if state.get(node) == 1:
                raise ModelError(f"node '{node.label()}' ({node.op}) is on a cycle: it needs its own result")
            state[node] = 1
            stack.extend(reversed(waiting))
    return ordered


def _local_producers(graph: Graph, node: Node) -> Iterator[Node]:
    for value in values_read(node):
        if value.producer is not None and value.producer.graph is graph and value.producer is not node:
            yield value.producer
        elif value.producer is node:
            yield node
