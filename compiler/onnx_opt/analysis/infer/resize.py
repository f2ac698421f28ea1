"""Resampling of images and volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from onnx_opt.analysis.infer.registry import NodeView, Unknown, axes_of, infer
from onnx_opt.types import Type

_LARGEST_DENOMINATOR = 64


@infer("Resize")
def resize(n: NodeView) -> Type:
    """Each dim times its scale, rounded down, or the size that is asked for."""
    dims = list(n.known_dims(0))
    given = n.ints("axes")
    axes = axes_of(given, len(dims)) if given is not None else list(range(len(dims)))
    scales, sizes = (1, None) if n.version < 11 else (2, 3)
    unknown = n.result(n.elem(0), n.unknown_dims(len(dims)))
    if sizes is not None and n.present(sizes):
        wanted = n.elements(sizes)
        if wanted is None or len(wanted) not in {len(axes), 0}:
            return unknown
        if wanted:
            if n.text("keep_aspect_ratio_policy", "stretch") != "stretch":
                return unknown
            for axis, size in zip(axes, wanted, strict=True):
                dims[axis] = size
            return n.result(n.elem(0), dims)
    factors = n.constant(scales)
    if factors is None or factors.size != len(axes):
        return unknown
    return _scaled(n, dims, axes, factors.reshape(-1).tolist())


@infer("Upsample")
def upsample(n: NodeView) -> Type:
    """Each dim times its scale, rounded down; an attribute before version 9, an operand since."""
    dims = list(n.known_dims(0))
    if n.version < 9:
        factors: Sequence[float] | None = n.attr("scales")
    else:
        array = n.constant(1)
        factors = None if array is None else array.reshape(-1).tolist()
    if factors is None or len(factors) != len(dims):
        return n.result(n.elem(0), n.unknown_dims(len(dims)))
    return _scaled(n, dims, list(range(len(dims))), factors)


def _scaled(n: NodeView, dims: list[Any], axes: list[int], factors: Sequence[float]) -> Type:
    for axis, factor in zip(axes, factors, strict=True):
        if not math.isfinite(factor) or factor <= 0:
            raise Unknown
        dims[axis] = _times(n, dims[axis], factor)
    return n.result(n.elem(0), dims)


def _times(n: NodeView, size: Any, factor: float) -> Any:
    """floor(size * factor). Runtimes multiply in float32: where that rounds to another size than the true product,
    nothing is said."""
    exact = Fraction(factor)
    if isinstance(size, int):
        true, rounded = math.floor(size * exact), math.floor(np.float32(size) * np.float32(factor))
        return true if true == rounded else n.fresh()
    if exact.denominator > _LARGEST_DENOMINATOR:
        return n.shapes.opaque(("scaled", size, exact))
    return n.shapes.floordiv(n.shapes.mul(size, exact.numerator), exact.denominator)


@infer("GridSample")
def grid_sample(n: NodeView) -> Type:
    """[N, C, d...] sampled at [N, d'..., rank] -> [N, C, d'...]."""
    data, grid = n.known_dims(0), n.known_dims(1)
    if len(data) != len(grid) or len(data) < 3:
        raise Unknown
    return n.result(n.elem(0), (*data[:2], *grid[1:-1]))


@infer("AffineGrid")
def affine_grid(n: NodeView) -> Type:
    """The coordinates [N, d..., rank] for an image of size [N, C, d...]."""
    size = n.elements(1)
    if size is None or len(size) < 4:
        raise Unknown
    return n.result(n.elem(0), (size[0], *size[2:], len(size) - 2))
