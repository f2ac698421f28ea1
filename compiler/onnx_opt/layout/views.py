"""Reshape and Flatten: which permutations pass through where dims are split and merged, and with which dims then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt import shapes
from onnx_opt.layout.behaviour import Behaviour, Edit, Placed, Prefer, Slot, need
from onnx_opt.layout.perms import Perm, is_identity, permuted

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value


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
