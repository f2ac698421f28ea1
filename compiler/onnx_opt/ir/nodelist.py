"""`graph.nodes`: the linked list of nodes seen as a Python list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_opt.ir.graph import Graph
    from onnx_opt.ir.node import Node


class NodeList(MutableSequence[Any]):
    """A view: changes to it are edits of the graph. Iterating and appending are O(1) a node, indexing O(n)."""

    def __init__(self, graph: Graph):
        self._graph = graph

    def __len__(self) -> int:
        return self._graph.count

    def __iter__(self) -> Iterator[Node]:
        return iter(self._graph)

    def __reversed__(self) -> Iterator[Node]:
        node = self._graph.tail
        while node is not None:
            preceding = node.prev
            yield node
            node = preceding

    def __contains__(self, node: object) -> bool:
        return getattr(node, "graph", None) is self._graph and getattr(node, "alive", False)

    def __getitem__(self, index: Any) -> Any:
        return list(self._graph)[index]

    def __setitem__(self, index: Any, item: Any) -> None:
        wished = list(self._graph)
        wished[index] = item
        self._assign(wished)

    def __delitem__(self, index: Any) -> None:
        doomed = self[index]
        for node in doomed if isinstance(doomed, list) else [doomed]:
            self._graph.erase(node, force=True)

    def insert(self, index: int, node: Node) -> None:
        nodes = list(self._graph)
        self._graph.insert(node, nodes[index] if index < len(nodes) else None)

    def append(self, node: Node) -> None:
        self._graph.insert(node)

    def extend(self, nodes: Iterable[Node]) -> None:
        for node in list(nodes):
            self._graph.insert(node)

    def remove(self, node: Node) -> None:
        if node not in self:
            raise ValueError(f"node '{node.name}' is not in graph '{self._graph.name}'")
        self._graph.erase(node, force=True)

    def clear(self) -> None:
        self._assign([])

    def copy(self) -> list[Node]:
        return list(self._graph)

    def __add__(self, other: Iterable[Node]) -> list[Node]:
        return [*self, *other]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, list | NodeList) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def _assign(self, wished: list[Node]) -> None:
        keep = set(wished)
        for node in list(self._graph):
            if node not in keep:
                self._graph.erase(node, force=True)
        for node in wished:
            if node not in self:
                self._graph.insert(node)
        self._graph.reorder(wished)

    def __repr__(self) -> str:
        return repr(list(self))
