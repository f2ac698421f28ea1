"""Convolutions, matrix products, pools and normalizations."""

from __future__ import annotations

from functools import partial

import numpy as np

from .draw import Draw
from .movement import any_axis
from .registry import sampler
from .scope import Refused, Scope, Val

POSITIVE_FROM = 0.25


def image(scope: Scope, spatial: int = 0) -> Val:
    """Something of dims (batch, channels, spatial...) whose channels are known."""
    draw = scope.draw
    rank = 2 + (spatial or draw.pick([1, 2, 2, 2, 3]))
    kinds = [kind for kind in scope.plan.floats if kind in ("float32", "float64")] or ["float32"]
    if scope.focus is None and scope.parent is None and not scope.is_function and draw.chance(0.35):
        return scope.input(kinds[0], [scope.axis(), draw.integer(1, 4), *(scope.axis() for _ in range(rank - 2))])
    return scope.pick(
        kinds,
        rank,
        where=lambda value: value.dims[1] not in (None, 0) and int(value.dims[1] or 0) <= 16,
    )


def channels(value: Val) -> int:
    """The number of channels."""
    return int(value.dims[1] or 1)


def divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def window(draw: Draw, x: Val) -> dict[str, object]:
    """Attributes of a sliding window, the kernel's size included."""
    spatial = x.rank - 2
    if spatial < 1:
        raise Refused("no image")
    kernel = [draw.pick([1, 1, 2, 3]) for _ in range(spatial)]
    attrs: dict[str, object] = {"kernel_shape": kernel}
    if draw.chance(0.3):
        attrs["strides"] = [draw.pick([1, 2]) for _ in range(spatial)]
    style = draw.pick(["none", "pads", "pads", "zero", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if style == "pads":
        attrs["pads"] = [draw.integer(0, kernel[i % spatial] - 1) for i in range(2 * spatial)]
    elif style == "zero":
        attrs["pads"] = [0] * (2 * spatial)
    elif style != "none":
        attrs["auto_pad"] = style
    return attrs


def weights(draw: Draw, dtype: str, dims: list[int]) -> np.ndarray:
    """Weights of moderate size: now and then some of them 0."""
    array = draw.array(dtype, dims, "plain")
    if draw.chance(0.15) and array.size:
        array.reshape(-1)[0] = 0
    return array


def conv(scope: Scope, x: Val | None = None) -> Val:
    """A Conv with constant weights."""
    draw = scope.draw
    x = x or image(scope)
    attrs = window(draw, x)
    group = draw.pick([1, 1, 1, *divisors(channels(x))])
    out = group * draw.integer(1, 3)
    w = scope.const(weights(draw, x.dtype, [out, channels(x) // group, *attrs["kernel_shape"]]))  # type: ignore[misc]
    bias = scope.const(weights(draw, x.dtype, [out])) if draw.chance(0.5) else None
    if draw.chance(0.4):
        del attrs["kernel_shape"]
    if draw.chance(0.15) and "auto_pad" not in attrs:
        attrs["dilations"] = [draw.pick([1, 2]) for _ in range(x.rank - 2)]
    return scope.node("Conv", [x, w, bias], group=None if group == 1 and draw.chance(0.5) else group, **attrs)


sampler(2.5, name="Conv")(conv)


def conv_transpose(scope: Scope, x: Val | None = None) -> Val:
    """A ConvTranspose with constant weights."""
    draw = scope.draw
    x = x or image(scope)
    attrs = window(draw, x)
    group = draw.pick([1, 1, *divisors(channels(x))])
    per_group = draw.integer(1, 3)
    w = scope.const(weights(draw, x.dtype, [channels(x), per_group, *attrs["kernel_shape"]]))  # type: ignore[misc]
    bias = scope.const(weights(draw, x.dtype, [group * per_group])) if draw.chance(0.5) else None
    return scope.node("ConvTranspose", [x, w, bias], group=group, **attrs)


sampler(0.7, name="ConvTranspose")(conv_transpose)


def gemm(scope: Scope, x: Val | None = None) -> Val:
    """A Gemm; the weights are mostly constant."""
    draw = scope.draw
    x = x or scope.floating(rank=2, wide=True)
    if x.rank != 2:
        raise Refused("a Gemm takes matrices")
    trans_a, trans_b = draw.chance(0.15), draw.chance(0.5)
    inner = x.dims[0 if trans_a else 1]
    if inner is None:
        raise Refused("weights of unknown size")
    out = draw.integer(1, 4)
    w = scope.const(weights(draw, x.dtype, [out, inner] if trans_b else [inner, out]))
    rows = x.dims[1 if trans_a else 0]
    forms = [[out], [1, out], [1], [], *([[rows, out], [rows, 1]] if rows else [])]
    bias = scope.const(weights(draw, x.dtype, draw.pick(forms))) if draw.chance(0.7) or scope.plan.opset < 11 else None
    numbers = {key: draw.pick([0.5, 2.0, 0.0, 1.0]) for key in ("alpha", "beta") if draw.chance(0.25)}
    flags = {key: 1 for key, on in (("transA", trans_a), ("transB", trans_b)) if on}
    return scope.node("Gemm", [x, w, bias], **flags, **numbers)


sampler(1.2, name="Gemm")(gemm)


def matmul(scope: Scope, x: Val | None = None) -> Val:
    """A MatMul by a constant, now and then by something else."""
    draw = scope.draw
    x = x or scope.floating(least=1, wide=True)
    if not x.rank:
        raise Refused("a scalar is no factor of a MatMul")
    inner = x.dims[-1]
    if inner is None or draw.chance(0.15):
        mate = scope.find(lambda v: v.dtype == x.dtype and v.rank > 1 and _multiplies(x, v))
        if mate is None:
            raise Refused("nothing to multiply with")
        return scope.node("MatMul", [x, mate])
    dims = [inner, draw.integer(1, 4)] if draw.chance(0.85) else draw.pick([[inner], [2, inner, 2], [1, inner, 3]])
    return scope.node("MatMul", [x, scope.const(weights(draw, x.dtype, dims))])


sampler(1.8, name="MatMul")(matmul)


def _multiplies(one: Val, two: Val) -> bool:
    return all(p[-1] == q[-2] for p, q in zip(one.shapes, two.shapes, strict=True))


def batch_normalization(scope: Scope, x: Val | None = None) -> Val:
    """In inference mode: in training mode ONNX Runtime writes the new statistics over its operands."""
    draw = scope.draw
    x = x or (image(scope) if draw.chance(0.9) else scope.floating(rank=2, wide=True))
    count = x.dims[1]
    if count is None:
        raise Refused("channels of unknown number")
    positive = draw.array(x.dtype, [count], "plain").astype(np.float64) ** 2 + POSITIVE_FROM
    parameters = [scope.const(draw.array(x.dtype, [count], draw.pick(["plain", "plain", "simple"]))) for _ in range(3)]
    variance = scope.const(positive.astype(parameters[0].values[0].dtype))
    attrs = {"epsilon": draw.pick([1e-5, 1e-3, 0.1])} if draw.chance(0.6) else {}
    return scope.node("BatchNormalization", [x, *parameters, variance], **attrs)


sampler(1.2, name="BatchNormalization")(batch_normalization)


def _pool(op: str, scope: Scope) -> object:
    draw = scope.draw
    x = image(scope)
    attrs = window(draw, x)
    if op == "AveragePool":
        attrs |= {"count_include_pad": draw.pick([0, 1])} if draw.chance(0.5) else {}
    if scope.plan.opset >= 10 and "auto_pad" not in attrs and draw.chance(0.3):
        attrs["ceil_mode"] = 1
    outputs = 2 if op == "MaxPool" and scope.plan.opset >= 8 and draw.chance(0.15) else 1
    return scope.node(op, [x], outputs, **attrs)


for _op in ("MaxPool", "AveragePool"):
    sampler(0.6, name=_op)(partial(_pool, _op))


@sampler(0.2)
def lp_pool(scope: Scope) -> Val:
    x = image(scope)
    return scope.node("LpPool", [x], kernel_shape=[scope.draw.pick([1, 2]) for _ in range(x.rank - 2)])


def _global_pool(op: str, scope: Scope) -> Val:
    return scope.node(op, [image(scope)])


for _op in ("GlobalAveragePool", "GlobalMaxPool"):
    sampler(0.3, name=_op)(partial(_global_pool, _op))


@sampler(0.4)
def instance_normalization(scope: Scope) -> Val:
    """Not of empty tensors: they stop the process."""
    x = image(scope)
    if x.is_empty:
        raise Refused("empty")
    scale, bias = (scope.const(scope.draw.array(x.dtype, [channels(x)], "plain")) for _ in range(2))
    return scope.node("InstanceNormalization", [x, scale, bias])


@sampler(0.6, 17)
def layer_normalization(scope: Scope) -> object:
    draw = scope.draw
    x = scope.floating(least=1, wide=True)
    size = x.dims[-1]
    if not size or x.is_empty:
        raise Refused("an axis of unknown size")
    bias = scope.const(draw.array(x.dtype, [size], "plain")) if draw.chance(0.7) else None
    scale = scope.const(draw.array(x.dtype, [size], draw.pick(["plain", "simple"])))
    return scope.node(
        "LayerNormalization", [x, scale, bias], draw.pick([1, 1, 3]), axis=draw.pick([-1, x.rank - 1, None])
    )


@sampler(0.2, 21)
def group_normalization(scope: Scope) -> Val:
    x = image(scope)
    if x.is_empty:
        raise Refused("empty")
    scale, bias = (scope.const(scope.draw.array(x.dtype, [channels(x)], "plain")) for _ in range(2))
    return scope.node("GroupNormalization", [x, scale, bias], num_groups=scope.draw.pick(divisors(channels(x))))


@sampler(0.2)
def lrn(scope: Scope) -> Val:
    x = image(scope, 2)
    if x.is_empty:
        raise Refused("empty")
    return scope.node("LRN", [x], size=scope.draw.pick([1, 3]))


@sampler(0.3)
def lp_normalization(scope: Scope) -> Val:
    x = scope.floating(least=1, wide=True)
    return scope.node("LpNormalization", [x], axis=any_axis(scope, x.rank), p=scope.draw.pick([1, 2]))


def _softmax(op: str, scope: Scope) -> Val:
    x = scope.floating(least=1)
    if x.is_empty:
        raise Refused("empty")
    axis = scope.draw.pick([None, -1, 0, x.rank - 1])
    return scope.node(op, [x], axis=0 if axis == -1 and scope.plan.opset < 11 else axis)


for _op in ("Softmax", "LogSoftmax", "Hardmax"):
    sampler(0.4, name=_op)(partial(_softmax, _op))
