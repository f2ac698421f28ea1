"""Transposes around all kinds of operators: what a layout optimizer moves, and what it must leave alone."""

from __future__ import annotations

import numpy as np

from .control import grow_on
from .draw import Draw
from .linear import batch_normalization, conv, image
from .motifs import activation, affine
from .registry import sampler
from .scope import Refused, Scope, Val


def inverse(perm: list[int]) -> list[int]:
    return [int(i) for i in np.argsort(perm)]


def channels_first(rank: int) -> list[int]:
    """The permutation that moves the last dim behind the first."""
    return [0, rank - 1, *range(1, rank - 1)]


@sampler(1.2)
def two_transposes(scope: Scope) -> Val:
    """Transposes with something between them, undone or not."""
    draw = scope.draw
    x = scope.pick(scope.plan.floats, least=2)
    perm = draw.permutation(x.rank)
    y = scope.node("Transpose", [x], perm=perm)
    for _ in range(draw.integer(0, 2)):
        y = affine(scope, y, draw.integer(0, y.rank - 1)) if draw.chance(0.5) else scope.node("Relu", [y])
    back = [int(i) for i in np.argsort(perm)] if draw.chance(0.7) else draw.permutation(x.rank)
    return scope.node("Transpose", [y], perm=[*back, *range(x.rank, y.rank)])


@sampler(2.0)
def sandwich(scope: Scope) -> Val:
    """Any operators between two transposes."""
    draw = scope.draw
    x = scope.floating(least=2)
    perm = _some_permutation(draw, x.rank)
    y = grow_on(scope, scope.node("Transpose", [x], perm=perm), draw.integer(1, 4))
    back = inverse(perm) if y.rank == x.rank and draw.chance(0.8) else draw.permutation(y.rank)
    return scope.node("Transpose", [y], perm=back)


def _some_permutation(draw: Draw, rank: int) -> list[int]:
    styles = [channels_first(rank), inverse(channels_first(rank)), draw.permutation(rank)]
    return draw.pick(styles)


@sampler(2.0)
def channels_last_block(scope: Scope) -> Val:
    """Convolutions in a channels-last model, with what such models have between them."""
    draw = scope.draw
    if scope.parent is not None or scope.is_function:
        x = scope.floating(rank=4, wide=True)
    else:
        kind = scope.plan.floats[0] if scope.plan.floats[0] in ("float32", "float64") else "float32"
        x = scope.input(kind, [scope.axis(), draw.integer(1, 4), draw.integer(1, 4), draw.integer(1, 4)])
    perm = channels_first(x.rank)
    for _ in range(draw.pick([1, 1, 2])):
        y = scope.node("Transpose", [x], perm=perm)
        y = conv(scope, y)
        if draw.chance(0.3):
            y = batch_normalization(scope, y)
        if draw.chance(0.4):
            y = activation(scope, y)
        if draw.chance(0.4):
            y = grow_on(scope, y, draw.integer(1, 2))
        if y.rank != x.rank:
            return y
        x = scope.node("Transpose", [y], perm=inverse(perm))
        if draw.chance(0.5):
            x = affine(scope, x, -1)
        if draw.chance(0.4):
            x = grow_on(scope, x, draw.integer(1, 3))
        if x.rank != len(perm):
            return x
    return x


@sampler(0.8)
def transposed_product(scope: Scope) -> Val:
    """Transposes before and after matrix products."""
    draw = scope.draw
    x = scope.floating(least=2, wide=True)
    swap = [*range(x.rank - 2), x.rank - 1, x.rank - 2]
    perm = swap if draw.chance(0.7) else draw.permutation(x.rank)
    left = scope.node("Transpose", [x], perm=perm)
    style = draw.pick(["MatMul", "MatMul", "Gemm", "Einsum"])
    if style == "Gemm":
        if x.rank != 2 or left.dims[1] is None:
            raise Refused("no matrix")
        w = scope.const(draw.array(x.dtype, [2, left.dims[1]], "plain"))
        w = scope.node("Transpose", [w], perm=[1, 0]) if draw.chance(0.5) else w
        return scope.node("Gemm", [left, w], transB=int(w.dims[0] != left.dims[1]), transA=draw.pick([None, 0, 1]))
    if style == "Einsum" and scope.plan.opset >= 12:
        letters = "abcdefgh"[: x.rank]
        y = scope.node(
            "Einsum",
            [left, x],
            equation=f"{letters},{''.join(letters[p] for p in inverse(perm))}->{letters[:1]}{letters[-1:]}",
        )
    else:
        y = scope.node("MatMul", [left, x] if draw.chance(0.5) else [x, left])
    if draw.chance(0.6) and y.rank >= 2:
        return scope.node("Transpose", [y], perm=[*range(y.rank - 2), y.rank - 1, y.rank - 2])
    return y


@sampler(1.5)
def image_block(scope: Scope) -> Val:
    """A convolution and operators on its result."""
    return grow_on(scope, conv(scope, image(scope)), scope.draw.integer(1, 4))
