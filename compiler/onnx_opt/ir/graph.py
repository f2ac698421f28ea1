"""Graphs and their edits, which are the only way to change one.

Every edit is journalled, costs what it touches, and keeps three things true: `uses` is the inverse of the operand
lists, `producer` the inverse of the result lists, and a node whose source bytes no longer apply is marked, with
everything around it, so that the exporter writes it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from onnx_opt import types
from onnx_opt.ir import order
from onnx_opt.ir.lists import GraphInputs, GraphOutputs
from onnx_opt.ir.model import Model
from onnx_opt.ir.node import Node
from onnx_opt.ir.nodelist import NodeList
from onnx_opt.ir.origin import Origin
from onnx_opt.ir.structure import Structure
from onnx_opt.ir.surgeon import SurgeonMethods, adopt_node, adopt_value
from onnx_opt.ir.values import Constant, Value, Variable
from onnx_opt.wire import Span

ANY_CONSTANT = 9
"""The operator set from which Constant nodes hold every type; before, these alone."""
FIRST_CONSTANTS = (np.dtype("float16"), np.dtype("float32"), np.dtype("float64"))


class Graph(SurgeonMethods, Structure):
    """A graph, subgraph or function body. Iterating over it gives its nodes; the current one may be removed."""

    # -- looking ---------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> NodeList:
        """The nodes as a list."""
        return NodeList(self)

    @nodes.setter
    def nodes(self, nodes: Sequence[Node]) -> None:
        NodeList(self)[:] = list(nodes)

    @property
    def inputs(self) -> GraphInputs:
        return self._inputs

    @inputs.setter
    def inputs(self, values: Sequence[Value]) -> None:
        if values is not self._inputs:
            self.set_graph_inputs(list(values))

    @property
    def outputs(self) -> GraphOutputs:
        return self._outputs

    @outputs.setter
    def outputs(self, values: Sequence[Value]) -> None:
        if values is not self._outputs:
            self.set_graph_outputs(list(values))

    def fresh(self, hint: str) -> str:
        """An unused name made from `hint`."""
        return self.model.fresh(hint)

    # -- making ----------------------------------------------------------------------------------------------------

    def make_node(
        self,
        op: str,
        inputs: Sequence[Value | None],
        attrs: dict[str, Any] | None = None,
        domain: str = "",
        outputs: int = 1,
        name: str = "",
        origin: Origin | None = None,
    ) -> Node:
        """A node for this graph with fresh results, not yet inserted. None stands for an absent operand."""
        operands = [value if value is not None else Variable("") for value in inputs]
        results = [Variable(self.fresh(name or op), graph=self) for _ in range(outputs)]
        node = Node(op, self.model.fresh_node_name(name or op), attrs, operands, results, domain, origin)
        node.graph = self
        for value in results:
            value.producer = node
        return node

    def add_constant(self, array: np.ndarray, hint: str = "constant") -> Constant:
        """A new initializer, of the main graph where this one can't hold its type."""
        home = self if self.is_function_body or self.holds(array.dtype) else self.model.graph
        constant = Constant(self.fresh(hint), array, home)
        home.attach_constant(constant)
        return constant

    @property
    def constants_are_nodes(self) -> bool:
        """Function bodies have no initializers; before IR version 4 those of a subgraph would have to be inputs."""
        return self.is_function_body or (self.model.ir_version < 4 and self.owner is not None)

    def holds(self, dtype: Any) -> bool:
        """Whether a new constant of this type can stand here: before operator set 9, Constant nodes hold floats."""
        return not self.constants_are_nodes or self.opset >= ANY_CONSTANT or np.dtype(dtype) in FIRST_CONSTANTS

    def attach_constant(self, constant: Constant) -> None:
        """Make a constant an initializer of this graph."""
        self.model.record(self.detach_constant, constant)
        constant.graph = self
        self.constants[constant] = None
        self.touch()

    def detach_constant(self, constant: Constant) -> None:
        """Remove an initializer that nothing reads."""
        self.model.record(self.attach_constant, constant)
        self.constants.pop(constant, None)
        self.touch()

    # -- edges -----------------------------------------------------------------------------------------------------

    def set_input(self, node: Node, index: int, value: Value) -> None:
        """Let operand `index` of `node` be `value`."""
        value = adopt_value(self, value)
        old = node._inputs[index]
        if old is value:
            return
        self.model.record(self.set_input, node, index, old)
        if node.alive:
            self._drop_use(old, node, index)
            value.uses[node, index] = None
        list.__setitem__(node._inputs, index, value)
        self._rewired(node)

    def set_inputs(self, node: Node, values: list[Value]) -> None:
        """Replace all operands of `node`."""
        values = [adopt_value(self, value) for value in values]
        old = list(node._inputs)
        self.model.record(self.set_inputs, node, old)
        if node.alive:
            for index, value in enumerate(old):
                self._drop_use(value, node, index)
            for index, value in enumerate(values):
                value.uses[node, index] = None
        list.__init__(node._inputs, values)
        self._rewired(node)

    def set_outputs(self, node: Node, values: list[Value]) -> None:
        """Replace all results of `node`. A value that another node produced is produced by this one from now on."""
        values = [adopt_value(self, value) for value in values]
        old = list(node._outputs)
        self.model.record(self._restore_outputs, node, old, [value.producer for value in old])
        for value in old:
            if value.producer is node:
                value.producer = None
        for value in values:
            value.producer = node
            value.graph = self
            self.model.forget(value)
            if not value.uses:
                self.model.orphans[value] = None
        list.__init__(node._outputs, values)
        self._rewired(node)

    def _restore_outputs(self, node: Node, values: list[Value], producers: list[Node | None]) -> None:
        self.set_outputs(node, values)
        for value, producer in zip(values, producers, strict=True):
            value.producer = producer

    def take_output(self, new: Node, index: int, old: Node, position: int) -> None:
        """Let `new` compute what result `position` of `old` was: it takes over the value with its name and all its
        users in O(1), and `old` gets the value that `new` had."""
        self.model.record(self.take_output, old, position, new, index)
        taken, given = old._outputs[position], new._outputs[index]
        list.__setitem__(old._outputs, position, given)
        list.__setitem__(new._outputs, index, taken)
        taken.producer, given.producer = new, old
        if not given.uses:
            self.model.orphans[given] = None
        self._rewired(new)
        self._rewired(old)

    def replace_uses(self, old: Value, new: Value) -> None:
        """Let every node that reads `old` read `new`. Graph outputs stay."""
        for user, index in list(old.uses):
            if not user.is_graph:
                user.graph.set_input(user, index, new)  # type: ignore[union-attr]

    def replace_value(self, old: Value, new: Value) -> None:
        """Put `new` in the place of `old`, which a node of this graph computes; graph outputs keep their names.

        Where `old` is a graph output and `new` can't take its name (it is an input, an initializer, another output or
        comes from outside), an Identity node stands between them.
        """
        producer = old.producer
        assert producer is not None and producer.graph is self
        position = producer._outputs.index(old)
        if not old.is_graph_output:
            self.replace_uses(old, new)
        elif self.can_take_name(old, new):
            assert new.producer is not None
            self.replace_uses(new, old)
            self.take_output(new.producer, new.producer._outputs.index(new), producer, position)
        else:
            bridge = self.make_node("Identity", [new], name=old.name, origin=producer.origin)
            self.insert(bridge, producer)
            self.take_output(bridge, 0, producer, position)

    def can_take_name(self, old: Value, new: Value) -> bool:
        """Whether `new` can become the graph output that `old` is."""
        return new.producer is not None and new.graph is self and not new.is_graph_output and not new.pinned

    def set_graph_output(self, index: int, value: Value) -> None:
        """Let graph output `index` be `value`; the interface takes its name."""
        outputs = list(self._outputs)
        outputs[index] = value
        self.set_graph_outputs(outputs)

    def set_graph_outputs(self, values: list[Value]) -> None:
        """Replace the outputs of the graph."""
        values = [adopt_value(self, value) for value in values]
        self.model.record(self.set_graph_outputs, list(self._outputs))
        for index, value in enumerate(self._outputs):
            self._drop_use(value, self, index)
        for index, value in enumerate(values):
            value.uses[self, index] = None
        list.__init__(self._outputs, values)
        self.touch()

    def set_graph_inputs(self, values: list[Value]) -> None:
        """Replace the inputs of the graph."""
        values = [adopt_value(self, value) for value in values]
        self.model.record(self.set_graph_inputs, list(self._inputs))
        list.__init__(self._inputs, values)
        for value in values:
            value.graph = self
        self.input_set = set(values)
        self.touch()

    def _drop_use(self, value: Value, user: Node | Graph, index: int) -> None:
        value.uses.pop((user, index), None)
        if not value.uses and value.name:
            self.model.orphans[value] = None

    # -- nodes -----------------------------------------------------------------------------------------------------

    def insert(self, node: Node, before: Node | None = None) -> Node:
        """Put a node (with its subgraphs) into the graph before another one, or at the end."""
        node = adopt_node(self, node)
        self.model.record(self.erase, node, True)
        node.graph = self
        self._link(node, before)
        inner_nodes = order.walk_node(node) if node.bodies else (node,)
        for inner in inner_nodes:
            inner.alive = True
            for index, value in enumerate(inner._inputs):
                value.uses[inner, index] = None
        for value in node._outputs:
            value.producer, value.graph = node, self
        self.touch()
        return node

    def erase(self, node: Node, force: bool = False) -> None:
        """Take a node out of the graph. Raises ValueError while its results are read, unless `force`."""
        if not force and any(value.uses for value in node._outputs):
            raise ValueError(f"node '{node.label()}' is still used")
        self.model.record(self.insert, node, node.next)
        inner_nodes = order.walk_node(node) if node.bodies else (node,)
        for inner in inner_nodes:
            inner.alive = False
            for index, value in enumerate(inner._inputs):
                self._drop_use(value, inner, index)
        self._unlink(node)
        self.touch()

    def move(self, node: Node, before: Node | None) -> None:
        """Take a node from wherever it is and put it before another one of this graph, or at the end."""
        source = node.graph
        assert source is not None
        self.model.record(source.move, node, node.next)
        source._unlink(node)
        source.touch()
        node.graph = self
        self._link(node, before)
        for value in node._outputs:
            value.graph = self
        self.touch()

    def reorder(self, nodes: Sequence[Node]) -> None:
        """Put the nodes of the graph into another order."""
        self.model.record(self.reorder, list(self))
        self.head = self.tail = None
        self.count = 0
        for node in nodes:
            self._link(node, None)
        self.touch()

    def set_attr(self, node: Node, name: str, value: Any) -> None:
        """Set an attribute; None removes it."""
        old = node.apply_attr(name, value)
        self.model.record(self.set_attr, node, name, old)
        self.touch_node(node)
        self.model.touched(node)

    def set_op(self, node: Node, op: str, domain: str = "") -> None:
        """Let a node apply another operator to the same operands."""
        self.retype(node, op, node.name, domain)

    def retype(self, node: Node, op: str, name: str, domain: str) -> None:
        """Give a node another operator, name or domain."""
        self.model.record(self.retype, node, node.op, node.name, node.domain)
        node.attrs  # noqa: B018 - read before the source bytes no longer apply
        node.op, node.name, node.domain = op, name, domain
        node.retyped = True
        self.touch_node(node)
        self.model.touched(node)

    def set_origin(self, node: Node, origin: Origin) -> None:
        """Say where a node comes from."""
        self.model.record(self.set_origin, node, node.origin)
        node._origin = origin

    # -- values ----------------------------------------------------------------------------------------------------

    def rename(self, value: Value, name: str) -> None:
        """Give a value another name, which must be unused."""
        self.model.record(self.rename, value, value.name)
        self.model.names.discard(value.name)
        self.model.names.add_all([name])
        value.declared  # noqa: B018 - read before the source no longer applies
        value.name, value.renamed = name, True
        for user, _ in value.uses:
            if user.is_graph:
                user.touch()
            else:
                self._mark_rewired(user)
        if value.producer is not None:
            self._mark_rewired(value.producer)
        self.touch()

    def declare(self, value: Value, declared: types.Type | None) -> None:
        """State the type of a value in the model. What was known of the value is forgotten."""
        self.model.record(self._redeclare, value, value.declared, value.redeclared)
        self._redeclare(value, declared, True)

    def _redeclare(self, value: Value, declared: types.Type | None, redeclared: bool) -> None:
        value._declared, value.redeclared = declared, redeclared
        self.model.forget(value)
        self.touch()

    def set_values(self, constant: Constant, values: np.ndarray) -> None:
        """Give an initializer other values."""
        state = (constant._array, constant._header, constant.source, constant.rounded_to)
        self.model.record(self._restore_values, constant, *state)
        self._restore_values(constant, values, None, None, 0)

    def round_constant(self, constant: Constant, elem_type: int) -> None:
        """Let an initializer hold its elements rounded to a floating-point type. They stay where they are until they
        are asked for or written, so that large weights are not copied."""
        state = (constant._array, constant._header, constant.source)
        self.model.record(self._restore_values, constant, *state, constant.rounded_to)
        self._restore_values(constant, *state, elem_type)
        self.declare(constant, constant.declared)  # what the source says of it no longer holds

    def add_rounded(self, constant: Constant, elem_type: int) -> Constant:
        """A new initializer beside `constant`: its elements rounded to a floating-point type."""
        assert constant.graph is not None
        twin = Constant(self.fresh(constant.name), graph=constant.graph)
        twin._array, twin._header, twin.source = constant._array, constant._header, constant.source
        twin.sparse, twin.rounded_to = constant.sparse, elem_type
        constant.graph.attach_constant(twin)
        return twin

    def _restore_values(
        self, constant: Constant, array: Any, header: Any, source: Span | None, rounded_to: int
    ) -> None:
        constant._array, constant._header, constant.source = array, header, source
        constant._digest = constant._rounded = None
        constant.rounded_to = rounded_to
        self.model.forget(constant)
        self.touch()

    def make_constant(self, value: Value, values: np.ndarray) -> None:
        """Turn a variable into an initializer in place; the node that computed it loses that result.

        `values` are the elements that it has in every run."""
        producer = value.producer
        if producer is not None:
            # Among several results it keeps its place: not every operator may leave one out.
            rest = Variable(self.fresh(value.name), graph=self) if len(producer.outputs) > 1 else Variable("")
            producer.outputs = [rest if result is value else result for result in producer.outputs]
        self.model.record(self._restore_variable, value, value.__class__, dict(value.__dict__))
        value.__class__ = Constant
        value._array = values  # type: ignore[attr-defined]
        self.model.became_constant(value)
        self.attach_constant(value)  # type: ignore[arg-type]

    def _restore_variable(self, value: Value, kind: type, state: dict[str, Any]) -> None:
        value.__class__ = kind
        value.__dict__.update(state)
        self.model.forget(value)

    def _rewired(self, node: Node) -> None:
        self._mark_rewired(node)
        self.model.touched(node)

    def _mark_rewired(self, node: Node) -> None:
        node.rewired = True
        if node.graph is not None:
            node.graph.touch_node(node)

    # -- algorithms ------------------------------------------------------------------------------------------------

    def remove_dead(self) -> int:
        """Remove the nodes whose results nobody reads, here and in subgraphs; returns how many."""
        return order.remove_dead(self)

    def toposort(self, **_: Any) -> Graph:
        """Put producers before their users; what is sorted already keeps its order. Raises ModelError on a cycle."""
        order.toposort(self)
        return self


class Function(Graph, gs.Function):
    """A local function: its body is a graph with operator sets of its own; it can't carry initializers."""

    is_function_body = in_function = True

    def __init__(self, model: Model, name: str, domain: str, overload: str, opsets: dict[str, int]):
        Graph.__init__(self, model, None, name, opsets)
        self.domain = domain
        self.overload = overload

    @property
    def unique_id(self) -> tuple[str, str]:
        return self.domain, self.name
