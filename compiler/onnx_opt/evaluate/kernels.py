"""The table of numpy kernels: operators that numpy computes exactly as ONNX Runtime's CPU kernels do, to the bit.

A kernel is a function of (node, operands) that returns the result or a tuple of results; absent operands are None. It
raises `Declined` where it can't promise equal bits, and the node goes to the next engine. Kernels are kept out of
the table unless the tests compare them with ONNX Runtime on NaN, infinities, signed zeros and extreme integers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx_opt.ir import Node

Kernel = Callable[..., "np.ndarray | tuple[np.ndarray, ...]"]

NEWEST_OPSET = 28
"""The standard operator set that the kernels were written against: later ones may change what an operator means."""


class Declined(Exception):
    """This kernel does not compute this node; the message says why."""


_kernels: dict[str, list[tuple[int, int, Kernel]]] = {}


def kernel(*ops: str, since: int = 1, until: int = NEWEST_OPSET) -> Callable[[Kernel], Kernel]:
    """Register a kernel of standard operators for the operator sets `since` to `until`, both included."""

    def register(function: Kernel) -> Kernel:
        for op in ops:
            _kernels.setdefault(op, []).append((since, until, function))
        return function

    return register


@cache
def find(domain: str, op: str, version: int) -> Kernel | None:
    """The kernel of an operator at an operator set version; None if there is none."""
    if domain != "":
        return None
    for since, until, function in _kernels.get(op, ()):
        if since <= version <= until:
            return function
    return None


def covered() -> dict[str, list[tuple[int, int]]]:
    """The operators in the table with the version ranges of their kernels."""
    return {op: [(since, until) for since, until, _ in entries] for op, entries in sorted(_kernels.items())}


# -- helpers of kernels ------------------------------------------------------------------------------------------------


def require(condition: Any, reason: str) -> None:
    """Decline unless `condition` holds."""
    if not condition:
        raise Declined(reason)


def normal_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front."""
    require(-rank <= axis < max(rank, 1), f"axis {axis} of a tensor of rank {rank}")
    return axis + rank if axis < 0 else axis


def axes_of(node: Node, operand: np.ndarray | None) -> list[int] | None:
    """The axes that later operator sets take from an operand and earlier ones from an attribute; None if not given."""
    if operand is not None:
        require(operand.ndim <= 1, "axes are no list")
        return operand.ravel().tolist()
    return node.attribute("axes")


def int_list(operand: np.ndarray | None) -> list[int]:
    """The elements of a one-dimensional integer operand."""
    require(operand is not None and operand.ndim == 1 and operand.dtype.kind in "iu", "not a list of integers")
    assert operand is not None
    return operand.tolist()
