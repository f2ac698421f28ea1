"""How far an original moves by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from onnx_opt.validate.compare import compare

from .protos import all_nodes

ROUNDING = (1e-3, 2e-3)
"""Relative tolerances, to the element and to the output's scale: what is wrong in an inexact pass is far beyond."""
STIR = (ROUNDING[0] / 16, ROUNDING[1] / 16)
"""Where the original moves beyond this by itself, nothing is asked of a result: folding rounds more than once."""
MOVED = range(8)
"""Seeds of trials that move weights by a unit in their last place."""


def is_undecided(
    data: bytes,
    run: Callable[[bytes], list[list[Any] | None]],
    outputs: Sequence[list[Any] | None],
    place: int,
    old: Any,
    new: Any,
) -> bool:
    """Whether the original `data`, which gives `outputs` when it is `run` on each feed, moves by itself where the result
    differs, when its weights move by the smallest step there is: few channels are too few for the validation to move.
    `place` is that of the output. Of integers and flags, a quarter as many may have moved."""
    if not isinstance(old, np.ndarray) or old.dtype.kind == "O" or old.shape != new.shape:
        return False
    moves = np.zeros(old.shape, bool)
    for seed in MOVED:
        for known, row in zip(outputs, run(_with_moved_weights(data, seed)), strict=True):
            if known is None or row is None or not old.shape == known[place].shape == row[place].shape:
                continue
            moves |= ~np.isclose(known[place].astype(np.float64), row[place].astype(np.float64), *STIR, True)
    if old.dtype.kind in "biu":
        return int((old != new).sum()) <= 4 * int(moves.sum())
    zero = np.zeros((), old.dtype)
    return not compare("", np.where(moves, zero, old), np.where(moves, zero, new), ROUNDING).problem


def _with_moved_weights(data: bytes, seed: int) -> bytes:
    model = onnx.ModelProto.FromString(data)
    rng = np.random.default_rng(seed)
    sizes = {name for node in all_nodes(model) if node.op_type in ("Resize", "Upsample") for name in node.input[1:]}
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and tensor.name not in sizes:
            towards = np.where(rng.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.nextafter(array, towards), tensor.name))
    return model.SerializeToString()
