"""Scales and shifts around Conv, ConvTranspose, Gemm and MatMul go into their weights.

BatchNormalization in inference mode is the scale g = gamma / sqrt(var + epsilon) and the shift beta - mean * g per
channel (Ioffe and Szegedy, 2015); exporters also write it as Mul, Add, Sub and Div of constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import anyof, const, op, opt, require, rule
from onnx_opt_rules.linear import OPERATORS, Linear, has_channels, per_channel, result_rank
from onnx_opt_rules.runtime_fusions import part_of_fusion

ANY_VERSION = 1 << 30
LINEAR = op[OPERATORS]("x", const("w"), opt(const("b"))).named("linear")
MATMUL_BIAS = op.Add(op.MatMul("x", const("w")).named("linear"), const("b"))
STATISTICS = (const("gamma"), const("beta"), const("mean"), const("var"))


def normalization(bn: Node, gamma: Any, beta: Any, mean: Any, var: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift per channel of a BatchNormalization in inference mode (float64)."""
    require(not bn.attribute("training_mode", 0), "BatchNormalization is in training mode")
    require(bn.attribute("spatial", 1), "BatchNormalization is not per channel")
    require(not any(value.uses for value in bn.outputs[1:]), "the statistics are read")
    require(gamma.ndim == 1 and gamma.shape == beta.shape == mean.shape == var.shape, "statistics of unequal shapes")
    spread = var.astype(np.float64) + np.float64(np.float32(bn.attribute("epsilon", 1e-5)))
    require((spread > 0).all(), "a variance is not positive")
    scale = gamma.astype(np.float64) / np.sqrt(spread)
    return scale, beta.astype(np.float64) - mean.astype(np.float64) * scale


def affine(node: Node, constant: np.ndarray, constant_first: bool) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Scale and shift (None: none) of Add, Sub, Mul or Div with a constant."""
    c = constant.astype(np.float64)
    if node.op == "Mul":
        return c, None
    if node.op == "Div":
        require(not constant_first, "a constant divided by the result is not linear")
        require((c != 0).all(), "division by zero")
        return 1 / c, None
    if node.op == "Add":
        return None, c
    return (np.float64(-1), c) if constant_first else (None, -c)  # type: ignore[return-value]


def scale_and_shift(linear: Linear, x: Any, scale: np.ndarray | None, shift: np.ndarray | None) -> Any:
    """scale * linear(x) + shift, with both per output channel."""
    w = linear.w.astype(np.float64) if scale is None else linear.scaled_outputs(scale)
    bias = linear.bias()
    if bias is not None and scale is not None:
        bias = bias * scale
    if shift is not None:
        bias = shift if bias is None else bias + shift
    if bias is not None and linear.has_bias:
        return linear.rebuilt(x, w, bias)
    made = linear.rebuilt(x, w, None)
    return made if bias is None else op.Add(made, linear._rounded(bias))


@rule(op.BatchNormalization(LINEAR, *STATISTICS).named("bn"), opsets=(7, ANY_VERSION))
def fold_batch_normalization(
    x: Value, w: Any, b: Any, linear: Node, bn: Node, gamma: Any, beta: Any, mean: Any, var: Any
) -> Any:
    """BatchNormalization after a linear operator goes into its weights."""
    core = Linear.of(linear, w, b)
    require(core.is_convolution or result_rank(core, x) == 2, "the channels are not the last axis")
    scale, shift = normalization(bn, gamma, beta, mean, var)
    require(scale.size == core.outputs, "the statistics do not match the channels")
    return scale_and_shift(core, x, scale, shift)


@rule(op.BatchNormalization(MATMUL_BIAS, *STATISTICS).named("bn"), opsets=(7, ANY_VERSION))
def fold_batch_normalization_of_matmul(
    x: Value, w: Any, b: Any, linear: Node, bn: Node, gamma: Any, beta: Any, mean: Any, var: Any
) -> Any:
    """BatchNormalization after MatMul and Add goes into weights and bias."""
    core = Linear.of(linear, w, None)
    require(result_rank(core, x) == 2, "the channels are not the last axis")
    scale, shift = normalization(bn, gamma, beta, mean, var)
    require(scale.size == core.outputs, "the statistics do not match the channels")
    return scale_and_shift(core, x, scale, shift + scale * per_channel(b, core.outputs, 1, 2))


def _after(core: Linear, x: Value, c: np.ndarray, node: Node) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Scale and shift per output channel of the constant operation `node` on a linear result."""
    require(node.version >= 7, "broadcasting before operator set 7")
    rank = result_rank(core, x)
    scale, shift = affine(node, c, node.inputs[0].constant is not None)
    axis = core.channel_axis(rank)
    spread = [
        None if part is None else per_channel(np.asarray(part), core.outputs, axis, rank) for part in (scale, shift)
    ]
    require(c.ndim <= rank, "the constant has more dimensions than the result")
    return spread[0], spread[1]


@rule(anyof(op["Add", "Sub", "Mul", "Div"](LINEAR, const("c")), op.Sub(const("c"), LINEAR)))
def fold_affine_after(x: Value, w: Any, b: Any, c: Any, linear: Node, root: Node) -> Any:
    """Add, Sub, Mul or Div of a constant per channel after a linear operator goes into weights and bias."""
    core = Linear.of(linear, w, b)
    scale, shift = _after(core, x, c, root)
    require(core.has_bias or shift is None, "MatMul has no bias")
    return scale_and_shift(core, x, scale, shift)


@rule(op["Add", "Sub", "Mul", "Div"](MATMUL_BIAS, const("c")))
def fold_affine_after_matmul(x: Value, w: Any, b: Any, c: Any, linear: Node, root: Node) -> Any:
    """Add, Sub, Mul or Div of a constant per channel after MatMul and Add goes into weights and bias."""
    core = Linear.of(linear, w, None)
    scale, shift = _after(core, x, c, root)
    rank = result_rank(core, x)
    bias = per_channel(b, core.outputs, rank - 1, rank)
    bias = bias if scale is None else bias * scale
    return scale_and_shift(core, x, scale, bias if shift is None else bias + shift)


AFFINE_OPERAND = anyof(
    op["Add", "Sub", "Mul", "Div"]("x", const("c")).named("inner"), op.Sub(const("c"), "x").named("inner")
)


@rule(op["Conv", "Gemm", "MatMul"](AFFINE_OPERAND, const("w"), opt(const("b"))).named("linear"))
def fold_affine_before(x: Value, w: Any, b: Any, c: Any, inner: Node, linear: Node) -> Any:
    """Add, Sub, Mul or Div of a constant per channel before a linear operator goes into weights and bias."""
    core = Linear.of(linear, w, b)
    fused = part_of_fusion(inner)
    require(fused is None, fused or "")
    require(inner.version >= 7, "broadcasting before operator set 7")
    scale, shift = affine(inner, c, inner.inputs[0] is not x)
    return fold_into_operand(core, x, scale, shift)


@rule(
    op["Conv", "Gemm"](op.BatchNormalization("x", *STATISTICS).named("bn"), const("w"), opt(const("b"))).named(
        "linear"
    ),
    opsets=(7, ANY_VERSION),
)
def fold_batch_normalization_before(
    x: Value, w: Any, b: Any, linear: Node, bn: Node, gamma: Any, beta: Any, mean: Any, var: Any
) -> Any:
    """BatchNormalization before a linear operator without padding goes into weights and bias."""
    core = Linear.of(linear, w, b)
    scale, shift = normalization(bn, gamma, beta, mean, var)
    shape = (-1, *[1] * (core.w.ndim - 2)) if core.is_convolution else (-1,)
    return fold_into_operand(core, x, scale.reshape(shape), shift.reshape(shape))


def fold_into_operand(core: Linear, x: Value, scale: np.ndarray | None, shift: np.ndarray | None) -> Any:
    """linear(scale * x + shift), with both per input channel."""
    require(core.node.op != "Gemm" or not core.node.attribute("transA", 0), "the operand is transposed")
    require(core.node.op != "MatMul" or core.w.ndim == 2, "the weights are no matrix")
    rank = core.w.ndim if core.is_convolution else x.rank or 0
    require(has_channels(x, core, rank), "the constant may widen the operand")
    axis = core.channel_axis(rank)
    spread = [
        None if part is None else per_channel(np.asarray(part), core.inputs, axis, rank) for part in (scale, shift)
    ]
    w = core.w.astype(np.float64) if spread[0] is None else core.scaled_inputs(spread[0])
    if spread[1] is None:
        return core.rebuilt(x, w, core.bias())
    require(core.has_bias, "MatMul has no bias")
    require(is_unpadded(core), "padding is not shifted")
    bias = core.response(spread[1])
    old = core.bias()
    return core.rebuilt(x, w, bias if old is None else bias + old)


def is_unpadded(core: Linear) -> bool:
    """Whether no padding goes into what it computes."""
    if not core.is_convolution:
        return True
    mode = core.node.attribute("auto_pad", "NOTSET")
    return mode == "VALID" or (mode == "NOTSET" and not any(core.node.attribute("pads") or ()))


RULES = [
    fold_batch_normalization,
    fold_batch_normalization_of_matmul,
    fold_affine_after,
    fold_affine_after_matmul,
    fold_affine_before,
    fold_batch_normalization_before,
]
