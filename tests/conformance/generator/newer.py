"""Operators of the newest operator sets, and those that few models have."""

from __future__ import annotations

from functools import partial

import numpy as np

from .linear import channels, divisors, image, weights
from .movement import any_axis, ints
from .registry import sampler
from .scope import Refused, Scope, Val


@sampler(0.5, 23)
def rms_normalization(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.floating(least=1, wide=True)
    size = x.dims[-1]
    if not size or x.is_empty:
        raise Refused("an axis of unknown size")
    return scope.node("RMSNormalization", [x, scope.const(draw.array(x.dtype, [size], "plain"))], axis=-1)


@sampler(0.5, 23)
def attention(scope: Scope) -> object:
    """Heads in the second dim, or packed into the last one; causal or with a mask."""
    draw = scope.draw
    q = scope.pick(["float32"], rank=draw.pick([3, 4]))
    if q.is_empty or q.dims[-1] is None or q.dims[0] is None:
        raise Refused("heads of unknown size")
    keys = [int(q.dims[0]), *([int(q.dims[1] or 1)] if q.rank == 4 else []), draw.integer(1, 3), int(q.dims[-1])]
    if q.rank == 4 and q.dims[1] is None:
        raise Refused("heads of unknown number")
    k, v = (scope.const(draw.array("float32", keys, "plain")) for _ in range(2))
    heads = {} if q.rank == 4 else {name: draw.pick(divisors(keys[-1])) for name in ("q_num_heads",)}
    if heads:
        heads["kv_num_heads"] = heads["q_num_heads"]
    extra = {"is_causal": 1} if draw.chance(0.3) else {}
    return scope.node("Attention", [q, k, v], **heads, **extra)


@sampler(0.3, 23)
def rotary_embedding(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(["float32"], rank=4)
    batch, _, length, width = x.dims
    if x.is_empty or batch is None or length is None or width is None or width % 2:
        raise Refused("pairs of unknown number")
    cos, sin = (scope.const(draw.array("float32", [batch, length, width // 2], "plain")) for _ in range(2))
    return scope.node("RotaryEmbedding", [x, cos, sin], interleaved=draw.pick([None, 0, 1]))


@sampler(0.3, 24)
def swish(scope: Scope) -> Val:
    return scope.node("Swish", [scope.floating()], alpha=scope.draw.pick([None, 1.0, 0.5, 1.702]))


@sampler(0.3, 26)
def cum_prod(scope: Scope) -> Val:
    x = scope.pick(["float32", "int64"], least=1)
    return scope.node("CumProd", [x, scope.const(np.asarray(any_axis(scope, x.rank), np.int64))])


@sampler(0.2, 9)
def shrink(scope: Scope) -> Val:
    return scope.node("Shrink", [scope.floating()], lambd=scope.draw.pick([0.5, 0.0]), bias=scope.draw.pick([0.0, 0.5]))


@sampler(0.2, 9)
def mean_variance_normalization(scope: Scope) -> Val:
    x = scope.pick(["float32"], rank=4)
    if x.is_empty:
        raise Refused("empty")
    return scope.node("MeanVarianceNormalization", [x], axes=scope.draw.pick([None, [0, 2, 3], [2, 3]]))


@sampler(0.2, 16)
def grid_sample(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(["float32"], rank=4)
    if x.is_empty or x.dims[0] is None:
        raise Refused("a batch of unknown size")
    grid = scope.const(draw.array("float32", [int(x.dims[0]), 2, 2, 2], "plain"))
    linear = "bilinear" if scope.plan.opset < 20 else "linear"
    mode = draw.pick([linear, "nearest"])
    return scope.node("GridSample", [x, grid], mode=mode, padding_mode=draw.pick(["zeros", "border"]))


@sampler(0.2, 18)
def center_crop_pad(scope: Scope) -> Val:
    x = scope.pick(["float32", "int64"], least=1)
    axis = scope.draw.integer(0, x.rank - 1)
    return scope.node("CenterCropPad", [x, ints(scope, [scope.draw.integer(1, 4)])], axes=[axis])


@sampler(0.2, 10)
def convolution_of_integers(scope: Scope) -> Val:
    """ConvInteger, QLinearConv or QLinearMatMul with constant scales and zero points."""
    draw = scope.draw
    op = draw.pick(["ConvInteger", "QLinearConv", "QLinearMatMul"])
    kind = draw.pick(["uint8", "uint8", "int8"]) if op == "QLinearMatMul" else "uint8"
    x = scope.pick([kind], rank=2 if op == "QLinearMatMul" else 4)
    inner = x.dims[1]
    if inner is None or not inner or x.is_empty:
        raise Refused("weights of unknown size")
    dims = [inner, 2] if op == "QLinearMatMul" else [draw.integer(1, 3), inner, 1, 1]
    w = scope.const(draw.array(kind, dims, "plain"))
    zero = scope.const(np.asarray(draw.integer(0, 5)).astype(kind))
    if op == "ConvInteger":
        return scope.node(op, [x, w, zero])
    scale = scope.scalar(draw.pick([0.5, 0.25, 1.0]), "float32")
    return scope.node(op, [x, scale, zero, w, scale, zero, scale, zero])


def _global_lp(op: str, scope: Scope) -> Val:
    return scope.node(op, [image(scope)], p=scope.draw.pick([1, 2]))


sampler(0.1, 7, name="GlobalLpPool")(partial(_global_lp, "GlobalLpPool"))


@sampler(0.2, 18)
def col2im(scope: Scope) -> Val:
    x = scope.pick(["float32"], rank=3)
    if x.is_empty or x.dims[1] is None:
        raise Refused("columns of unknown number")
    blocks = scope.draw.pick([[1, 1], [1, 2], [2, 1]])
    return scope.node("Col2Im", [x, ints(scope, [2, 2]), ints(scope, blocks)])


@sampler(0.15, 19)
def deform_conv(scope: Scope) -> Val:
    draw = scope.draw
    x = image(scope, 2)
    if None in x.dims or x.is_empty:
        raise Refused("offsets of unknown size")
    batch, _, height, width = (int(dim or 0) for dim in x.dims)
    w = scope.const(weights(draw, x.dtype, [2, channels(x), 1, 1]))
    offset = scope.const(draw.array(x.dtype, [batch, 2, height, width], "plain"))
    return scope.node("DeformConv", [x, w, offset])
