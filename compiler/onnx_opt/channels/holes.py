"""What padded channels hold in every value of a graph, and which padding its consumers can't take in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from onnx_opt.channels.behaviour import behaviour_of
from onnx_opt.channels.content import UNKNOWN, ZERO, Content, Range, within
from onnx_opt.channels.segments import Layout, Segment, has_holes, is_leading, pin, segments

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.ir import Node, Value


def settle(channels: Channels) -> Contents:
    """Take padding away until all that is left is taken in by its consumers; returns what the rest holds."""
    while True:
        contents = Contents(channels)
        contents.follow()
        if not contents.refused:
            return contents
        for layout, reason in contents.refused:
            for leaf, _ in segments(layout):
                if leaf.padded != leaf.size:
                    leaf.padded = leaf.size
                    pin((Segment(leaf),), reason)


class Contents:
    """What padding holds, by value and axis, with the leaves padded as they are now."""

    def __init__(self, channels: Channels):
        self.channels = channels
        self.refused: list[tuple[Layout, str]] = []
        """Padding that a consumer can't take in, and why."""
        self._known: dict[tuple[Value, int], Content] = {}
        self._holed: dict[Value, tuple[int, ...]] = {}

    def follow(self) -> None:
        """Ask the row of every node that padding reaches, in execution order."""
        for value in self.channels.graph.inputs:
            for axis in self.holed(value):
                self._enter(value, axis)
        for node in self.channels.graph:
            if node in self.channels.stops or node in self.channels.replaced:
                continue
            if self.touches(node):
                behaviour_of(node).content(node, self)

    def _enter(self, value: Value, axis: int) -> None:
        """Graph inputs are padded with zeros behind their channels."""
        self.give(value, axis, ZERO)
        if not is_leading(self.channels.axes[value][axis]):
            self.refuse(value, axis, f"the channels of the input '{value.name}' are cut into parts")

    def touches(self, node: Node) -> bool:
        """Whether any operand or result of a node has padding."""
        if any(map(self.holed, node.inputs)) or any(map(self.holed, node.outputs)):
            return True
        return any(
            self.is_holed(node, index, axis) for index in range(len(node.inputs)) for axis in self._slot(node, index)
        )

    def _slot(self, node: Node, index: int) -> Iterable[int]:
        slot = self.channels.slots.get((node, index))
        return slot.axes if slot is not None else ()

    # -- questions of rows -----------------------------------------------------------------------------------------

    def holed(self, value: Value) -> tuple[int, ...]:
        """The axes of a value that have padding."""
        found = self._holed.get(value)
        if found is None:
            axes = self.channels.axes.get(value, {})
            found = self._holed[value] = tuple(axis for axis, layout in axes.items() if has_holes(layout))
        return found

    def is_holed(self, node: Node, index: int, axis: int) -> bool:
        """Whether a dim of an operand has padding."""
        slot = self.channels.slots.get((node, index))
        if slot is not None:
            return axis in slot.axes and has_holes(slot.axes[axis])
        return axis in self.holed(node.inputs[index])

    def of(self, value: Value, axis: int) -> Content:
        """What the padding of a dim holds; ZERO where there is none."""
        return self._known.get((value, axis), UNKNOWN) if axis in self.holed(value) else ZERO

    def operand(self, node: Node, index: int, axis: int) -> Content:
        """What the padding of a dim of an operand holds; ZERO where there is none or no such operand."""
        if node.input(index) is None or not self.is_holed(node, index, axis):
            return ZERO
        slot = self.channels.slots.get((node, index))
        if slot is None:
            return self.of(node.inputs[index], axis)
        return Range(slot.fill, slot.fill) if slot.like is None else UNKNOWN

    # -- statements of rows ----------------------------------------------------------------------------------------

    def give(self, value: Value, axis: int, content: Content) -> None:
        """The padding of a dim of a result holds this."""
        if axis in self.holed(value):
            self._known[value, axis] = within(content, value.elem_type)

    def refuse(self, value: Value, axis: int, reason: str) -> None:
        """A consumer can't take in the padding of a dim."""
        layout = self.channels.axes.get(value, {}).get(axis)
        if layout is not None:
            self.refused.append((layout, reason))

    def take_in(self, node: Node, index: int, axis: int, exact: bool = False) -> bool:
        """Whether the padding of a dim may meet weights of zero (or, where `exact`, be added up with the rest); what
        may not is refused."""
        content = self.operand(node, index, axis)
        if content == ZERO or (content is not None and not exact):
            return True
        what = "is not known to be finite" if content is None else "is not zero"
        self.refuse(node.inputs[index], axis, f"what {node.op} '{node.label()}' would read from the padding {what}")
        return False
