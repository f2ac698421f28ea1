"""The channels of one graph: for every dim of known size, which segments it has, told by the rows of the table.

Nodes are looked at once, in execution order. A constant operand has dims of its own for each node that reads it, so
that layers which share a weight may need it padded in different ways.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_opt import traits, types
from onnx_opt.channels.behaviour import Behaviour, Stopped, behaviour_of
from onnx_opt.channels.layers import Layer, is_layer
from onnx_opt.channels.segments import Layout, fresh, pin, size_of, unify
from onnx_opt.ir import order

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value

Fill = float | int
MAX_COPIES = 4096
"""Dims with more segments than this are not followed."""


@dataclass(eq=False)
class Slot:
    """A constant operand of one node: the dims that are padded together with others, and what with. `like` is the slot
    of a 1-D constant that holds the fill for each index of one axis."""

    node: Node
    index: int
    axes: dict[int, Layout] = field(default_factory=dict)
    fill: Fill = 0
    like: tuple[Slot, int] | None = None
    looked_up: int | None = None
    """The axis along which the node looks up what only the run tells."""

    @property
    def value(self) -> Value:
        return self.node.inputs[self.index]


class Channels:
    """What must agree in one graph. `with_inputs` lets channels of graph inputs be padded too."""

    def __init__(self, graph: Graph, with_inputs: bool = False):
        self.graph = graph
        self.facts = graph.model.facts
        self.axes: dict[Value, dict[int, Layout]] = {}
        self.slots: dict[tuple[Node, int], Slot] = {}
        self.layers: list[Layer] = []
        self.stops: dict[Node, str] = {}
        """Why channels do not pass a node."""
        self.replaced: dict[Node, None] = {}
        """Nodes that an earlier node speaks for."""
        self._with_inputs = with_inputs
        self._where = ""
        for node in graph:
            self._link(node)
        self._keep_tables()
        for value in self.axes:
            if value.pinned:
                self._stop_value(value, "something outside of the graph names it")

    # -- what rows say ---------------------------------------------------------------------------------------------

    def of(self, value: Value, axis: int) -> Layout | None:
        """The channels of a dim of what nodes compute or callers feed; None where its size is not known, and for
        constants, whose dims each have channels of their own for each node (see `operand`)."""
        known = self.axes.get(value)
        if known is not None and axis in known:
            return known[axis]
        dims = value.dims
        if dims is None or axis >= len(dims) or value.constant is not None:
            return None
        if not isinstance(dims[axis], int) or not dims[axis]:
            return None
        layout = self._source(value, axis, dims[axis])
        self.axes.setdefault(value, {})[axis] = layout
        return layout

    def operand(self, node: Node, index: int, axis: int, fill: Fill = 0) -> Layout | None:
        """The channels of a dim of an operand; a constant can have any, padded with `fill`."""
        value = node.inputs[index]
        if value.constant is None:
            return self.of(value, axis)
        slot = self.slots.setdefault((node, index), Slot(node, index, fill=fill))
        dims = value.dims
        assert dims is not None
        if axis not in slot.axes:
            if axis >= len(dims) or not dims[axis]:
                return None
            slot.axes[axis] = fresh(
                dims[axis], "" if types.is_number(value.elem_type) else "its elements are no numbers"
            )
        return slot.axes[axis]

    def give(self, value: Value, axis: int, layout: Layout | None) -> None:
        """A dim of a result has these channels."""
        if layout is None:
            return
        dims = value.dims
        if dims is None or axis >= len(dims) or dims[axis] != size_of(layout) or len(layout) > MAX_COPIES:
            pin(layout, f"the size of '{value.name}' is not known")
            return
        self.axes.setdefault(value, {})[axis] = layout

    def same(self, one: Layout | None, other: Layout | None) -> None:
        """Two dims have the same channels."""
        if one is None or other is None or size_of(one) != size_of(other):
            for layout in (one, other):
                if layout is not None:
                    pin(layout, "it must agree with a size that is only known when the model runs")
            return
        unify(one, other, self._where)

    def stop(self, value: Value, axis: int, reason: str) -> None:
        """A dim can't have padding."""
        layout = self.of(value, axis) if value.constant is None else None
        if layout is not None:
            pin(layout, reason)

    def layer(self, layer: Layer) -> None:
        """A node that may run on matrix units."""
        self.layers.append(layer)

    # -- the walk --------------------------------------------------------------------------------------------------

    def _link(self, node: Node) -> None:
        if node in self.replaced:
            return
        self._where = f", at {node.op} '{node.label()}'"
        for value in order.values_read(node) if node.bodies else ():
            if value.graph is self.graph:
                self._stop_value(value, f"it is read inside of {node.op} '{node.label()}'")
        try:
            behaviour = self._behaviour(node)
            followed = behaviour.operands(node)
            for index, value in enumerate(node.inputs):
                if index not in followed and value.name:
                    self._stop_value(value, f"{node.op} '{node.label()}' reads them")
            behaviour.link(node, self)
        except Stopped as reason:
            self.stops[node] = text = f"at {node.op} '{node.label()}': {reason}"
            for value in node.inputs:
                if value.name and value.constant is None:
                    self._stop_value(value, text)
            for value in node.outputs:
                self.axes.pop(value, None)
            if is_layer(node):
                self.layer(Layer(node, None, None))

    def _keep_tables(self) -> None:
        """A table that a layer shares, as embeddings are, would be stored twice if only the layer's were padded."""
        tables = {slot.value: slot.looked_up for slot in self.slots.values() if slot.looked_up is not None}
        for slot in self.slots.values():
            axis = tables.get(slot.value)
            if axis is not None and axis in slot.axes and slot.looked_up is None:
                pin(slot.axes[axis], f"'{slot.value.name}' is a table of embeddings too, and would be stored twice")

    def _behaviour(self, node: Node) -> Behaviour:
        model = self.graph.model
        if node.has_attribute_refs:
            raise Stopped("an attribute depends on the call of the local function")
        if model.functions and model.function(node) is not None:
            raise Stopped("it calls a local function")
        if not traits.is_pure(node):
            raise Stopped(f"{node.op} depends on more than its operands")
        return behaviour_of(node)

    def _stop_value(self, value: Value, reason: str) -> None:
        dims = value.dims
        for axis, dim in enumerate(dims or ()):
            if isinstance(dim, int) and dim:
                self.stop(value, axis, reason)

    def _source(self, value: Value, axis: int, size: int) -> Layout:
        """The channels of a dim that no row gave: they stay as they are, but for those of graph inputs on request."""
        node = value.producer
        if node is not None:
            return fresh(size, self.stops.get(node) or f"{node.op} '{node.label()}' makes them")
        if value.is_graph_input and getattr(value, "overridable", False):
            return fresh(size, f"'{value.name}' is a weight that a caller may feed")
        if value.is_graph_input and value.graph is self.graph and self.graph is self.graph.model.graph:
            if self._with_inputs and axis and not value.is_graph_output:
                return fresh(size, at_input=True)
            return fresh(size, f"'{value.name}' is an input of the model")
        return fresh(size, f"'{value.name}' comes from outside of the graph")
