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

SCALED = op["Mul", "Div"]("x", const("c")).named("scaled")
SHIFTED = anyof(op["Add", "Sub"](SCALED, const("d")).named("shifted"), op.Sub(const("d"), SCALED).named("shifted"))


@rule(op.Conv(SHIFTED, const("w"), opt(const("b"))).named("conv"), opsets=(7, 1 << 30))
def fold_scale_before_shift(x: Value, c: Any, d: Any, w: Any, b: Any, scaled: Node, shifted: Node, conv: Node) -> Any:
    """A scale before a shift before a padded Conv goes into its weights, and the shift is scaled back."""
    core = Linear.of(conv, w, b)
    require(not is_unpadded(core), "without padding both go into the weights one by one")
    fused = part_of_fusion(scaled) or part_of_fusion(shifted)
    require(fused is None, fused or "")
    rank = core.w.ndim
    require(has_channels(x, core, rank), "the constant may widen the operand")
    sign, shift = affine(shifted, d, shifted.inputs[0].constant is not None)
    factor, _ = affine(scaled, c, scaled.inputs[0] is not x)
    factor, shift = (per_channel(np.asarray(part), core.inputs, 1, rank) for part in (factor, shift))
    factor = factor if sign is None else factor * sign
    require(np.isfinite(factor).all() and (factor != 0).all(), "the scale is not a finite number other than 0")
    back = (shift / factor).astype(core.w.dtype)
    require(np.isfinite(back).all(), "the shift would not be finite")
    moved = op.Add(x, back.reshape(-1, *[1] * (rank - 2)))
    return core.rebuilt(moved, core.scaled_inputs(factor), core.bias())


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


RULES = [fold_scale_before_shift, fold_channel_order]
