"""New outputs in the place of old ones: nodes behind what the model gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt import types
from onnx_opt.errors import UsageError
from onnx_opt.passes import nearest

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value


class Tail:
    """The nodes that are put behind the output called `name`."""

    def __init__(self, graph: Graph, name: str) -> None:
        """Raises UsageError for an output that is not there, or is no result of a node."""
        from onnx_opt.ir import Origin

        known = {value.name: value for value in graph.outputs}
        if name not in known:
            listed = f"it has {', '.join(list(known)[:8])}"
            raise UsageError(f"no output '{name}'", path=graph.model.path, remedy=nearest(name, known, listed))
        self.graph, self.value, self.name = graph, known[name], name
        if self.value.producer is None or self.value.graph is not graph or self.value.pinned:
            raise UsageError(f"output '{name}' is no result of a node: it can't change", path=graph.model.path)
        self.origin = Origin.merge("embed-postprocess", [self.value.producer.origin])

    @property
    def opset(self) -> int:
        return self.graph.opset

    def node(self, op: str, *operands: Value | np.ndarray | None, outputs: int = 1, **attrs: Any) -> Node:
        """A node at the end of the graph; arrays become constants."""
        name = f"{self.name}_{op.lower()}"
        values = [
            self.graph.add_constant(each, f"{name}_constant") if isinstance(each, np.ndarray) else each
            for each in operands
        ]
        made = self.graph.make_node(op, values, attrs, outputs=outputs, name=name, origin=self.origin)
        return self.graph.insert(made)

    def op(self, op: str, *operands: Value | np.ndarray | None, **attrs: Any) -> Value:
        """The result of such a node."""
        return self.node(op, *operands, **attrs).outputs[0]


def exchange(graph: Graph, old: Sequence[Value], new: Mapping[str, Value]) -> None:
    """Let the outputs `new`, by name, stand where the first of `old` stood; the others of `old` are none any more."""
    names = [value.name for value in graph.outputs if value not in old]
    if taken := [name for name in new if name in names]:
        raise UsageError(f"there is an output '{taken[0]}' already", path=graph.model.path)
    place = min(index for index, value in enumerate(graph.outputs) if value in old)
    left = [value for value in graph.outputs[:place] if value not in old]
    right = [value for value in graph.outputs[place:] if value not in old]
    graph.set_graph_outputs([*left, *new.values(), *right])
    for value in old:
        graph.rename(value, graph.fresh(value.name))
    for name, value in new.items():
        if name in graph.model.names:
            raise UsageError(f"a value is called '{name}' already", path=graph.model.path)
        graph.rename(value, name)
        facts = graph.model.facts.type(value)
        if isinstance(facts, types.TensorType):
            graph.declare(value, _declared(facts))


def _declared(found: types.TensorType) -> types.TensorType:
    """What is known of a type, with sizes and names for its dims, and nothing for what has neither."""
    if found.shape is None:
        return found
    return found.with_shape([dim if isinstance(dim, int) else types.dim_param(dim) or None for dim in found.shape])
