"""How operators behave when their tensors are stored transposed: the vocabulary of the layout table.

A row of the table is a `Behaviour`. It answers two questions about a node: if this operand or result were stored
transposed by `perm`, how would its other tensors have to be stored (`place`), and what does the node look like then
(`rebuild`)? A value without a permutation is not affected. Constants are no tensors here: they are transposed at rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt import traits
from onnx_opt.layout.perms import Perm, inverse, is_identity, permuted, transposed

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

TRAIT = "layout"
Prefer = Callable[["Value"], list[Perm]]
"""The permutations that would suit a value: those it is stored or transposed by elsewhere."""

traits.define(TRAIT, "how the operator behaves when its tensors are stored transposed (a Behaviour)")


class Refused(Exception):
    """A node can't run in another layout; the message says why."""


def need(condition: Any, why_not: str) -> None:
    """Refuse unless `condition` holds."""
    if not condition:
        raise Refused(why_not)


@dataclass(frozen=True)
class Slot:
    """An operand or a result of a node."""

    index: int
    is_result: bool = False

    def of(self, node: Node) -> Value:
        return node.outputs[self.index] if self.is_result else node.inputs[self.index]


@dataclass
class Placed:
    """The permutations of a node's operands and results when it runs in the other layout."""

    operands: dict[int, Perm] = field(default_factory=dict)
    results: dict[int, Perm] = field(default_factory=dict)
    aligned: dict[int, Perm] = field(default_factory=dict)
    """Operands of lower rank: they stay as they are, get leading dims of 1, and are transposed for this node."""

    def slots(self) -> Iterator[tuple[Slot, Perm]]:
        for index, perm in self.operands.items():
            yield Slot(index), perm
        for index, perm in self.results.items():
            yield Slot(index, True), perm


class Edit:
    """A node about to be made anew: its attributes and operands."""

    def __init__(self, node: Node):
        self.node = node
        self.op = node.op
        self.attrs: dict[str, Any] = dict(node.attrs)
        self.arrays: dict[int, np.ndarray] = {}
        """Operands that become other constants."""
        self.picked: dict[int, list[int]] = {}
        """Operands (1-D) that become a selection of their elements, computed when the model runs."""
        self.unused: set[int] = set()
        """Operands that fall away, from the end."""


class Behaviour:
    """A row of the layout table. This one is bound to its layout, and so is an operator without a row."""

    channels_first = False
    """Whether dim 1 of its tensors is the channels."""

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        """How the node's tensors are stored when the one in `slot` is stored transposed by `perm`. Raises Refused."""
        raise Refused(f"{node.op} is bound to its layout")

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        """Describe in `edit` the node that runs on tensors stored as `placed` says."""

    def absorbs(self, node: Node, index: int, perm: Perm) -> bool:
        """Whether operand `index` may come transposed by `perm` at no cost, whatever the layout of the others."""
        return False


@dataclass(frozen=True)
class Fixed(Behaviour):
    """An operator that is bound to its layout."""

    channels_first: bool = False


@dataclass(frozen=True)
class Absorbing(Behaviour):
    """An operator bound to its layout that takes in a Transpose of one of `operands`, as Gemm does by a flag.

    `perms` are the permutations it takes, None for every one. A rewrite rule does it."""

    operands: tuple[int, ...]
    perms: tuple[Perm, ...] | None = None

    def absorbs(self, node: Node, index: int, perm: Perm) -> bool:
        return index in self.operands and (self.perms is None or perm in self.perms)


class Retransposing(Behaviour):
    """Transpose by another permutation than the region's: one Transpose gives either form, and takes either."""

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        need(slot.is_result, "a Transpose takes its operand in either layout")
        return Placed(results={0: perm})

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        own = edit.attrs.get("perm") or range(len(placed.results[0]))[::-1]
        edit.attrs["perm"] = permuted(list(own), placed.results[0])

    def absorbs(self, node: Node, index: int, perm: Perm) -> bool:
        return True


@dataclass(frozen=True)
class Elementwise(Behaviour):
    """Each element is computed from those at its place, after numpy's broadcasting of the first `arity` operands."""

    arity: int

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        need(node.version >= 7 or not node.attribute("broadcast", 0) or node.domain, "broadcasting by an attribute")
        rank = len(perm)
        for result in node.outputs:
            need(not result.name or result.rank == rank, "the rank of the result differs or is unknown")
        placed = Placed(results={k: perm for k, value in enumerate(node.outputs) if value.name})
        count = len(node.inputs) if self.arity < 0 else min(self.arity, len(node.inputs))
        for index in range(count):
            self._place_operand(node.inputs[index], index, perm, placed)
        need(slot.is_result or slot.index in placed.operands, "the operand is broadcast from a lower rank")
        return placed

    def _place_operand(self, value: Value, index: int, perm: Perm, placed: Placed) -> None:
        if value.constant is not None:
            need(value.constant.ndim <= len(perm), "a constant has more dims than the result")
            return
        dims = value.dims
        need(dims is not None, f"the rank of '{value.name}' is unknown")
        assert dims is not None
        if len(dims) == len(perm):
            placed.operands[index] = perm
        elif any(not isinstance(dim, int) or dim != 1 for dim in dims):
            placed.aligned[index] = perm

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        perm = placed.results[next(iter(placed.results))]
        count = len(node.inputs) if self.arity < 0 else self.arity
        for index, value in enumerate(node.inputs[:count]):
            array = value.constant
            if array is not None and array.size != 1:
                wide = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
                edit.arrays[index] = transposed(wide, perm)


@dataclass(frozen=True)
class Listed:
    """A list of integers or floats that an attribute or, in later operator sets, an operand holds."""

    attr: str = ""
    operand: int | None = None
    halves: int = 1
    """2: all the begins, then all the ends, as in pads."""

    def present(self, node: Node) -> bool:
        return (self.operand is not None and node.input(self.operand) is not None) or node.attrs.get(
            self.attr
        ) is not None

    def known(self, node: Node) -> list[int] | None:
        """The numbers; None where they are absent or not known."""
        if self.operand is not None and node.input(self.operand) is not None:
            array = node.inputs[self.operand].constant
            return None if array is None else array.ravel().tolist()
        found = node.attrs.get(self.attr) if self.attr else None
        return None if found is None else list(found)

    def store(self, node: Node, edit: Edit, items: list[Any]) -> None:
        if self.operand is not None and node.input(self.operand) is not None:
            old = node.inputs[self.operand].constant
            assert old is not None
            edit.arrays[self.operand] = np.asarray(items, old.dtype)
        else:
            edit.attrs[self.attr] = items

    def reorder(self, node: Node, edit: Edit, perm: Perm) -> None:
        """Put a list with an item per dim into the order of the transposed dims."""
        order = [half * len(perm) + axis for half in range(self.halves) for axis in perm]
        items = self.known(node)
        if items is not None:
            self.store(node, edit, [items[position] for position in order] if items else items)
        elif self.operand is not None and node.input(self.operand) is not None:
            edit.picked[self.operand] = order


@dataclass(frozen=True)
class Along(Behaviour):
    """Operands and results have the same rank, and the node works along some of its axes.

    `data` are the operands, and `results` the results, that carry the layout (None: all). The axis or axes are in
    `axis` (an attribute), `axis_operand` or `axes`; where `axes` is absent, `per_dim` lists have an item per dim. An
    axis that `reaches_end` stands for all axes from it on. `pinned` axes can't move. `parameters` are operands with
    the shape of the dims from the axis on. `refuses(node, perm)` gives a reason against a permutation, or ''.
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
    refuses: Callable[[Node, Perm], str] = field(default=lambda node, perm: "")

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        placed = Placed()
        rank = len(perm)
        for index in range(len(node.inputs)) if self.data is None else self.data:
            value = node.input(index)
            if value is None:
                continue
            need(value.rank == rank, f"the rank of '{value.name}' differs or is unknown")
            if value.constant is None:
                placed.operands[index] = perm
        for index in range(len(node.outputs)) if self.results is None else self.results:
            value = node.output(index)
            if value is not None:
                need(value.rank == rank, f"the rank of '{value.name}' differs or is unknown")
                placed.results[index] = perm
        need(slot.index in (placed.results if slot.is_result else placed.operands), "the operand has no layout")
        for axis in self.pinned:
            need(perm[axis % rank] == axis % rank, f"{node.op} is bound to axis {axis}")
        self._check_axes(node, perm)
        why_not = self.refuses(node, perm)
        need(not why_not, why_not)
        return placed

    def _check_axes(self, node: Node, perm: Perm) -> None:
        rank = len(perm)
        if self.axes is not None and self.axes.present(node):
            need(self.axes.known(node) is not None, "the axes are not constant")
        elif self.axes is not None or self.per_dim:
            for each in self.per_dim:
                items = each.known(node)
                length = len(items) if items is not None else _length(node, each)
                need(not each.present(node) or length in (0, each.halves * rank), "not all dims are listed")
        if self.axis_operand is not None:
            need(node.inputs[self.axis_operand].constant is not None, "the axis is not constant")
        if self._axis(node, rank) is not None and self.reaches_end(node):
            axis = self._axis(node, rank)
            assert axis is not None
            tail = perm[axis:]
            need(sorted(tail) == list(range(axis, rank)), f"{node.op} works on all dims from {axis} on")
            if tail != tuple(range(axis, rank)):
                self._check_parameters(node, rank - axis)

    def _check_parameters(self, node: Node, rank: int) -> None:
        for index in self.parameters:
            value = node.input(index)
            if value is not None:
                need(value.constant is not None and value.rank == rank, "its parameters are not constant")

    def _axis(self, node: Node, rank: int) -> int | None:
        if not self.axis:
            return None
        axis = node.attribute(self.axis)
        need(axis is not None and -rank <= axis < rank, f"{node.op} without an axis")
        return int(axis) % rank

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        perm = next(perm for _, perm in placed.slots())
        back, rank = inverse(perm), len(perm)
        for index in () if self.data is None else self.data:
            _transpose_constant(node, index, perm, edit)
        if self.data is None:
            for index in range(len(node.inputs)):
                _transpose_constant(node, index, perm, edit)
        axis = self._axis(node, rank)
        if axis is not None and self.reaches_end(node):
            self._rebuild_parameters(node, [each - axis for each in perm[axis:]], edit)
        elif axis is not None:
            edit.attrs[self.axis] = back[axis]
        if self.axis_operand is not None:
            array = node.inputs[self.axis_operand].constant
            assert array is not None
            edit.arrays[self.axis_operand] = np.full(array.shape, back[int(array.flat[0]) % rank], array.dtype)
        if self.axes is not None and self.axes.present(node):
            axes = self.axes.known(node)
            assert axes is not None
            self.axes.store(node, edit, [back[each % rank] for each in axes])
        else:
            for each in self.per_dim:
                if each.present(node):
                    each.reorder(node, edit, perm)

    def _rebuild_parameters(self, node: Node, tail: list[int], edit: Edit) -> None:
        if is_identity(tail):
            return
        for index in self.parameters:
            _transpose_constant(node, index, tuple(tail), edit)


def _transpose_constant(node: Node, index: int, perm: Perm, edit: Edit) -> None:
    value = node.input(index)
    if value is not None and value.constant is not None:
        edit.arrays[index] = transposed(value.constant, perm)


def _length(node: Node, listed: Listed) -> int | None:
    """The number of items of a list that is not constant."""
    if listed.operand is None:
        return None
    value = node.input(listed.operand)
    dims = value.dims if value is not None else None
    return dims[0] if dims is not None and len(dims) == 1 and isinstance(dims[0], int) else None


@dataclass(frozen=True)
class PerAxis(Behaviour):
    """QuantizeLinear and its kin: elementwise with one scale, along an axis with one scale per channel."""

    data: int = 0
    scales: tuple[int, ...] = (1, 2)
    axis: str = "axis"

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        self._check(node)
        return self._along.place(node, slot, perm, prefer)

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        self._along.rebuild(node, placed, edit)
        if not self._is_per_tensor(node):
            rank = len(placed.results[0])
            edit.attrs[self.axis] = inverse(placed.results[0])[int(node.attribute(self.axis, 1)) % rank]

    @property
    def _along(self) -> Along:
        return Along(data=(self.data,))

    def _check(self, node: Node) -> None:
        need(not node.attribute("block_size", 0), "it is quantized by blocks")
        scale = node.input(self.scales[0])
        need(scale is not None and scale.rank is not None and scale.rank <= 1, "the shape of the scale is unknown")

    def _is_per_tensor(self, node: Node) -> bool:
        return all(
            dim == 1 for index in self.scales if (value := node.input(index)) is not None for dim in value.dims or ()
        )


def behaviour_of(node: Node) -> Behaviour:
    """The row for a node's operator: elementwise operators need none."""
    row = traits.ask(node.domain, node.op, TRAIT)
    if row is not None:
        return row
    arity = traits.elementwise_arity(node.domain, node.op)
    return Elementwise(arity) if arity else _FIXED


_FIXED = Fixed()
