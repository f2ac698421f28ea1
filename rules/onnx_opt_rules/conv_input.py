"""The steps from pixels to the first Conv: what of them its weights can take in although it pads with zeros.

A padded Conv sees 0 beyond the border, and what shifts the picture does not shift that. So of s * x + t the shift must
stay in front of the padding, but the scale goes into the weights: with t = s * u,

    Conv(s * x + t, w) = Conv(x + u, s * w)

at the border too, since s * 0 = 0. Without padding `conv_bn` takes in the shift as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import anyof, const, op, opt, require, rule
from onnx_opt_rules.conv_bn import affine, is_unpadded
from onnx_opt_rules.linear import Linear, has_channels, per_channel
from onnx_opt_rules.runtime_fusions import part_of_fusion

STEPS = ("Add", "Sub", "Mul", "Div")
FIRST = anyof(op[STEPS]("x", const("c")).named("first"), op.Sub(const("c"), "x").named("first"))
SECOND = anyof(op[STEPS](FIRST, const("d")).named("second"), op.Sub(const("d"), FIRST).named("second"))


@rule(op.Conv(SECOND, const("w"), opt(const("b"))).named("conv"), opsets=(7, 1 << 30))
def fold_steps_before_padding(x: Value, c: Any, d: Any, w: Any, b: Any, first: Node, second: Node, conv: Node) -> Any:
    """Two scales or shifts before a padded Conv are one shift, and a scale in its weights."""
    core = Linear.of(conv, w, b)
    require(not is_unpadded(core), "without padding they go into the weights one by one")
    fused = part_of_fusion(first) or part_of_fusion(second)
    require(fused is None, fused or "")
    rank = core.w.ndim
    require(has_channels(x, core, rank), "a constant may widen the operand")
    scale, shift = np.ones(core.inputs), np.zeros(core.inputs)
    for node, constant, is_first in (
        (first, c, first.inputs[0] is not x),
        (second, d, second.inputs[0] is not first.outputs[0]),
    ):
        by, more = (
            None if each is None else per_channel(np.asarray(each), core.inputs, 1, rank)
            for each in affine(node, constant, is_first)
        )
        scale, shift = (scale, shift) if by is None else (scale * by, shift * by)
        shift = shift if more is None else shift + more
    require(np.isfinite(scale).all() and (scale != 0).all(), "the scale is not a finite number other than 0")
    back = (shift / scale).astype(core.w.dtype)
    require(np.isfinite(back).all(), "the shift would not be finite")
    moved = op.Add(x, back.reshape(-1, *[1] * (rank - 2))) if back.any() else x
    return core.rebuilt(moved, core.scaled_inputs(scale), core.bias())


@rule(op.Conv(op.Gather("x", const("order"), axis="axis"), const("w"), opt(const("b"))).named("conv"))
def fold_channel_order(x: Value, order: Any, axis: int, w: Any, b: Any, conv: Node) -> Any:
    """Channels in another order before a Conv: its weights are in another order."""
    core = Linear.of(conv, w, b)
    require(core.group == 1, "the Conv has groups")
    require(axis in (1, 1 - core.w.ndim), "it is not the channels that are gathered")
    require(has_channels(x, core, core.w.ndim), "not all channels are gathered")
    places = np.where(order < 0, order + core.inputs, order)
    require(places.ndim == 1 and np.array_equal(np.sort(places), np.arange(core.inputs)), "no mere change of order")
    weights = np.empty_like(core.w)
    weights[:, places] = core.w
    return core.rebuilt(x, weights.astype(np.float64), core.bias())


RULES = [fold_steps_before_padding, fold_channel_order]
