"""Operators that change the rank: reductions that drop axes, Gather, Squeeze, Unsqueeze, OneHot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt.layout.axes import Listed
from onnx_opt.layout.behaviour import Behaviour, Edit, Placed, Prefer, Slot, need
from onnx_opt.layout.perms import Perm, identity, inverse, is_identity, restricted, widened

if TYPE_CHECKING:
    from onnx_opt.ir import Node


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
