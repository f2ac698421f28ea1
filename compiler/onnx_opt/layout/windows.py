"""Convolutions and pools: a window slides over the dims behind the channels, which may change places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt.layout.axes import Listed
from onnx_opt.layout.behaviour import Behaviour, Edit, Placed, Prefer, Slot, need
from onnx_opt.layout.perms import Perm, transposed

if TYPE_CHECKING:
    from onnx_opt.ir import Node

FIRST = 2
"""The window slides over the dims from here on, behind the batch and the channels."""
PER_DIM = tuple(map(Listed, ("dilations", "kernel_shape", "output_padding", "output_shape", "strides")))
PADS = Listed("pads", halves=2)


@dataclass(frozen=True)
class Windowed(Behaviour):
    """Batch and channels come first. If only the dims behind them move, the window does as well: its size, its steps,
    and the kernel in operand `kernel`, at rest where it is constant."""

    kernel: int | None = None
    channels_first: bool = True

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        need(perm[:FIRST] == tuple(range(FIRST)), f"{node.op} is bound to its layout")
        need(len([value for value in node.outputs if value.name]) == 1, "its indices count in the order of the dims")
        placed = Placed(results={0: perm})
        for index in (0,) if self.kernel is None else (0, self.kernel):
            value = node.inputs[index]
            need(value.rank == len(perm), f"the rank of '{value.name}' differs or is unknown")
            if value.constant is None:
                placed.operands[index] = perm
        need(slot.index in (placed.results if slot.is_result else placed.operands), "the operand has no layout")
        return placed

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        perm = placed.results[0]
        window = tuple(axis - FIRST for axis in perm[FIRST:])
        for listed in (*PER_DIM, PADS):
            listed.reorder(node, edit, window)
        for index in (0,) if self.kernel is None else (0, self.kernel):
            array = node.inputs[index].constant
            if array is not None:
                edit.arrays[index] = transposed(array, perm)
