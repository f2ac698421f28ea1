"""Rows for what shows the same elements in other dims: Transpose, Squeeze, Unsqueeze, Reshape, Flatten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from onnx_opt.channels.along import constant_axes
from onnx_opt.channels.behaviour import Behaviour, dims_of, need
from onnx_opt.channels.content import UNKNOWN
from onnx_opt.channels.segments import Layout, fresh, leaves, scaled
from onnx_opt.channels.shuffle import Shuffle
from onnx_opt.channels.sizes import write_sizes

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.channels.apply import Edit
    from onnx_opt.channels.holes import Contents
    from onnx_opt.ir import Node

Axes = tuple[int, ...]


class Moving(Behaviour):
    """A row that says by `moves` which axis of the operand becomes which of the result; their content is the same."""

    def moves(self, node: Node) -> list[tuple[int, int]]:
        """(axis of the operand, axis of the result) for each that passes."""
        raise NotImplementedError

    def link(self, node: Node, channels: Channels) -> None:
        moves = self.moves(node)
        for axis, to in moves:
            channels.give(node.outputs[0], to, channels.operand(node, 0, axis))
        for axis in set(range(len(dims_of(node.inputs[0])))) - {axis for axis, _ in moves}:
            channels.stop(node.inputs[0], axis, f"{node.op} '{node.label()}' drops this dim")

    def content(self, node: Node, contents: Contents) -> None:
        for axis, to in self.moves(node):
            contents.give(node.outputs[0], to, contents.operand(node, 0, axis))


class Transposing(Moving):
    def moves(self, node: Node) -> list[tuple[int, int]]:
        rank = len(dims_of(node.inputs[0]))
        perm = node.attribute("perm") or range(rank)[::-1]
        return [(axis, to) for to, axis in enumerate(perm)]


@dataclass(frozen=True)
class Squeezing(Moving):
    """Squeeze and Unsqueeze: dims of 1 go or come."""

    drops: bool

    def moves(self, node: Node) -> list[tuple[int, int]]:
        x, out = dims_of(node.inputs[0]), dims_of(node.outputs[0])
        wide = x if self.drops else out
        axes = constant_axes(node, "axes", 1, len(wide))
        if axes is None:
            axes = [axis for axis, dim in enumerate(x) if dim == 1]
        left = [axis for axis in range(len(wide)) if axis not in axes]
        return [(axis, to) if self.drops else (to, axis) for to, axis in enumerate(left)]


# -- views: the same elements in another shape -------------------------------------------------------------------------


class Viewing(Behaviour):
    """Reshape and Flatten: dims pass one to one, or channels are flattened with dims around them, or split so."""

    def link(self, node: Node, channels: Channels) -> None:
        if node.op == "Reshape" and (shuffle := Shuffle.at(node, channels)) is not None:
            shuffle.link(channels)
            return
        x, out = node.inputs[0], node.outputs[0]
        need(node.op == "Flatten" or node.version >= 5, "it has its shape in an attribute")
        for axis, dim in enumerate(dims_of(x)):
            if dim == 1:
                channels.stop(x, axis, f"{node.op} '{node.label()}' may drop this dim")
        for before, after in _groups(dims_of(x), dims_of(out), channels):
            if len(before) == len(after) == 1:
                channels.give(out, after[0], channels.operand(node, 0, before[0]))
            elif len(after) == 1:
                self._merge(node, channels, before, after[0])
            elif len(before) == 1:
                self._split(node, channels, before[0], after)
            else:
                for axis in before:
                    channels.stop(x, axis, f"{node.op} '{node.label()}' regroups them")
        self._check_sizes(node, channels)

    def _merge(self, node: Node, channels: Channels, before: Axes, to: int) -> None:
        """Several dims become one: only one of them can have padding."""
        x = node.inputs[0]
        dims = dims_of(x)
        layouts = [channels.operand(node, 0, axis) for axis in before]
        free = [k for k, layout in enumerate(layouts) if layout is not None and not _is_stopped(layout)]
        if not free:
            return
        carrier = free[0]
        sizes = [dims[axis] for axis in before]
        others = sizes[:carrier] + sizes[carrier + 1 :]
        for k, axis in enumerate(before):
            if k != carrier or not all(isinstance(size, int) for size in others):
                channels.stop(x, axis, f"{node.op} '{node.label()}' merges them with other dims")
        layout = layouts[carrier]
        if layout is not None and all(isinstance(size, int) for size in others):
            outer, inner = prod(sizes[:carrier]), prod(sizes[carrier + 1 :])
            channels.give(node.outputs[0], to, scaled(layout, inner) * outer)

    def _split(self, node: Node, channels: Channels, axis: int, after: Axes) -> None:
        """One dim becomes several: the largest of them carries the padding."""
        out = node.outputs[0]
        sizes = [dims_of(out)[to] for to in after]
        if not all(isinstance(size, int) for size in sizes):
            channels.stop(node.inputs[0], axis, f"{node.op} '{node.label()}' splits them into dims of unknown size")
            return
        carrier = max(range(len(after)), key=lambda k: sizes[k])
        layout = fresh(sizes[carrier])
        inner, outer = prod(sizes[carrier + 1 :]), prod(sizes[:carrier])
        channels.same(channels.operand(node, 0, axis), scaled(layout, inner) * outer)
        channels.give(out, after[carrier], layout)

    def _check_sizes(self, node: Node, channels: Channels) -> None:
        """What the shape operand says of a dim must be known, if its size is to change."""
        if node.op != "Reshape":
            return
        x, out = node.inputs[0], node.outputs[0]
        content = node.inputs[1].content
        for axis in range(len(dims_of(out))):
            if content is None or not isinstance(content.ravel()[axis], int):
                channels.stop(out, axis, f"{node.op} '{node.label()}' computes their number when the model runs")
            elif content.ravel()[axis] == 0 and axis < len(dims_of(x)):
                self._check_copied(node, channels, axis)

    def _check_copied(self, node: Node, channels: Channels, axis: int) -> None:
        """0 in the shape copies a dim by its position: that must be the dim that holds the same channels."""
        before, after = (channels.axes.get(value, {}).get(axis) for value in (node.inputs[0], node.outputs[0]))
        if before is not after:
            for value in (node.inputs[0], node.outputs[0]):
                channels.stop(value, axis, f"{node.op} '{node.label()}' copies their number from another dim")

    def content(self, node: Node, contents: Contents) -> None:
        if node.op == "Reshape" and (shuffle := Shuffle.at(node, contents.channels)) is not None:
            shuffle.content(contents)
            return
        for before, after in _groups(dims_of(node.inputs[0]), dims_of(node.outputs[0]), contents.channels):
            found = [contents.operand(node, 0, axis) for axis in before if contents.is_holed(node, 0, axis)]
            for axis in after:
                contents.give(node.outputs[0], axis, found[0] if found else UNKNOWN)

    def rebuild(self, node: Node, edit: Edit) -> None:
        if node.op != "Reshape":
            return
        shuffle = Shuffle.at(node, edit.channels)
        if shuffle is not None:
            shuffle.rebuild(edit)
        else:
            write_sizes(node, 1, edit)


def _is_stopped(layout: Layout) -> bool:
    return all(leaf.pin for leaf in leaves(layout))


def _groups(before: tuple[Any, ...], after: tuple[Any, ...], channels: Channels) -> Iterator[tuple[Axes, Axes]]:
    """Axes of the operand and of the result that hold the same elements, as few at a time as can be proven; dims of 1
    are in none. Raises Stopped where that fails."""
    shapes = channels.facts.shapes
    a = [axis for axis, dim in enumerate(before) if dim != 1]
    b = [axis for axis, dim in enumerate(after) if dim != 1]
    while a or b:
        need(a and b, "its dims can't be told apart")
        mine, theirs = [a.pop(0)], [b.pop(0)]
        have, want = before[mine[0]], after[theirs[0]]
        while not shapes.equal(have, want):
            if _divides(shapes, have, want) and a:
                mine.append(a.pop(0))
                have = shapes.mul(have, before[mine[-1]])
            elif b:
                theirs.append(b.pop(0))
                want = shapes.mul(want, after[theirs[-1]])
            else:
                need(a, "its dims can't be told apart")
                mine.append(a.pop(0))
                have = shapes.mul(have, before[mine[-1]])
        yield tuple(mine), tuple(theirs)


def _divides(shapes: Any, small: Any, large: Any) -> bool:
    """Whether more dims must come to the smaller side."""
    if isinstance(small, int) and isinstance(large, int):
        return small < large
    return shapes.quotient(large, small) is not None
