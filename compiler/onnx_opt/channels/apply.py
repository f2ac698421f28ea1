"""The rewrite: constants padded, sizes brought up to date, one selection before each output of the graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt import types
from onnx_opt.channels.behaviour import behaviour_of
from onnx_opt.channels.segments import Layout, has_holes, is_leading, padded_size, places, segments, size_of
from onnx_opt.ir import Origin

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels, Slot
    from onnx_opt.channels.holes import Contents
    from onnx_opt.ir import Constant, Graph, Node, Value

SIZES_ARE_AN_OPERAND = 11
"""The operator set from which Pad takes its amounts as an operand; Slice does so from 10 on."""


def apply(channels: Channels, contents: Contents, rule: str) -> None:
    """Pad what the leaves' sizes ask for; `contents` knows which nodes that touches."""
    graph = channels.graph
    edit = Edit(channels, rule)
    touched = [node for node in graph if contents.touches(node)]
    values = [value for value in channels.axes if contents.holed(value)]
    outputs = [value for value in dict.fromkeys(graph.outputs) if contents.holed(value)]
    inputs = [value for value in graph.inputs if contents.holed(value)]
    for node in touched:
        if node not in channels.stops and node not in channels.replaced:
            behaviour_of(node).rebuild(node, edit)
    for slot in channels.slots.values():
        if any(map(has_holes, slot.axes.values())):
            graph.set_input(slot.node, slot.index, edit.padded_constant(slot))
    for node in touched:
        if node.alive:
            graph.set_origin(node, Origin.merge(rule, [node.origin]))
    for value in inputs:
        edit.pad_input(value)
    for value in outputs:
        edit.cut_output(value)
    edit.redeclare(value for value in values if value not in set(inputs))
    graph.model.settle()


class Edit:
    """What rows change of their nodes."""

    def __init__(self, channels: Channels, rule: str):
        self.channels = channels
        self.graph: Graph = channels.graph
        self.rule = rule
        self._padded: dict[Any, Constant] = {}

    # -- for rows --------------------------------------------------------------------------------------------------

    def layout(self, value: Value, axis: int) -> Layout | None:
        """The channels of a dim of a value, where they are followed."""
        return self.channels.axes.get(value, {}).get(axis)

    def operand_layout(self, node: Node, index: int, axis: int) -> Layout | None:
        """The channels of a dim of an operand, which may be a constant."""
        slot = self.channels.slots.get((node, index))
        return slot.axes.get(axis) if slot is not None else self.layout(node.inputs[index], axis)

    def set_operand(self, node: Node, index: int, array: np.ndarray) -> None:
        """Let an operand be a new constant."""
        value = node.input(index)
        constant = self.graph.add_constant(array, value.name if value is not None else f"{node.label()}_sizes")
        if index < len(node.inputs):
            self.graph.set_input(node, index, constant)
        else:
            node.inputs = [*node.inputs, constant]

    def set_elements(self, node: Node, index: int, elements: dict[int, int]) -> None:
        """Change elements of a 1-D operand; where it is computed, they must be known, and the difference is added."""
        value = node.inputs[index]
        if value.constant is not None:
            array = value.constant.copy()
            for position, element in elements.items():
                array[position] = element
            self.set_operand(node, index, array)
            return
        content, dtype = value.content, types.numpy_dtype(value.elem_type)
        assert content is not None
        extra = np.zeros(content.size, dtype)
        for position, element in elements.items():
            extra[position] = element - content.ravel()[position]
        constant = self.graph.add_constant(extra, f"{value.name}_padding")
        total = self._insert("Add", [value, constant], {}, value.name, node)
        self.graph.set_input(node, index, total.outputs[0])

    def subtract(self, node: Node, extra: np.ndarray) -> None:
        """Let the first result of a node be less by `extra`: what reads it sees no change."""
        twin = self._insert(node.op, list(node.inputs), dict(node.attrs), node.label(), node)
        constant = self.graph.add_constant(extra, f"{node.label()}_padding")
        rest = self._insert("Sub", [twin.outputs[0], constant], {}, node.label(), node)
        self.graph.take_output(rest, 0, node, 0)

    def select(self, value: Value, last: Node, indices: np.ndarray, axis: int) -> None:
        """Let the result of `last` be a selection from a value."""
        constant = self.graph.add_constant(indices.astype(np.int64), f"{last.label()}_channels")
        gather = self._insert("Gather", [value, constant], {"axis": axis}, last.label(), last)
        self.graph.take_output(gather, 0, last, 0)

    def _insert(self, op: str, inputs: list[Value], attrs: dict[str, Any], name: str, before: Node | None) -> Node:
        origin = Origin.merge(self.rule, [before.origin]) if before is not None else Origin.of_node(name)
        node = self.graph.make_node(op, inputs, attrs, name=name, origin=origin)
        return self.graph.insert(node, before)

    # -- constants -------------------------------------------------------------------------------------------------

    def padded_constant(self, slot: Slot) -> Constant:
        """The constant of a slot with its padding, the same one for slots that agree."""
        array = slot.value.constant
        assert array is not None
        key = slot.value, _key(slot), slot.fill, None if slot.like is None else (slot.like[0].value, slot.like[1])
        if key not in self._padded:
            self._padded[key] = self.graph.add_constant(_pad(slot), slot.value.name)
        return self._padded[key]

    # -- the interface ---------------------------------------------------------------------------------------------

    def pad_input(self, value: Value) -> None:
        """Pad a graph input behind itself."""
        dims = value.dims
        assert dims is not None
        more = [0] * len(dims)
        for axis, layout in self.channels.axes[value].items():
            more[axis] = padded_size(layout) - size_of(layout)
        pads = [0] * len(dims) + more
        if self.graph.opsets.get("", 0) < SIZES_ARE_AN_OPERAND:
            node = self.graph.make_node("Pad", [value], {"pads": pads}, name=f"{value.name}_padded")
        else:
            amounts = self.graph.add_constant(np.array(pads, np.int64), f"{value.name}_pads")
            node = self.graph.make_node("Pad", [value, amounts], name=f"{value.name}_padded")
        self.graph.set_origin(node, Origin.of_node(value.name))
        self.graph.replace_uses(value, node.outputs[0])
        self.graph.insert(node, self.graph.head)

    def cut_output(self, value: Value) -> None:
        """Give out a value of the graph without its padding, under its name."""
        graph, name, declared = self.graph, value.name, value.declared
        layouts = {axis: layout for axis, layout in self.channels.axes[value].items() if has_holes(layout)}
        origin = Origin.merge(self.rule, [value.producer.origin]) if value.producer is not None else None
        leading = {axis: size_of(layout) for axis, layout in layouts.items() if is_leading(layout)}
        new = value
        if leading:
            new = self._slice(new, leading, origin)
        for axis, layout in layouts.items():
            if axis not in leading:
                indices = graph.add_constant(places(layout).astype(np.int64), f"{name}_channels")
                node = graph.make_node("Gather", [new, indices], {"axis": axis}, name=name, origin=origin)
                new = graph.insert(node).outputs[0]
        graph.set_graph_outputs([new if each is value else each for each in graph.outputs])
        if declared is not None:
            graph.declare(new, declared)
        graph.rename(value, graph.fresh(f"{name}_padded"))
        graph.rename(new, name)

    def _slice(self, value: Value, sizes: dict[int, int], origin: Origin | None) -> Value:
        graph, lists = self.graph, ([0] * len(sizes), list(sizes.values()), list(sizes))
        if graph.opsets.get("", 0) < SIZES_ARE_AN_OPERAND - 1:
            attrs = dict(zip(("starts", "ends", "axes"), lists, strict=True))
            node = graph.make_node("Slice", [value], attrs, name=value.name, origin=origin)
        else:
            operands = [graph.add_constant(np.array(each, np.int64), f"{value.name}_cut") for each in lists]
            node = graph.make_node("Slice", [value, *operands], name=value.name, origin=origin)
        return graph.insert(node).outputs[0]

    def redeclare(self, values: Iterable[Value]) -> None:
        """Bring declared types up to date, and drop what was known of the values."""
        changed = []
        for value in values:
            changed.append(value)
            declared = value.declared
            shape = getattr(declared, "shape", None)
            if shape is None or value.producer is None:
                continue
            axes = self.channels.axes[value]
            sizes = [padded_size(axes[k]) if k in axes and has_holes(axes[k]) else dim for k, dim in enumerate(shape)]
            self.graph.declare(value, declared.with_shape(sizes))  # type: ignore[union-attr]
        self.graph.model.facts.forget(*changed)


def _key(slot: Slot) -> tuple[Any, ...]:
    """What two slots of one constant must agree in to share its padded form."""
    rows = ((axis, segments(layout)) for axis, layout in sorted(slot.axes.items()) if has_holes(layout))
    return tuple((axis, tuple((leaf.size, leaf.padded, inner) for leaf, inner in row)) for axis, row in rows)


def _pad(slot: Slot) -> np.ndarray:
    """The array of a slot in its padded shape."""
    array = slot.value.constant
    assert array is not None
    axes = slot.axes
    shape = [padded_size(axes[k]) if k in axes else size for k, size in enumerate(array.shape)]
    padded = np.full(shape, slot.fill, array.dtype)
    if slot.like is not None:
        other, axis = slot.like
        padded[...] = _pad(other).reshape([-1 if k == axis else 1 for k in range(array.ndim)])
    if all(is_leading(layout) for layout in axes.values()):
        padded[tuple(slice(size) for size in array.shape)] = array
    else:
        padded[np.ix_(*(places(axes[k]) if k in axes else np.arange(n) for k, n in enumerate(array.shape)))] = array
    return padded
