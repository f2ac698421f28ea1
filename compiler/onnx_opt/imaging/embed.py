"""Preprocessing put into a graph, behind its input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from onnx_opt import types
from onnx_opt.errors import UsageError
from onnx_opt.imaging.pixels import Preprocessing

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value

FIRST_OPSET = 7
"""From here on operands broadcast as NumPy's do."""


def embed(graph: Graph, work: Preprocessing) -> Node:
    """Let the input take pictures with their channels last, and compute what it was from them; the last node.

    The pictures are transposed while they are smallest. Raises UsageError where the model can't hold this.
    """
    port = work.port
    _check(graph, port.value)
    if work.resize is not None:
        work.resize.check(port, graph.opset)
    made = _Chain(graph, port.value)
    if not port.is_last:
        made.add("Transpose", attrs={"perm": list(port.to_model)})
    if work.dtype != "float32":
        made.add("Cast", attrs={"to": int(TensorProto.FLOAT)})
    if work.resize is not None:
        made.nodes += work.resize.node(graph, made.value, port, made.origin, made.name)
    for op, operand in work.steps():
        made.add(op, operand)
    if work.model_dtype != np.float32:
        made.add("Cast", attrs={"to": port.declared.elem_type})
    if work.reverses:
        made.add("Gather", np.array(work.channel_order, np.int64), {"axis": port.axis})
    if not made.nodes:
        raise UsageError(f"input '{port.name}' takes such pictures already: there is nothing to do")
    return made.finish(work)


def _check(graph: Graph, value: Value) -> None:
    if graph.opset < FIRST_OPSET:
        raise UsageError(f"operator set {FIRST_OPSET} or later is needed, the model has {graph.opset}")
    if value.is_graph_output:
        raise UsageError(f"input '{value.name}' is an output too: it can't change")
    if value.pinned:
        raise UsageError(f"input '{value.name}' is named by annotations of the model: it can't change")


class _Chain:
    """Nodes one behind the other, from a new input to where the old one was read."""

    def __init__(self, graph: Graph, old: Value) -> None:
        from onnx_opt.ir import Origin
        from onnx_opt.ir.values import Variable

        self.graph, self.old, self.name = graph, old, old.name
        self.origin = Origin.of_node(old.name)
        self.input = Variable(graph.fresh(old.name), graph=graph)
        self.nodes: list[Node] = []

    @property
    def value(self) -> Value:
        """What the chain gives so far."""
        return self.nodes[-1].outputs[0] if self.nodes else self.input

    def add(self, op: str, operand: np.ndarray | None = None, attrs: dict[str, Any] | None = None) -> None:
        """A node that reads what the chain gives so far, and a constant."""
        name = f"{self.name}_{op.lower()}"
        operands = [self.value] if operand is None else [self.value, self.graph.add_constant(operand, name)]
        self.nodes.append(self.graph.make_node(op, operands, attrs or {}, name=name, origin=self.origin))

    def finish(self, work: Preprocessing) -> Node:
        """Put the nodes into the graph and exchange the inputs."""
        graph, old = self.graph, self.old
        graph.set_graph_inputs([self.input if each is old else each for each in graph.inputs])
        graph.declare(self.input, types.declare(_enum(work.dtype), _dims(work)))
        first = graph.head
        for node in self.nodes:
            graph.insert(node, first)
        graph.replace_uses(old, self.value)
        graph.rename(old, graph.fresh(self.name))
        graph.rename(self.input, self.name)
        return self.nodes[-1]


def _enum(dtype: str) -> int:
    return int(TensorProto.DataType.Value({"float32": "FLOAT"}.get(dtype, dtype.upper())))


def _dims(work: Preprocessing) -> list[Any]:
    """The dims of the pictures; where they are resized, any height and width."""
    dims = list(work.port.dims)
    if work.resize is not None:
        for axis, name in zip(work.port.spatial, ("height", "width"), strict=True):
            dims[axis] = f"{work.port.name}_{name}"
    return [dims[axis] for axis in work.port.to_last]
