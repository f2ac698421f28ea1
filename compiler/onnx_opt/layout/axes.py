"""Operators that work along some axes and keep the rank: softmax, slices, pads, concatenation, normalization..."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.layout.behaviour import Behaviour, Edit, Placed, Prefer, Slot, need
from onnx_opt.layout.perms import Perm, inverse, is_identity, transposed

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value


ANY_VERSION = range(1 << 30)


@dataclass(frozen=True)
class Listed:
    """A list of integers or floats that an attribute or, in later operator sets, an operand holds."""

    attr: str = ""
    operand: int | None = None
    halves: int = 1
    """2: all the begins, then all the ends, as in pads."""
    versions: range = ANY_VERSION
    """The operator sets in which the operand is this list."""

    def _operand(self, node: Node) -> Value | None:
        return node.input(self.operand) if self.operand is not None and node.version in self.versions else None

    def present(self, node: Node) -> bool:
        return self._operand(node) is not None or bool(self.attr and node.attribute(self.attr) is not None)

    def known(self, node: Node) -> list[int] | None:
        """The numbers; None where they are absent or not known."""
        value = self._operand(node)
        if value is not None:
            return None if value.constant is None else value.constant.ravel().tolist()
        found = node.attribute(self.attr) if self.attr else None
        return None if found is None else list(found)

    def length(self, node: Node) -> int | None:
        """How many numbers there are, known or not."""
        items = self.known(node)
        if items is not None:
            return len(items)
        value = self._operand(node)
        dims = value.dims if value is not None else None
        return dims[0] if dims is not None and len(dims) == 1 and isinstance(dims[0], int) else None

    def store(self, node: Node, edit: Edit, items: list[Any]) -> None:
        value = self._operand(node)
        if value is not None:
            assert self.operand is not None and value.constant is not None
            edit.arrays[self.operand] = np.asarray(items, value.constant.dtype)
        else:
            edit.attrs[self.attr] = items

    def reorder(self, node: Node, edit: Edit, perm: Perm) -> None:
        """Put a list with an item per dim into the order of the transposed dims."""
        order = [half * len(perm) + axis for half in range(self.halves) for axis in perm]
        items = self.known(node)
        if items is not None:
            self.store(node, edit, [items[position] for position in order] if items else items)
        elif self.operand is not None and self._operand(node) is not None:
            edit.picked[self.operand] = order


@dataclass(frozen=True)
class Along(Behaviour):
    """Operands and results have the same rank, and the node works along some of its axes.

    `data` are the operands, and `results` the results, that carry the layout (None: all). The axis or axes are in
    `axis` (an attribute), `axis_operand` or `axes`; where `axes` is absent, `per_dim` lists have an item per dim. An
    axis that `reaches_end` stands for all axes from it on. `pinned` axes can't move. `parameters` are operands with
    the shape of the dims from the axis on. `best_last`: runtimes are fast along the last axis, and transpose inside for
    every other. `refuses(node, perm)` gives a reason against a permutation, or ''.
    """

    data: tuple[int, ...] | None = (0,)
    results: tuple[int, ...] | None = None
    axis: str = ""
    axis_operand: int | None = None
    axes: Listed | None = None
    per_dim: tuple[Listed, ...] = ()
    reaches_end: Callable[[Node], bool] = field(default=lambda node: False)
    pinned: tuple[int, ...] = ()
    parameters: tuple[int, ...] = ()
    channels_first: bool = False
    best_last: bool = False
    refuses: Callable[[Node, Perm], str] = field(default=lambda node, perm: "")

    # -- may it move? ----------------------------------------------------------------------------------------------

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        placed, rank = Placed(), len(perm)
        for index in self._data(node):
            need(node.inputs[index].rank == rank, f"the rank of '{node.inputs[index].name}' differs or is unknown")
            if node.inputs[index].constant is None:
                placed.operands[index] = perm
        for index in range(len(node.outputs)) if self.results is None else self.results:
            value = node.output(index)
            if value is not None:
                need(value.rank == rank, f"the rank of '{value.name}' differs or is unknown")
                placed.results[index] = perm
        need(slot.index in (placed.results if slot.is_result else placed.operands), "the operand has no layout")
        for axis in self.pinned:
            need(perm[axis] == axis, f"{node.op} is bound to axis {axis}")
        self._check_lists(node, rank)
        self._check_axis(node, perm)
        why_not = self.refuses(node, perm)
        need(not why_not, why_not)
        return placed

    def _data(self, node: Node) -> list[int]:
        """The operands that carry the layout and are there."""
        indices = range(len(node.inputs)) if self.data is None else self.data
        return [index for index in indices if node.input(index) is not None]

    def _check_lists(self, node: Node, rank: int) -> None:
        if self.axis_operand is not None:
            need(node.inputs[self.axis_operand].constant is not None, "the axis is not constant")
        if self.axes is not None and self.axes.present(node):
            need(self.axes.known(node) is not None, "the axes are not constant")
            return
        for each in self.per_dim:
            if each.present(node):
                need(each.length(node) in (0, each.halves * rank), "not all dims are listed")

    def _check_axis(self, node: Node, perm: Perm) -> None:
        rank = len(perm)
        axis = self._axis(node, rank)
        if axis is None or not self.reaches_end(node):
            return
        tail = perm[axis:]
        need(sorted(tail) == list(range(axis, rank)), f"{node.op} works on all dims from {axis} on")
        for index in self.parameters if tail != tuple(range(axis, rank)) else ():
            value = node.input(index)
            is_constant = value is None or (value.constant is not None and value.rank == rank - axis)
            need(is_constant, "its parameters are not constant")

    def _axis(self, node: Node, rank: int) -> int | None:
        if not self.axis:
            return None
        axis = node.attribute(self.axis)
        need(axis is not None and -rank <= axis < rank, f"{node.op} without an axis")
        return int(axis) % rank

    def prefers(self, node: Node, placed: Placed) -> bool | None:
        if not self.best_last or not placed.results:
            return None
        perm = placed.results[0]
        axis = self._axis(node, len(perm))
        is_last, would_be_last = axis == len(perm) - 1, axis == perm[-1]
        return None if is_last == would_be_last else would_be_last

    # -- moved -----------------------------------------------------------------------------------------------------

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        perm = next(perm for _, perm in placed.slots())
        for index in self._data(node):
            _transpose_constant(node, index, perm, edit)
        self._rebuild_axis(node, perm, edit)
        self._rebuild_lists(node, perm, edit)

    def _rebuild_axis(self, node: Node, perm: Perm, edit: Edit) -> None:
        back, rank = inverse(perm), len(perm)
        if self.axis_operand is not None:
            array = node.inputs[self.axis_operand].constant
            assert array is not None
            edit.arrays[self.axis_operand] = np.full(array.shape, back[int(array.flat[0]) % rank], array.dtype)
        axis = self._axis(node, rank)
        if axis is None:
            return
        if not self.reaches_end(node):
            edit.attrs[self.axis] = back[axis]
            return
        tail = tuple(each - axis for each in perm[axis:])
        for index in () if is_identity(tail) else self.parameters:
            _transpose_constant(node, index, tail, edit)

    def _rebuild_lists(self, node: Node, perm: Perm, edit: Edit) -> None:
        if self.axes is not None and self.axes.present(node):
            back, axes = inverse(perm), self.axes.known(node)
            assert axes is not None
            self.axes.store(node, edit, [back[each % len(perm)] for each in axes])
            return
        for each in self.per_dim:
            if each.present(node):
                each.reorder(node, edit, perm)


def _transpose_constant(node: Node, index: int, perm: Perm, edit: Edit) -> None:
    value = node.input(index)
    if value is not None and value.constant is not None:
        edit.arrays[index] = transposed(value.constant, perm)


@dataclass(frozen=True)
class PerAxis(Behaviour):
    """QuantizeLinear and its kin: elementwise with one scale, along an axis with one scale per channel or per block.

    Scales of blocks have the dims of the data, but for fewer along the axis: they are stored as the data is.
    """

    scales: tuple[int, ...] = (1, 2)
    axis: str = "axis"

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        scale = node.input(self.scales[0])
        need(scale is not None and scale.rank is not None, "the shape of the scale is unknown")
        assert scale is not None and scale.rank is not None
        need(scale.rank <= 1 or node.attribute("block_size", 0), "the scale is no list")
        return self._along(node).place(node, slot, perm, prefer)

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        self._along(node).rebuild(node, placed, edit)
        if not self._is_per_tensor(node):
            perm = placed.results[0]
            edit.attrs[self.axis] = inverse(perm)[int(node.attribute(self.axis, 1)) % len(perm)]

    def _along(self, node: Node) -> Along:
        return Along(data=(0, *self.scales) if node.attribute("block_size", 0) else (0,))

    def _is_per_tensor(self, node: Node) -> bool:
        return all(
            dim == 1 for index in self.scales if (value := node.input(index)) is not None for dim in value.dims or ()
        )
