"""Rows for what only moves elements: Transpose, Reshape and its kin, Expand, Resize, depth to space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.channels.along import constant_axes, selection
from onnx_opt.channels.behaviour import Behaviour, dims_of, need, normal
from onnx_opt.channels.content import UNKNOWN, ZERO, widened
from onnx_opt.channels.segments import Layout, fresh, has_holes, padded_size, scaled

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
    from onnx_opt.channels.segments import leaves

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


def _listed(node: Node, index: int, axis: int) -> int | None:
    """Where an operand that holds sizes has that of a dim of the result; None where it leaves leading dims out."""
    content, rank = node.inputs[index].content, len(dims_of(node.outputs[0]))
    position = axis - rank + (content.size if content is not None else rank)
    return position if position >= 0 else None


def _is_writable(node: Node, index: int, axis: int) -> bool:
    """Whether an operand that holds sizes says enough of one dim: a known size, or -1 or 0, which follow the data."""
    content, position = node.inputs[index].content, _listed(node, index, axis)
    return content is not None and (position is None or isinstance(content.ravel()[position], int))


def write_sizes(node: Node, index: int, edit: Edit) -> None:
    """Bring the padded sizes of the result into the operand that lists its dims."""
    content = node.inputs[index].content
    changes = {}
    for axis, layout in edit.channels.axes.get(node.outputs[0], {}).items():
        position = _listed(node, index, axis)
        if has_holes(layout) and content is not None and position is not None:
            element = content.ravel()[position]
            if not isinstance(element, int) or element > 0:
                changes[position] = padded_size(layout)
    if changes:
        edit.set_elements(node, index, changes)


# -- channel shuffle ---------------------------------------------------------------------------------------------------


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


# -- depth and space ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Depth(Behaviour):
    """DepthToSpace and SpaceToDepth: a channel of the one is `blocksize` squared channels of the other."""

    to_space: bool

    def link(self, node: Node, channels: Channels) -> None:
        x, out = node.inputs[0], node.outputs[0]
        few, many = (out, x) if self.to_space else (x, out)
        need(len(dims_of(x)) == 4, "its operand is no image")
        block = int(node.attribute("blocksize")) ** 2
        size = dims_of(few)[1]
        channels.give(out, 0, channels.operand(node, 0, 0))
        for axis in (2, 3):
            channels.stop(x, axis, f"it is a spatial dim of {node.op} '{node.label()}'")
        if not isinstance(size, int):
            channels.stop(x, 1, f"{node.op} '{node.label()}' has channels of unknown number")
            return
        layout = fresh(size) if self.to_space else channels.operand(node, 0, 1)
        if layout is None:
            return
        inner = self.to_space and node.version >= 11 and node.attribute("mode", "DCR") == "CRD"
        row = scaled(layout, block) if inner else layout * block
        if self.to_space:
            channels.same(channels.operand(node, 0, 1), row)
            channels.give(few, 1, layout)
        else:
            channels.give(many, 1, row)

    def content(self, node: Node, contents: Contents) -> None:
        for axis in contents.holed(node.outputs[0]):
            contents.give(node.outputs[0], axis, contents.operand(node, 0, axis))


# -- other sizes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sized(Behaviour):
    """Dims that stay as they are pass: Expand, Tile, Resize. Operand `listed` holds the sizes of the result."""

    listed: Callable[[Node], int | None]
    keeps_point: bool = True
    refuses: Callable[[Node], str] = lambda node: ""

    def link(self, node: Node, channels: Channels) -> None:
        reason = self.refuses(node)
        need(not reason, reason)
        x, out = dims_of(node.inputs[0]), dims_of(node.outputs[0])
        shift = len(out) - len(x)
        index = self.listed(node)
        for axis, dim in enumerate(x):
            to = axis + shift
            kept = isinstance(dim, int) and dim == out[to] and self._is_kept(node, axis)
            if not kept or (index is not None and not _is_writable(node, index, to)):
                channels.stop(node.inputs[0], axis, f"{node.op} '{node.label()}' changes their number")
                continue
            channels.give(node.outputs[0], to, channels.operand(node, 0, axis))

    def _is_kept(self, node: Node, axis: int) -> bool:
        """Whether a dim has its size because it is left alone, not by chance."""
        if node.op in ("Resize", "Upsample") and self.listed(node) is None:
            scales = node.input(2 if node.op == "Resize" and node.version >= 11 else 1)
            known = scales.constant if scales is not None else np.array(node.attribute("scales") or [])
            return known is not None and known.size > axis and float(known.ravel()[axis]) == 1
        return True

    def content(self, node: Node, contents: Contents) -> None:
        shift = len(dims_of(node.outputs[0])) - len(dims_of(node.inputs[0]))
        for to in contents.holed(node.outputs[0]):
            found = contents.operand(node, 0, to - shift)
            if self.keeps_point:
                contents.give(node.outputs[0], to, found)
            else:
                contents.give(node.outputs[0], to, ZERO if found == ZERO else widened(found))

    def rebuild(self, node: Node, edit: Edit) -> None:
        index = self.listed(node)
        if index is not None:
            write_sizes(node, index, edit)


class Measuring(Behaviour):
    """Shape: whoever reads it is told the sizes without padding."""

    def link(self, node: Node, channels: Channels) -> None:
        dims_of(node.inputs[0])

    def rebuild(self, node: Node, edit: Edit) -> None:
        rank = len(dims_of(node.inputs[0]))
        start, end, _ = slice(node.attribute("start", 0), node.attribute("end", rank)).indices(rank)
        extra = np.zeros(max(end - start, 0), np.int64)
        for axis, layout in edit.channels.axes.get(node.inputs[0], {}).items():
            if start <= axis < end and has_holes(layout):
                extra[axis - start] = padded_size(layout) - dims_of(node.inputs[0])[axis]
        if extra.any():
            edit.subtract(node, extra)


__all__ = ["Depth", "Measuring", "Sized", "Squeezing", "Transposing", "Viewing", "normal"]
