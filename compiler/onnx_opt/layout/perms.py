"""Permutations of axes, written as Transpose has them: dim j of the result is dim perm[j] of the operand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx_opt.ir import Node

Perm = tuple[int, ...]


def identity(rank: int) -> Perm:
    return tuple(range(rank))


def is_identity(perm: Sequence[int]) -> bool:
    return all(axis == position for position, axis in enumerate(perm))


def inverse(perm: Sequence[int]) -> Perm:
    """The permutation that takes `perm` back."""
    found = [0] * len(perm)
    for position, axis in enumerate(perm):
        found[axis] = position
    return tuple(found)


def compose(first: Sequence[int], then: Sequence[int]) -> Perm:
    """One permutation for Transpose by `first` and by `then` after it."""
    return tuple(first[axis] for axis in then)


def permuted(items: Sequence[Any], perm: Sequence[int]) -> list[Any]:
    """One item per axis, in the order of the axes after Transpose by `perm`."""
    return [items[axis] for axis in perm]


def restricted(perm: Sequence[int], dropped: Collection[int]) -> Perm:
    """What `perm` does to the axes that remain when `dropped` are gone, numbered anew."""
    kept = [axis for axis in range(len(perm)) if axis not in dropped]
    number = {axis: position for position, axis in enumerate(kept)}
    return tuple(number[axis] for axis in perm if axis in number)


def widened(perm: Sequence[int], added: Collection[int]) -> Perm:
    """A permutation that does `perm` to all axes but `added`, each of which stays beside the axis before it."""
    rank = len(perm) + len(added)
    kept = [axis for axis in range(rank) if axis not in added]
    order = [kept[axis] for axis in perm]
    for axis in sorted(added):
        order.insert(order.index(axis - 1) + 1 if axis else 0, axis)
    return tuple(order)


def moves_nothing(perm: Sequence[int], dims: Sequence[Any]) -> bool:
    """Whether the elements stay in their order: only dims of size 1 move. Without `dims`, none is known to be."""
    ones = {axis for axis, dim in enumerate(dims) if isinstance(dim, int) and dim == 1}
    moved = [axis for axis in perm if axis not in ones]
    return moved == sorted(moved)


def perm_of(node: Node) -> Perm | None:
    """The permutation of a Transpose; None for other nodes, and where it is unknown or the rank is."""
    if node.op != "Transpose" or node.domain or node.has_attribute_refs or not node.inputs:
        return None
    rank = node.inputs[0].rank
    if rank is None:
        return None
    perm = tuple(node.attribute("perm") or range(rank)[::-1])
    return perm if sorted(perm) == list(range(rank)) else None


def transposed(array: np.ndarray, perm: Sequence[int]) -> np.ndarray:
    """An array with its elements moved, in one piece of memory."""
    return np.ascontiguousarray(np.transpose(array, perm)) if array.ndim else array
