"""What keeps GraphSurgeon scripts working: its graph methods on our edits, and the adoption of its objects.

A script builds `gs.Node`, `gs.Variable` and `gs.Constant`. When one of them enters a graph it becomes an object of our
classes in place, so that every reference the script holds stays good.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx_graphsurgeon as gs

from onnx_opt import schemas
from onnx_opt.ir import order
from onnx_opt.ir.attributes import Attributes
from onnx_opt.ir.lists import Inputs, Outputs
from onnx_opt.ir.node import Node
from onnx_opt.ir.values import Constant, Value, Variable, declare_type

if TYPE_CHECKING:
    from onnx_opt.ir.graph import Graph


def adopt_value(graph: Graph, value: Any) -> Value:
    """`value` as one of ours. Constants without a home become initializers of `graph`; names are made unique."""
    if isinstance(value, Value):
        if value.graph is None and value.name:
            _settle(graph, value)
        return value
    if isinstance(value, gs.Constant):
        array = np.asarray(value.values)
        value.__class__ = Constant
        _reset(value, value.name)
        value._array = array
    elif isinstance(value, gs.Variable):
        dtype, shape = value.dtype, value.shape
        value.__class__ = Variable
        _reset(value, value.name)
        if dtype is not None or shape is not None:
            value._declared = declare_type(dtype, shape)
            value.redeclared = True
    else:
        raise TypeError(f"{type(value).__name__} is no tensor of a graph")
    if value.name:
        _settle(graph, value)
    return cast(Value, value)


def _reset(value: Any, name: str) -> None:
    value.__dict__.clear()
    value.name, value.uses = name, {}


def _settle(graph: Graph, value: Value) -> None:
    names = graph.model.names
    if value.name in names:
        value.name = graph.fresh(value.name)
    else:
        names.add_all([value.name])
    value.graph = graph
    if isinstance(value, Constant):
        graph.attach_constant(value)


def adopt_node(graph: Graph, node: Any) -> Node:
    """`node` as one of ours, with its operands and results."""
    if isinstance(node, Node):
        if node.graph is None:
            list.__init__(node._inputs, [adopt_value(graph, v) for v in node._inputs])
            list.__init__(node._outputs, [adopt_value(graph, v) for v in node._outputs])
        return node
    if not isinstance(node, gs.Node):
        raise TypeError(f"{type(node).__name__} is no node of a graph")
    raw = dict(node.__dict__)
    if any(isinstance(value, gs.Graph) for value in raw["attrs"].values()):
        raise TypeError(f"node '{node.name}': a new node with a subgraph can't be added through GraphSurgeon classes")
    node.__class__ = Node
    node.__dict__.clear()
    node.op, node.name, node.domain = raw["op"], raw["name"] or "", schemas.normal_domain(raw["domain"])
    node._inputs = Inputs([adopt_value(graph, v) for v in list(raw["inputs"])], node)
    node._outputs = Outputs([adopt_value(graph, v) for v in list(raw["outputs"])], node)
    node._attrs = Attributes(node, dict(raw["attrs"]), set(raw["attrs"]))
    return cast(Node, node)


@contextmanager
def watched(graph: Graph) -> Iterator[None]:
    """Lets a script inside assign names and operators directly (`node.op = "Gelu"`): afterwards they count as edits."""
    nodes = {node: (node.op, node.name, node.domain) for inner in graph.model.all_graphs() for node in inner}
    names = {value: value.name for node in nodes for value in (*node._inputs, *node._outputs) if value.name}
    names.update((value, value.name) for value in (*graph.inputs, *graph.outputs))
    yield
    for node, (op, name, domain) in nodes.items():
        if (node.op, node.name, node.domain) != (op, name, domain):
            wished = node.op, node.name, node.domain
            node.op, node.name, node.domain = op, name, domain
            if node.graph is not None:
                node.graph.retype(node, *wished)
    for value, name in names.items():
        if value.name != name and value.graph is not None:
            wished_name, value.name = value.name, name
            value.graph.rename(value, wished_name)


class SurgeonMethods:
    """GraphSurgeon's graph methods. Those that only read are inherited from gs.Graph."""

    @property
    def opset(self) -> int:
        """The version of the standard operator set."""
        return cast("Graph", self).opsets.get("", 0)

    @property
    def import_domains(self) -> Any:
        from onnx import helper

        return [helper.make_opsetid(domain, version) for domain, version in cast("Graph", self).opsets.items()]

    @property
    def ir_version(self) -> int:
        return cast("Graph", self).model.ir_version

    @property
    def producer_name(self) -> str:
        return cast("Graph", self).model.producer_name

    @property
    def producer_version(self) -> str:
        return cast("Graph", self).model.producer_version

    @property
    def functions(self) -> list[Any]:
        return cast("Graph", self).model.functions

    @property
    def _functions(self) -> list[Any]:
        return self.functions

    def subgraphs(self, recursive: bool = False) -> Iterator[Graph]:
        """The subgraphs in the nodes of this graph; with `recursive`, in theirs too."""
        graph = cast("Graph", self)
        if recursive:
            yield from (inner for inner in graph.nested() if inner is not graph)
            return
        for node in graph:
            yield from (body for _, _, body in node.bodies)

    def tensors(self, check_duplicates: bool = False) -> dict[str, Value]:
        """name -> value for the values of this graph, as GraphSurgeon gives them."""
        graph = cast("Graph", self)
        found = {value.name: value for value in graph.inputs}
        for node in graph:
            found.update((v.name, v) for v in (*node._inputs, *node._outputs) if v.name)
        return found

    def cleanup(self, remove_unused_node_outputs: bool = False, recurse_subgraphs: bool = True, **_: Any) -> Graph:
        """Remove nodes and initializers that nothing reads."""
        graph = cast("Graph", self)
        order.remove_dead(graph)
        return graph

    def fold_constants(self, **_: Any) -> Graph:
        """Run the `fold` pass: GraphSurgeon's own folding is wrong in places (Shape with start, Cast pairs, If)."""
        from onnx_opt.passes import PassContext
        from onnx_opt.pipeline import Pipeline

        graph = cast("Graph", self)
        Pipeline.parse("fold").run(graph, PassContext())
        return graph

    def layer(
        self, inputs: Sequence[Any] | None = None, outputs: Sequence[Any] | None = None, **fields: Any
    ) -> list[Value]:
        """Append a node. Strings name new values, arrays become initializers; returns the results."""
        graph = cast("Graph", self)
        op = fields.pop("op")
        operands = [self._operand(item, op) for item in inputs or ()]
        results = [Variable(graph.fresh(o), graph=graph) if isinstance(o, str) else o for o in outputs or ()]
        name = fields.pop("name", None) or graph.model.fresh_node_name(f"onnx_graphsurgeon_node_{op}")
        node = Node(op, name, inputs=operands, outputs=results, **fields)
        graph.insert(node)
        return list(node.outputs)

    def _operand(self, item: Any, op: str) -> Any:
        graph = cast("Graph", self)
        if isinstance(item, str):
            return Variable(graph.fresh(item), graph=graph)
        if isinstance(item, np.ndarray | list | tuple | float | int):
            array = np.asarray(item)
            if not isinstance(item, np.ndarray):
                array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
            return graph.add_constant(array, f"{op}_constant")
        return item

    def copy(self, tensor_map: Any = None) -> Graph:
        """A graph of its own with the same contents; main graphs only."""
        from onnx_opt.ir.load import load_bytes
        from onnx_opt.ir.save import to_bytes

        graph = cast("Graph", self)
        if graph is not graph.model.graph:
            raise TypeError("only a main graph can be copied")
        return load_bytes(to_bytes(graph), graph.model.path)
