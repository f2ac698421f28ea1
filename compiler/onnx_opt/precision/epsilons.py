"""Epsilons: tiny positive numbers that keep a divisor or the operand of a root from being 0.

One that a half format does not hold becomes the least positive number that it does. A sum changes by less than one unit
in its last place by that, a lower bound by nothing that the format could tell from 0, and what it guards against stays
guarded. A logarithm is the exception: it tells 1e-8 from 1e-7 as well as 1 from 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.precision.constraints import only_moves
from onnx_opt.precision.groups import is_wide

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

MOST = 1 << 16
"""Elements of a constant that are looked at."""
CLIP_LEAST = 1
"""Which operand of Clip is the lower bound."""


def is_epsilon(array: np.ndarray) -> bool:
    """Whether a constant is one positive number, perhaps for each channel."""
    return 0 < array.size <= MOST and bool(array.flat[0] > 0) and bool((array == array.flat[0]).all())


def problem(user: Node, index: int) -> str:
    """Why an operand of a node must not be a larger epsilon; '' where it may."""
    added = user.op in ("Add", "Max") or (user.op, index) == ("Clip", CLIP_LEAST)
    if user.domain or not added:
        return f"{user.op} does more than add it, or bound from below"
    log = _logarithm(user.outputs[0])
    return f"'{log.label()}' is a logarithm, which tells tiny numbers apart" if log is not None else ""


def _logarithm(value: Value) -> Node | None:
    """The logarithm that reads a value as it is."""
    seen: set[Value] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        for user in current.users:
            if user.op == "Log":
                return user
            if only_moves(user) and not user.bodies:
                pending += [result for result in user.outputs if result.name and is_wide(result)]
    return None
