"""How operators behave when their tensors are stored transposed: the vocabulary of the layout table.

A row of the table is a `Behaviour`. It answers two questions about a node: if this operand or result were stored
transposed by `perm`, how would its other tensors have to be stored (`place`), and what does the node look like then
(`rebuild`)? A value without a permutation is not affected. Constants are no tensors here: they are transposed at rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt import traits
from onnx_opt.layout.perms import Perm, compose, inverse, moves_nothing, perm_of, permuted, transposed

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
        self.order: list[int] | None = None
        """The operands in their new order, where they change places."""


class Behaviour:
    """A row of the layout table. This one is bound to its layout, and so is an operator without a row."""

    channels_first = False
    """Whether dim 1 of its tensors is the channels."""

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        """How the node's tensors are stored when the one in `slot` is stored transposed by `perm`. Raises Refused."""
        raise Refused(f"{node.op} is bound to its layout")

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        """Describe in `edit` the node that runs on tensors stored as `placed` says."""

    def prefers(self, node: Node, placed: Placed) -> bool | None:
        """Whether the node runs faster as `placed` (True) or as it is (False); None where it makes no difference."""
        return None

    def repacks(self, node: Node, placed: Placed) -> Iterable[Value]:
        """Constant operands that runtimes bring into order once, at load, for the node as it is, but in every run for
        the node as `placed`."""
        return ()

    def absorbs(self, node: Node, index: int, perm: Perm) -> bool:
        """Whether operand `index` may come transposed by `perm` at no cost, whatever the layout of the others."""
        return False


@dataclass(frozen=True)
class Fixed(Behaviour):
    """An operator that is bound to its layout, and why."""

    why: str = "{op} is bound to its layout"
    channels_first: bool = False

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        raise Refused(self.why.format(op=node.op))


@dataclass(frozen=True)
class Absorbing(Behaviour):
    """An operator bound to its layout that takes in a Transpose of one of `operands`, as Gemm does by a flag.

    `perms` are the permutations it takes, None for every one; `where` says of which nodes that holds. A rewrite rule
    does it."""

    operands: tuple[int, ...]
    perms: tuple[Perm, ...] | None = None
    where: Callable[[Node], bool] = field(default=lambda node: True)

    def absorbs(self, node: Node, index: int, perm: Perm) -> bool:
        return index in self.operands and (self.perms is None or perm in self.perms) and self.where(node)


class Retransposing(Behaviour):
    """Transpose by another permutation than the region's: it can take its operand, or give its result, in either form.

    It always is one Transpose; but where only dims of size 1 move it is for free, and that may differ between forms.
    """

    def place(self, node: Node, slot: Slot, perm: Perm, prefer: Prefer) -> Placed:
        return Placed(results={0: perm}) if slot.is_result else Placed(operands={0: perm})

    def rebuild(self, node: Node, placed: Placed, edit: Edit) -> None:
        edit.attrs["perm"] = list(self._perm(node, placed))

    def absorbs(self, node: Node, index: int, perm: Perm) -> bool:
        return self.costs_the_same(node, Placed(operands={0: perm}))

    def _perm(self, node: Node, placed: Placed) -> Perm:
        own = perm_of(node)
        assert own is not None
        if 0 in placed.operands:
            own = compose(inverse(placed.operands[0]), own)
        return compose(own, placed.results[0]) if 0 in placed.results else own

    def moves(self, node: Node, placed: Placed | None = None) -> bool:
        """Whether elements change their order when the node runs as it is, or as `placed`."""
        placed = placed or Placed()
        dims = node.inputs[0].dims or ()
        if 0 in placed.operands:
            dims = tuple(permuted(dims, placed.operands[0]))
        return not moves_nothing(self._perm(node, placed), dims)

    def costs_the_same(self, node: Node, placed: Placed) -> bool:
        """Whether elements are moved in either form."""
        return self.moves(node) and self.moves(node, placed)


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
                wide = transposed(array.reshape((1,) * (len(perm) - array.ndim) + array.shape), perm)
                edit.arrays[index] = _trimmed(wide) if placed.operands or placed.aligned else wide


def _trimmed(array: np.ndarray) -> np.ndarray:
    """Without leading dims of 1: runtimes know a bias by its rank."""
    lead = next((axis for axis, dim in enumerate(array.shape) if dim != 1), array.ndim)
    return array.reshape(array.shape[lead:])


def behaviour_of(node: Node) -> Behaviour:
    """The row for a node's operator: elementwise operators need none."""
    row = traits.ask(node.domain, node.op, TRAIT)
    if row is not None:
        return row
    arity = traits.elementwise_arity(node.domain, node.op)
    return Elementwise(arity) if arity else _FIXED


_FIXED = Fixed()
