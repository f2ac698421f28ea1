"""Rows for what joins dims and takes parts of them: Concat, Split, Slice, Gather."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.channels.along import constant_axes
from onnx_opt.channels.behaviour import Behaviour, dims_of, need, normal
from onnx_opt.channels.content import hull
from onnx_opt.channels.segments import Layout, fresh, has_holes, holes, padded_size, places

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.channels.apply import Edit
    from onnx_opt.channels.holes import Contents
    from onnx_opt.ir import Node


class Concatenating(Behaviour):
    """Concat: its dim is the row of those of its operands."""

    def operands(self, node: Node) -> Iterable[int]:
        return range(len(node.inputs))

    def link(self, node: Node, channels: Channels) -> None:
        out = node.outputs[0]
        rank = len(dims_of(out))
        along = normal(int(node.attribute("axis", 1)), rank)
        for axis in range(rank):
            parts = [channels.operand(node, index, axis) for index in range(len(node.inputs))]
            if axis == along:
                self._join(node, channels, axis, parts)
                continue
            for part in parts[1:]:
                channels.same(parts[0], part)
            channels.give(out, axis, parts[0])

    def _join(self, node: Node, channels: Channels, axis: int, parts: list[Layout | None]) -> None:
        sizes = [dims_of(value)[axis] for value in node.inputs]
        if all(part is not None or size == 0 for part, size in zip(parts, sizes, strict=True)):
            channels.give(node.outputs[0], axis, tuple(segment for part in parts for segment in part or ()))
            return
        for value in node.inputs:
            channels.stop(value, axis, f"Concat '{node.label()}' joins them with dims of unknown size")

    def content(self, node: Node, contents: Contents) -> None:
        for axis in contents.holed(node.outputs[0]):
            found = [
                contents.operand(node, k, axis) for k in range(len(node.inputs)) if contents.is_holed(node, k, axis)
            ]
            contents.give(node.outputs[0], axis, hull(found))


class Splitting(Behaviour):
    """Split: the row of the results' dims is that of the operand."""

    def link(self, node: Node, channels: Channels) -> None:
        x = node.inputs[0]
        rank = len(dims_of(x))
        along = normal(int(node.attribute("axis", 0)), rank)
        need(all(value.name for value in node.outputs), "one of its results has no name")
        for axis in range(rank):
            if axis != along:
                for value in node.outputs:
                    channels.give(value, axis, channels.operand(node, 0, axis))
                continue
            sizes = [dims_of(value)[axis] for value in node.outputs]
            if not all(isinstance(size, int) and size for size in sizes) or node.version < 2:
                channels.stop(x, axis, f"Split '{node.label()}' cuts them into parts of unknown size")
                continue
            parts = [fresh(size) for size in sizes]
            channels.same(channels.operand(node, 0, axis), tuple(segment for part in parts for segment in part))
            for value, part in zip(node.outputs, parts, strict=True):
                channels.give(value, axis, part)

    def content(self, node: Node, contents: Contents) -> None:
        for value in node.outputs:
            for axis in contents.holed(value):
                contents.give(value, axis, contents.operand(node, 0, axis))

    def rebuild(self, node: Node, edit: Edit) -> None:
        along = normal(int(node.attribute("axis", 0)), len(dims_of(node.inputs[0])))
        layouts = [edit.layout(value, along) for value in node.outputs]
        if not any(layout is not None and has_holes(layout) for layout in layouts):
            return
        sizes = [padded_size(layout) for layout in layouts if layout is not None]
        node.set_attr("num_outputs", None)
        if node.version < 13:
            node.set_attr("split", sizes)
        else:
            edit.set_operand(node, 1, np.array(sizes, np.int64))


class Cutting(Behaviour):
    """Slice: what it leaves of a dim is a part of the row."""

    def link(self, node: Node, channels: Channels) -> None:
        x, out = node.inputs[0], node.outputs[0]
        dims = dims_of(x)
        cuts = self._cuts(node, channels)
        for axis, dim in enumerate(dims):
            layout = channels.operand(node, 0, axis)
            if axis not in cuts:
                channels.give(out, axis, layout)
            elif layout is not None:
                start, end, step = cuts[axis]
                if step != 1 or not start < end:
                    channels.stop(x, axis, f"Slice '{node.label()}' selects some of them")
                    continue
                parts = [fresh(size) if size else () for size in (start, end - start, dim - end)]
                channels.same(layout, parts[0] + parts[1] + parts[2])
                channels.give(out, axis, parts[1])

    def _cuts(self, node: Node, channels: Channels) -> dict[int, tuple[int, int, int]]:
        """axis -> (start, end, step) within the dim. Of dims of unknown size nothing is said."""
        dims = dims_of(node.inputs[0])
        starts, ends, steps, axes = self._lists(node)
        found = {}
        for position, axis in enumerate(axes):
            dim = dims[axis]
            if not isinstance(dim, int):
                continue
            start, end, step = starts[position], ends[position], steps[position]
            if start is None or end is None or step is None:
                channels.stop(node.inputs[0], axis, f"Slice '{node.label()}' cuts them where only the run tells")
                found[axis] = (0, 0, 0)
                continue
            found[axis] = (*slice(start, end, step).indices(dim)[:2], step)
        return found

    def _lists(self, node: Node) -> tuple[list[Any], list[Any], list[Any], list[int]]:
        rank = len(dims_of(node.inputs[0]))
        if node.version < 10:
            starts, ends = list(node.attribute("starts") or []), list(node.attribute("ends") or [])
            steps: list[Any] = [1] * len(starts)
        else:
            known = [self._elements(node, index) for index in (1, 2)]
            need(known[0] is not None or known[1] is not None, "where it cuts is only known when the model runs")
            count = len(known[0] or known[1] or [])
            starts, ends = (item if item is not None else [None] * count for item in known)
            steps = [1] * count if node.input(4) is None else self._elements(node, 4) or [None] * count
        axes = constant_axes(node, "axes", 3, rank)
        return starts, ends, steps, axes if axes is not None else list(range(len(starts)))

    def _elements(self, node: Node, index: int) -> list[int | None] | None:
        """The elements of an operand, None for those that are only known when the model runs."""
        value = node.input(index)
        found = value.content if value is not None else None
        return None if found is None else [item if isinstance(item, int) else None for item in found.ravel().tolist()]

    def content(self, node: Node, contents: Contents) -> None:
        for axis in contents.holed(node.outputs[0]):
            contents.give(node.outputs[0], axis, contents.operand(node, 0, axis))

    def rebuild(self, node: Node, edit: Edit) -> None:
        dims = dims_of(node.inputs[0])
        starts, ends, _, axes = self._lists(node)
        changes: dict[int, tuple[int, int]] = {}
        for position, axis in enumerate(axes):
            whole, part = edit.operand_layout(node, 0, axis), edit.layout(node.outputs[0], axis)
            if whole is None or part is None or not has_holes(whole) or not isinstance(dims[axis], int):
                continue
            start = slice(starts[position], ends[position]).indices(dims[axis])[0]
            first = 0 if start == 0 else int(places(whole)[start])
            changes[position] = (first, first + padded_size(part))
        if not changes:
            return
        begins, stops = {k: first for k, (first, _) in changes.items()}, {k: last for k, (_, last) in changes.items()}
        if node.version < 10:
            node.set_attr("starts", [begins.get(k, start) for k, start in enumerate(starts)])
            node.set_attr("ends", [stops.get(k, end) for k, end in enumerate(ends)])
        else:
            edit.set_elements(node, 1, begins)
            edit.set_elements(node, 2, stops)


class Selecting(Behaviour):
    """Gather: what it selects by constant indices may lie in any places; the selected dim is a row of its own."""

    def operands(self, node: Node) -> Iterable[int]:
        return range(2)

    def link(self, node: Node, channels: Channels) -> None:
        data, indices, out = node.inputs[0], node.inputs[1], node.outputs[0]
        rank, more = len(dims_of(data)), len(dims_of(indices)) - 1
        along = normal(int(node.attribute("axis", 0)), rank)
        for axis in range(rank):
            if axis != along:
                channels.give(out, axis + (more if axis > along else 0), channels.operand(node, 0, axis))
        for axis in range(more + 1):
            if indices.constant is None:
                channels.give(out, along + axis, channels.of(indices, axis))
        if indices.constant is None:
            channels.stop(data, along, f"Gather '{node.label()}' selects by indices that only the run tells")
            if (node, 0) in channels.slots:
                channels.slots[node, 0].looked_up = along
        elif more == 0 and channels.of(data, along) is not None:
            channels.give(out, along, fresh(int(indices.constant.size)))

    def content(self, node: Node, contents: Contents) -> None:
        rank, more = len(dims_of(node.inputs[0])), len(dims_of(node.inputs[1])) - 1
        along = normal(int(node.attribute("axis", 0)), rank)
        out = node.outputs[0]
        for axis in contents.holed(out):
            if axis < along:
                contents.give(out, axis, contents.operand(node, 0, axis))
            elif axis > along + more:
                contents.give(out, axis, contents.operand(node, 0, axis - more))
            elif contents.is_holed(node, 0, along):
                contents.give(out, axis, contents.operand(node, 0, along))
            else:
                contents.refuse(out, axis, f"Gather '{node.label()}' has no padding to take theirs from")

    def rebuild(self, node: Node, edit: Edit) -> None:
        data, indices = node.inputs[0], node.inputs[1].constant
        along = normal(int(node.attribute("axis", 0)), len(dims_of(data)))
        before, after = edit.layout(data, along), edit.layout(node.outputs[0], along) if indices is not None else None
        if indices is None or before is None:
            return
        if has_holes(before) or (after is not None and has_holes(after)):
            size = dims_of(data)[along]
            picked = np.where(indices < 0, indices + size, indices)
            edit.set_operand(node, 1, selection(before, after, picked).astype(indices.dtype))


def selection(before: Layout, after: Layout | None, indices: np.ndarray) -> np.ndarray:
    """Indices into a padded dim instead of the one without padding; the padding of the result comes from padding."""
    moved = np.asarray(places(before)[indices])
    if after is None or not has_holes(after) or indices.ndim != 1:
        return moved
    found = np.full(padded_size(after), holes(before)[0])
    found[places(after)] = moved
    return found
