"""Sequences and optionals whose elements are known: what takes an element out takes the element itself.

Sequences are followed from where they are made through what inserts, erases and splits, in the order of execution. What
a Loop carries, what comes from outside, and positions that are only known when the model runs stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from onnx_opt.ir import Graph, Node, Origin, Value
from onnx_opt.passes import PassContext
from onnx_opt.types import OptionalType, SequenceType, TensorType

RULE = "sequence-elements"
OPERATORS = frozenset({
    "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt", "SequenceConstruct",
    "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SplitToSequence",
})  # fmt: skip
MOST_ELEMENTS = 1024
"""Sequences longer than this stay."""
AXES_ARE_OPERANDS = 13


def take_apart(graph: Graph, context: PassContext) -> None:
    """Replace what reads sequences of known elements, in the whole model."""
    elements = _Elements(context)
    for inner in graph.model.all_graphs():
        for node in inner:
            if not node.domain and (node.op in OPERATORS or node.op == "Identity") and not node.has_attribute_refs:
                elements.follow(node)
    elements.drop_unread()
    graph.model.settle()


class _Elements:
    """What is known of the sequences of a model."""

    def __init__(self, context: PassContext) -> None:
        self.context = context
        self.known: dict[Value, list[Value]] = {}
        self.optionals: dict[Value, Value | None] = {}
        self.made: list[Node] = []

    def drop_unread(self) -> None:
        """Remove the nodes for elements that nobody took out."""
        for node in reversed(self.made):
            if node.graph is not None and not any(value.uses for value in node.outputs):
                node.graph.erase(node)

    def follow(self, node: Node) -> None:
        """Note what a node makes, or replace what it takes out."""
        made = _MAKERS.get(node.op)
        if made is not None:
            found = made(self, node)
            if found is not None and len(found) <= MOST_ELEMENTS:
                self.known[node.outputs[0]] = found
            return
        if node.op == "Optional":
            self._optional(node)
            return
        if not self.context.admit(RULE, node):
            return
        result = _READERS[node.op](self, node)
        if result is None:
            self.context.declined(RULE, node, "the elements of the sequence are not known")
        else:
            self._replace(node, result)

    def _replace(self, node: Node, new: Value) -> None:
        graph, old = node.graph, node.outputs[0]
        assert graph is not None
        graph.replace_value(old, new)
        self.context.applied(RULE, [node.label()], Origin.merge(RULE, [node.origin]), [old.name])

    # -- what makes a sequence -----------------------------------------------------------------------------------------

    def construct(self, node: Node) -> list[Value] | None:
        return list(node.inputs)

    def empty(self, node: Node) -> list[Value] | None:
        return []

    def same(self, node: Node) -> list[Value] | None:
        return self.known.get(node.inputs[0])

    def insert(self, node: Node) -> list[Value] | None:
        before, where = self.known.get(node.inputs[0]), node.input(2)
        if before is None:
            return None
        place = len(before) if where is None else _number(where)
        if place is None or not -len(before) <= place <= len(before):
            return None
        place += len(before) if place < 0 else 0
        return [*before[:place], node.inputs[1], *before[place:]]

    def erase(self, node: Node) -> list[Value] | None:
        before, where = self.known.get(node.inputs[0]), node.input(1)
        place = -1 if where is None else _number(where)
        if not before or place is None or not -len(before) <= place < len(before):
            return None
        return [value for index, value in enumerate(before) if index != place % len(before)]

    def split(self, node: Node) -> list[Value] | None:
        sizes = _sizes(node)
        if sizes is None or len(sizes) > MOST_ELEMENTS or not self.context.admit(RULE, node):
            return None
        axis, x = int(node.attribute("axis", 0)), node.inputs[0]
        parts = [x] if len(sizes) == 1 else self._split(node, x, sizes, axis)
        if node.input(1) is None and not node.attribute("keepdims", 1):
            parts = [self._reshaped(node, "Squeeze", part, axis) for part in parts]
        return parts

    # -- what reads one ------------------------------------------------------------------------------------------------

    def at(self, node: Node) -> Value | None:
        items, place = self.known.get(node.inputs[0]), _number(node.inputs[1])
        if items is None or place is None or not -len(items) <= place < len(items):
            return None
        return items[place]

    def length(self, node: Node) -> Value | None:
        items, graph = self.known.get(node.inputs[0]), node.graph
        assert graph is not None
        return None if items is None else graph.add_constant(np.array(len(items), np.int64), node.label())

    def concat(self, node: Node) -> Value | None:
        items = self.known.get(node.inputs[0])
        if not items:
            return None
        axis = int(node.attribute("axis", 0))
        if node.attribute("new_axis", 0):
            items = [self._reshaped(node, "Unsqueeze", item, axis) for item in items]
        return self._insert(node, "Concat", list(items), {"axis": axis})[0]

    # -- optionals -----------------------------------------------------------------------------------------------------

    def _optional(self, node: Node) -> None:
        self.optionals[node.outputs[0]] = node.input(0)

    def _content(self, node: Node) -> tuple[bool, Value | None]:
        """Whether it is known what an optional holds, and that; a value that is no optional holds itself."""
        value = node.input(0)
        if value is None or value in self.optionals:
            return True, None if value is None else self.optionals[value]
        kind = value.graph.model.facts.type(value) if value.graph is not None else None
        plain = isinstance(kind, TensorType | SequenceType) and not isinstance(kind, OptionalType)
        return plain, value

    def get(self, node: Node) -> Value | None:
        known, content = self._content(node)
        return content if known else None

    def has(self, node: Node) -> Value | None:
        known, content = self._content(node)
        assert node.graph is not None
        return node.graph.add_constant(np.array(content is not None), node.label()) if known else None

    # -- new nodes -----------------------------------------------------------------------------------------------------

    def _split(self, node: Node, x: Value, sizes: list[int], axis: int) -> list[Value]:
        graph = node.graph
        assert graph is not None
        if node.version < AXES_ARE_OPERANDS:
            return self._insert(node, "Split", [x], {"axis": axis, "split": sizes}, len(sizes))
        return self._insert(
            node, "Split", [x, graph.add_constant(np.array(sizes, np.int64))], {"axis": axis}, len(sizes)
        )

    def _reshaped(self, node: Node, op: str, value: Value, axis: int) -> Value:
        """Squeeze or Unsqueeze at one axis."""
        graph = node.graph
        assert graph is not None
        if node.version < AXES_ARE_OPERANDS:
            return self._insert(node, op, [value], {"axes": [axis]})[0]
        return self._insert(node, op, [value, graph.add_constant(np.array([axis], np.int64))], {})[0]

    def _insert(
        self, node: Node, op: str, operands: list[Value], attrs: dict[str, Any], outputs: int = 1
    ) -> list[Value]:
        """The results of a new node right before `node`."""
        graph = node.graph
        assert graph is not None
        origin = Origin.merge(RULE, [node.origin])
        made = graph.insert(graph.make_node(op, operands, attrs, "", outputs, node.label(), origin), node)
        self.made.append(made)
        return list(made.outputs)


_MAKERS: dict[str, Callable[[_Elements, Node], list[Value] | None]] = {
    "SequenceConstruct": _Elements.construct,
    "SequenceEmpty": _Elements.empty,
    "SequenceInsert": _Elements.insert,
    "SequenceErase": _Elements.erase,
    "SplitToSequence": _Elements.split,
    "Identity": _Elements.same,
}
_READERS: dict[str, Callable[[_Elements, Node], Value | None]] = {
    "SequenceAt": _Elements.at,
    "SequenceLength": _Elements.length,
    "ConcatFromSequence": _Elements.concat,
    "OptionalGetElement": _Elements.get,
    "OptionalHasElement": _Elements.has,
}


def _number(value: Value) -> int | None:
    array = value.constant
    return int(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def _sizes(node: Node) -> list[int] | None:
    """The sizes of the parts that SplitToSequence makes, None where they are not known."""
    dims = node.inputs[0].dims
    axis = int(node.attribute("axis", 0))
    if not dims or not -len(dims) <= axis < len(dims) or not isinstance(dims[axis], int):
        return None
    total, split = dims[axis], node.input(1)
    if split is not None and (split.constant is None or split.rank is None):
        return None
    if split is not None and split.rank == 1:
        sizes = [int(size) for size in split.constant]  # type: ignore[union-attr]
        return sizes if sizes and sum(sizes) == total and min(sizes) >= 0 else None
    step = 1 if split is None else _number(split)
    if not step or step < 0 or not total or total > step * MOST_ELEMENTS:
        return None
    return [min(step, total - start) for start in range(0, total, step)]
