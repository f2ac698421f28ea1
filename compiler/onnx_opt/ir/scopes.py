"""Names across scopes: a body may hide an outer name as long as nobody moves anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_opt.ir.graph import Graph
    from onnx_opt.ir.model import Model
    from onnx_opt.ir.values import Value


def keep_names_apart(model: Model) -> None:
    """Rename what bears, in a body, the name of something in a graph around it, and Constants that another one of the
    same name overrides.

    A body may hide an outer name, and may use one that is defined behind it. But a value that moves up, becomes an
    initializer, or takes the place of a captured one can then be seen, or is meant, where the name says something else.
    """
    if all(count == 1 for count in model.names.values()):
        return
    around: Counter[str] = Counter()
    stack: list[tuple[Graph, list[str] | None]] = [(graph, None) for graph in (model.graph, *model.functions)]
    while stack:
        graph, leaving = stack.pop()
        if leaving is not None:
            around.subtract(leaving)
            continue
        own: dict[str, Value] = {}
        for value in _own_values(graph):
            twin = own.setdefault(value.name, value)
            if around[value.name] > 0:
                graph.rename(value, graph.fresh(value.name))
            elif twin is not value:
                overridden = twin if value.uses else value
                graph.rename(overridden, graph.fresh(value.name))
        names = [value.name for value in _own_values(graph)]
        around.update(names)
        stack.append((graph, names))
        stack.extend((body, None) for node in graph for _, _, body in node.bodies)


def _own_values(graph: Graph) -> Iterator[Value]:
    results = (value for node in graph for value in node.outputs)
    return (value for value in dict.fromkeys(chain(graph.inputs, graph.constants, results)) if value.name)
