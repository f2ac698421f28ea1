"""Channel shuffles: Reshape, Transpose, Reshape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.channels.behaviour import dims_of
from onnx_opt.channels.parts import selection
from onnx_opt.channels.segments import fresh, has_holes

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.channels.apply import Edit
    from onnx_opt.channels.holes import Contents
    from onnx_opt.ir import Node


@dataclass(frozen=True)
class Shuffle:
    """Reshape, Transpose, Reshape that only exchange channels: one Gather does the same between any places."""

    first: Node
    last: Node
    axis: int
    groups: int
    each: int
    others: tuple[Node, ...]

    @staticmethod
    def at(node: Node, channels: Channels) -> Shuffle | None:
        """The shuffle that begins at a Reshape: [.., C, ..] -> [.., g, c, ..] -> [.., c, g, ..] -> [.., C, ..]."""
        turn = _only_reader(node)
        last = _only_reader(turn) if turn is not None and turn.op == "Transpose" else None
        if turn is None or last is None or last.op != "Reshape" or node.inputs[0].constant is not None:
            return None
        x, middle, out = node.inputs[0].dims, node.outputs[0].dims, last.outputs[0].dims
        if x is None or middle is None or out is None or len(middle) != len(x) + 1:
            return None
        perm, shapes = list(turn.attribute("perm") or range(len(middle))[::-1]), channels.facts.shapes
        moved = [axis for axis, to in enumerate(perm) if axis != to]
        if len(moved) != 2 or moved[1] != moved[0] + 1 or not shapes.same(x, out):
            return None
        axis = moved[0]
        groups, each = middle[axis], middle[axis + 1]
        rest = (*middle[:axis], x[axis], *middle[axis + 2 :])
        if not (isinstance(groups, int) and isinstance(each, int) and groups * each == x[axis]):
            return None
        return Shuffle(node, last, axis, groups, each, (turn, last)) if shapes.same(x, rest) else None

    def link(self, channels: Channels) -> None:
        channels.replaced.update(dict.fromkeys(self.others))
        if channels.of(self.first.inputs[0], self.axis) is not None:
            channels.give(self.last.outputs[0], self.axis, fresh(self.groups * self.each))
        for axis in range(len(dims_of(self.first.inputs[0]))):
            if axis != self.axis:
                channels.give(self.last.outputs[0], axis, channels.of(self.first.inputs[0], axis))

    def content(self, contents: Contents) -> None:
        x, out = self.first.inputs[0], self.last.outputs[0]
        for axis in contents.holed(out):
            if axis != self.axis or axis in contents.holed(x):
                contents.give(out, axis, contents.of(x, axis))
            else:
                contents.refuse(out, axis, f"the shuffle at '{self.first.label()}' has no padding to take theirs from")
        for axis in contents.holed(x):
            if axis != self.axis:
                contents.refuse(x, axis, f"the shuffle at '{self.first.label()}' has several padded dims")

    def rebuild(self, edit: Edit) -> None:
        before = edit.layout(self.first.inputs[0], self.axis)
        after = edit.layout(self.last.outputs[0], self.axis)
        if before is None or not (has_holes(before) or (after is not None and has_holes(after))):
            return
        order = np.arange(self.groups * self.each).reshape(self.groups, self.each).T.ravel()
        edit.select(self.first.inputs[0], self.last, selection(before, after, order), self.axis)


def _only_reader(node: Node) -> Node | None:
    """The one node that reads the result of a node."""
    uses = list(node.outputs[0].uses)
    if len(uses) != 1 or uses[0][0].is_graph or uses[0][1] != 0 or uses[0][0].graph is not node.graph:
        return None
    user: Node = uses[0][0]
    return user if not user.domain and not node.outputs[0].pinned else None
