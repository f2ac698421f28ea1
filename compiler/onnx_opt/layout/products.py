"""Products of matrices: the axes of the batch may move, and rows change places with columns where the factors do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt import shapes
from onnx_opt.layout.behaviour import Behaviour, Edit, Placed, Prefer, Slot, need
from onnx_opt.layout.perms import Perm, transposed

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

SWAPPED = (1, 0)


@dataclass(frozen=True)
class Contracting(Behaviour):
    """MatMul and its kin. The factors are the operands `left` and `right`, each of the rank of the result or a matrix;
    `lists` are operands that have at most one dim, as the scales of a quantized product."""

    left: int = 0
    right: int = 1
    lists: tuple[int, ...] = ()

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        rank = len(perm)
        need(rank >= 2 and node.outputs[0].rank == rank, f"{node.op} is bound to its last axes")
        for value in filter(None, map(node.input, self.lists)):
            need(value.rank is not None and value.rank <= 1, "it is quantized by more than rows and columns")
        placed = Placed(results={0: perm})
        for index in (self.left, self.right):
            own = self._operand_perm(node, node.inputs[index], perm, index == self.left)
            if own is not None and node.inputs[index].constant is None:
                placed.operands[index] = own
        need(slot.is_result or slot.index in placed.operands, "the operand has no layout")
        if _exchanges(perm):
            need(not self.lists, f"{node.op} has scales of rows and columns")
            self._check_batch(node)
        return placed

    def _operand_perm(self, node: Node, value: Value, perm: Perm, is_left: bool) -> Perm | None:
        """How a factor is transposed where the result is by `perm`; None where it stays."""
        rank = len(perm)
        need(value.rank in (2, rank), "a factor has another rank")
        if _exchanges(perm):
            return perm if value.rank == rank else SWAPPED
        if value.rank != rank:  # one matrix for the whole batch: the rows of the other factor are part of the batch
            need(not is_left and perm[-1] == rank - 1, f"{node.op} is bound to its last axis")
            return None
        lone = is_left and node.inputs[self.right].rank == 2
        need(lone or perm[-2] == rank - 2, f"{node.op} is bound to its last two axes")
        need(perm[-1] == rank - 1, f"{node.op} is bound to its last axis")
        return perm

    def _check_batch(self, node: Node) -> None:
        """ONNX Runtime broadcasts an empty batch of the first factor only, and the factors change places."""
        left, right = (tuple((value.dims or ())[:-2]) for value in (node.inputs[self.left], node.inputs[self.right]))
        safe = shapes.same(left, right) or all(map(shapes.provably_positive, (*left, *right)))
        need(safe, "the batch may be empty")

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        perm = placed.results[0]
        for index in (self.left, self.right):
            array = node.inputs[index].constant
            own = self._operand_perm(node, node.inputs[index], perm, index == self.left)
            if array is not None and own is not None:
                edit.arrays[index] = transposed(array, own)
        if _exchanges(perm):
            edit.order = [self.right, self.left]

    def repacks(self, node: Node, placed: Placed) -> Iterator[Value]:
        if _exchanges(placed.results[0]) and node.inputs[self.right].constant is not None:
            yield node.inputs[self.right]

    def prefers(self, node: Node, placed: Placed) -> bool | None:
        """As it is, where the weights would come first."""
        return False if any(self.repacks(node, placed)) else None


def _exchanges(perm: Perm) -> bool:
    """Whether rows and columns change places: (A B)' = B' A'."""
    rank = len(perm)
    return perm[-2:] == (rank - 1, rank - 2)
