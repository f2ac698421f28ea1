"""Rows for what speaks of sizes: Expand, Tile, Resize, Shape, and depth that becomes space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.channels.behaviour import Behaviour, dims_of, need
from onnx_opt.channels.content import ZERO, widened
from onnx_opt.channels.segments import fresh, has_holes, padded_size, scaled

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.channels.apply import Edit
    from onnx_opt.channels.holes import Contents
    from onnx_opt.ir import Node


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
