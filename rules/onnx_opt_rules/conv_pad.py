"""Padding with zeros before a Conv is the Conv's own padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_opt.ir import Node, Value
from onnx_opt.parameters import parameter
from onnx_opt.rewrite import known, op, opt, require, rule


def pad_amounts(pad: Node, rank: int) -> list[tuple[int, int]]:
    """(before, after) of each axis of a Pad whose amounts are constant; declines others."""
    given, chosen = parameter(pad, "pads"), parameter(pad, "axes")
    require(given.known, "the padding is only known when the model runs")
    require(chosen.known, "the padded axes are only known when the model runs")
    flat = known(given.numbers, "there is no padding")
    axes = list(range(rank)) if chosen.numbers is None else [int(axis) % rank for axis in chosen.numbers]
    require(len(flat) == 2 * len(axes), "the padding does not match the rank")
    amounts = [(0, 0)] * rank
    for position, axis in enumerate(axes):
        amounts[axis] = (int(flat[position]), int(flat[position + len(axes)]))
    return amounts


def pads_with_zeros(pad: Node) -> bool:
    """Whether a Pad is known to fill with zeros; without a number it does."""
    number = parameter(pad, "value")
    return number.known and (number.value is None or not np.asarray(number.value).any())


@rule(
    op.Conv(op.Pad("x", opt("amounts"), opt("value"), opt("axes")).named("pad"), "w", opt("b")).named("conv"),
    opsets=(2, 1 << 30),
)
def fold_pad_into_conv(x: Value, w: Value, b: Value | None, pad: Node, conv: Node) -> Any:
    """Pad with zeros, then Conv: the Conv pads."""
    require(pad.attribute("mode", "constant") == "constant" and pads_with_zeros(pad), "the padding is not zero")
    require(conv.attribute("auto_pad", "NOTSET") in ("NOTSET", "VALID"), "the Conv chooses its padding itself")
    rank = known(w.rank, "the rank is unknown")
    amounts = pad_amounts(pad, rank)
    require(amounts[:2] == [(0, 0), (0, 0)], "batch or channels are padded")
    require(min(min(pair) for pair in amounts) >= 0, "a negative amount cuts")
    begins, ends = zip(*amounts[2:], strict=True)
    old = conv.attribute("pads") or [0] * (2 * (rank - 2))
    pads = np.add(old, [*begins, *ends]).tolist()
    attrs = {name: value for name, value in conv.attrs.items() if name not in ("auto_pad", "pads")}
    return op.Conv(x, w, b, pads=pads, **attrs)


RULES = [fold_pad_into_conv]
