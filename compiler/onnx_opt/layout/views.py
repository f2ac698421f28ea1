"""Operators that change the rank: reductions that drop axes, Gather, Squeeze, Unsqueeze, and reshaping views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt import shapes
from onnx_opt.layout.axes import Listed
from onnx_opt.layout.behaviour import Behaviour, Edit, Placed, Prefer, Slot, need
from onnx_opt.layout.perms import Perm, identity, inverse, is_identity, permuted, restricted, widened

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value


def lifted(perm: Perm, added: Sequence[int], wishes: list[Perm]) -> Perm:
    """A permutation of more axes that does `perm` to those that are not `added`: one of `wishes` if any does."""
    rank = len(perm) + len(added)
    fitting = (wish for wish in wishes if len(wish) == rank and restricted(wish, added) == perm)
    return next(fitting, widened(perm, added))


@dataclass(frozen=True)
class Reducing(Behaviour):
    """Operators that compute one element from those along some axes: of size 1 then (`keepdims`), or gone."""

    axes: Listed | None = None
    axis: str = ""

    def _axes(self, node: Node, rank: int) -> list[int]:
        if self.axis:
            return [int(node.attribute(self.axis, 0)) % rank]
        assert self.axes is not None
        given = self.axes.known(node)
        need(given is not None or not self.axes.present(node), "the axes are not constant")
        if not given:
            return [] if node.attribute("noop_with_empty_axes", 0) else list(range(rank))
        return sorted({int(axis) % rank for axis in given})

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        rank = node.inputs[0].rank
        need(rank is not None, "the rank of the operand is unknown")
        assert rank is not None
        axes = self._axes(node, rank)
        keeps = bool(node.attribute("keepdims", 1))
        if slot.is_result and not keeps:
            perm = lifted(perm, axes, prefer(node.inputs[0]))
        if not slot.is_result:
            need(slot.index == 0, "the operand has no layout")
        result = perm if keeps else restricted(perm, axes)
        placed = Placed(operands={0: perm} if node.inputs[0].constant is None else {})
        need(placed.operands, "the operand is constant")
        if not is_identity(result):
            placed.results = {k: result for k, value in enumerate(node.outputs) if value.name}
        return placed

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        perm = placed.operands[0]
        back = inverse(perm)
        if self.axis:
            edit.attrs[self.axis] = back[self._axes(node, len(perm))[0]]
        elif self.axes is not None and self.axes.known(node):
            self.axes.store(node, edit, sorted(back[axis] for axis in self._axes(node, len(perm))))


@dataclass(frozen=True)
class Gathering(Behaviour):
    """Gather: the axis is replaced by the axes of the indices. So a lookup of transposed indices gives the transposed
    result, though what is looked up in stays as it is."""

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        data, indices = node.inputs[0], node.inputs[1]
        need(data.rank is not None and indices.rank is not None, "a rank is unknown")
        assert data.rank is not None and indices.rank is not None
        axis, extra = self._axis(node), indices.rank
        if not slot.is_result:
            of_data = perm if slot.index == 0 else identity(data.rank)
            of_indices = perm if slot.index == 1 else identity(extra)
        elif extra:
            of_data, of_indices = _divided(perm, axis, extra)
        else:
            of_data, of_indices = lifted(perm, [axis], prefer(data)), ()
        placed = Placed()
        for index, value, own in ((0, data, of_data), (1, indices, of_indices)):
            if not is_identity(own):
                need(value.constant is None, "the operand is constant")
                placed.operands[index] = own
        result = tuple(new for old in of_data for new in _replaced(old, axis, of_indices))
        if not is_identity(result):
            placed.results = {0: result}
        return placed

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        if 0 in placed.operands:
            edit.attrs["axis"] = inverse(placed.operands[0])[self._axis(node)]

    def _axis(self, node: Node) -> int:
        return int(node.attribute("axis", 0)) % (node.inputs[0].rank or 1)


def _divided(perm: Perm, axis: int, extra: int) -> tuple[Perm, Perm]:
    """What a permutation of the result of Gather does to the axes of the data, and to the `extra` ones of the indices,
    which stand in place of `axis`. Raises Refused where it parts the latter."""
    block = [each for each in perm if axis <= each < axis + extra]
    start = perm.index(block[0])
    need(list(perm[start : start + extra]) == block, "the axes of the indices would be apart")
    rest = [axis if place == start else each for place, each in enumerate(perm) if place == start or each not in block]
    return tuple(each if each <= axis else each - extra + 1 for each in rest), tuple(each - axis for each in block)


def _replaced(old: int, axis: int, of_indices: Perm) -> Sequence[int]:
    """The axes of the result that stand for an axis of the data."""
    if old == axis:
        return [axis + each for each in of_indices]
    return (old if old < axis else old + len(of_indices) - 1,)


AXES = Listed("axes", 1)


@dataclass(frozen=True)
class OneAxis(Listed):
    """A single axis in an attribute."""

    def known(self, node: Node) -> list[int]:
        return [int(node.attribute(self.attr))]

    def present(self, node: Node) -> bool:
        return True

    def store(self, node: Node, edit: Edit, items: list[int]) -> None:
        (edit.attrs[self.attr],) = items


@dataclass(frozen=True)
class Inserting(Behaviour):
    """Squeeze (`drops`), Unsqueeze and OneHot: dims go or come at `axes` of the wider side."""

    drops: bool
    axes: Listed = AXES

    def _axes(self, node: Node) -> list[int]:
        value = node.inputs[0] if self.drops else node.outputs[0]
        narrow = node.outputs[0] if self.drops else node.inputs[0]
        need(value.rank is not None and narrow.rank is not None, "a rank is unknown")
        assert value.rank is not None
        axes = self.axes.known(node)
        if axes is None and self.drops and not self.axes.present(node):
            dims = value.dims or ()
            axes = [axis for axis, dim in enumerate(dims) if isinstance(dim, int) and dim == 1]
            need(len(dims) - len(axes) == narrow.rank, "the axes are not known")
        need(axes is not None, "the axes are not constant")
        assert axes is not None
        return sorted(int(axis) % value.rank for axis in axes)

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        need(node.inputs[0].constant is None, "the operand is constant")
        need(slot.is_result or slot.index == 0, "axes have no layout")
        axes = self._axes(node)
        wide_side = slot.is_result != self.drops
        wide_value = node.inputs[0] if self.drops else node.outputs[0]
        wide = perm if wide_side else lifted(perm, axes, prefer(wide_value))
        narrow = restricted(wide, axes)
        first, second = (wide, narrow) if self.drops else (narrow, wide)
        placed = Placed()
        if not is_identity(first):
            placed.operands = {0: first}
        if not is_identity(second):
            placed.results = {0: second}
        return placed

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        wide = (placed.operands if self.drops else placed.results).get(0)
        if wide is None:
            return
        axes = sorted(inverse(wide)[axis] for axis in self._axes(node))
        if self.axes.present(node):
            self.axes.store(node, edit, axes)


@dataclass(frozen=True)
class View(Behaviour):
    """Reshape and Flatten: dims are split and merged. A permutation that moves each group of dims as a whole passes."""

    shape: int | None = None
    """The operand with the wanted dims; without it, the node is made a Reshape."""

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        before, after = node.inputs[0], node.outputs[0]
        need(before.constant is None, "the operand is constant")
        need(node.version >= 5, "Reshape before operator set 5 has its dims in an attribute")
        need(slot.is_result or slot.index == 0, "a shape has no layout")
        need(before.dims is not None and after.dims is not None, "a rank is unknown")
        groups = grouped(before, after)
        need(groups is not None, "it is not known which dims are split or merged")
        assert groups is not None
        here, there = ([g[slot.is_result] for g in groups], [g[not slot.is_result] for g in groups])
        order = group_order(perm, here, (after if slot.is_result else before).dims or ())
        need(order is not None, "it splits or merges dims that are apart in the other layout")
        assert order is not None
        other = before if slot.is_result else after
        found = self._other(order, there, other, prefer)
        mine, others = {0: perm}, {} if is_identity(found) else {0: found}
        return Placed(others, mine) if slot.is_result else Placed(mine, others)

    def _other(self, order: list[int], groups: list[list[int]], value: Value, prefer: Prefer) -> Perm:
        dims = value.dims or ()
        for wish in prefer(value):
            if len(wish) == len(dims) and group_order(wish, groups, dims) == order:
                return wish
        if order == sorted(order):
            return tuple(range(len(dims)))
        placed = [axis for group in order for axis in groups[group]]
        for axis in range(len(dims)):
            if axis not in placed:
                placed.insert(placed.index(axis - 1) + 1 if axis else 0, axis)
        return tuple(placed)

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        before, after = node.inputs[0], node.outputs[0]
        assert before.dims is not None and after.dims is not None
        perm = placed.results.get(0) or tuple(range(len(after.dims)))
        source = permuted(before.dims, placed.operands[0]) if 0 in placed.operands else list(before.dims)
        wanted = permuted(after.dims, perm)
        shape = shape_operand(source, wanted)
        edit.attrs = {}
        edit.op = "Reshape"
        if shape is not None:
            edit.arrays[1] = np.array(shape, np.int64)
            return
        need(self.shape is not None and node.input(1) is not None, "its dims can't be written as a constant")
        content = node.inputs[1].content
        need(content is not None and all(_is_size(item) for item in content), "its dims may be 0 or -1")
        edit.picked[1] = list(perm)


def _is_size(item: Any) -> bool:
    return item > 0 if isinstance(item, int) else shapes.at_least(item, 0)


def shape_operand(source: Sequence[Any], wanted: Sequence[Any]) -> list[int] | None:
    """What Reshape from `source` to `wanted` takes as a constant: 0 copies a dim, -1 is inferred. None if none does."""
    shape: list[int] = []
    for axis, dim in enumerate(wanted):
        if isinstance(dim, int) and dim != 0:
            shape.append(dim)
        elif axis < len(source) and shapes.equal(dim, source[axis]):
            shape.append(0)
        else:
            shape.append(-1)
    copied = [dim for dim, item in zip(wanted, shape, strict=True) if item == 0]
    if shape.count(-1) > 1:
        return None
    if -1 in shape and not all(map(shapes.provably_positive, copied)):
        return None  # beside an empty dim, -1 is not defined
    return shape


def grouped(before: Value, after: Value) -> list[tuple[list[int], list[int]]] | None:
    """Which axes of one side together make which of the other: the shortest groups of equal size. Dims of size 1
    belong to none. None where it is not proven."""
    assert before.graph is not None
    facts = before.graph.model.facts.shapes
    left, right = _axes_of_size(before), _axes_of_size(after)
    groups: list[tuple[list[int], list[int]]] = []
    while left or right:
        if not (left and right):
            return None
        mine, others = [left.pop(0)], [right.pop(0)]
        size, other = mine[0][1], others[0][1]
        while not facts.equal(size, other):
            if right and facts.quotient(size, other) is not None:
                others.append(right.pop(0))
                other = facts.mul(other, others[-1][1])
            elif left and facts.quotient(other, size) is not None:
                mine.append(left.pop(0))
                size = facts.mul(size, mine[-1][1])
            elif left and right and isinstance(size, int) and isinstance(other, int):
                if size < other:
                    mine.append(left.pop(0))
                    size = facts.mul(size, mine[-1][1])
                else:
                    others.append(right.pop(0))
                    other = facts.mul(other, others[-1][1])
            else:
                return None
        groups.append(([axis for axis, _ in mine], [axis for axis, _ in others]))
    return groups


def _axes_of_size(value: Value) -> list[tuple[int, Any]]:
    return [(axis, dim) for axis, dim in enumerate(value.dims or ()) if not (isinstance(dim, int) and dim == 1)]


def group_order(perm: Perm, groups: list[list[int]], dims: Sequence[Any]) -> list[int] | None:
    """The order in which `perm` puts groups of axes; None where it tears one apart."""
    owner = {axis: number for number, group in enumerate(groups) for axis in group}
    moved = [axis for axis in perm if axis in owner]
    order = list(dict.fromkeys(owner[axis] for axis in moved))
    return order if [axis for number in order for axis in groups[number]] == moved else None
