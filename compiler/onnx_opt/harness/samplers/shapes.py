"""Operators that read shapes or take them as operands; shapes are constants, or computed from those of other values."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from onnx_opt.harness.draw import Dims, Draw
from onnx_opt.harness.samplers.registry import sampler
from onnx_opt.harness.sketch import Operand, Sketch, Unfit

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site

COMPUTED_CHANCE = 0.6
"""How often a shape that the pattern leaves open is computed from the shape of the operand."""


def shape_operand(site: Site, index: int, wanted: Sequence[int], source: Operand) -> Operand:
    """Operand `index` with the elements `wanted`; where it may be anything, often computed from `source`'s dims."""
    if site.is_free(index) and site.draw.chance(COMPUTED_CHANCE):
        return site.place(index, shape_chain(site.sketch, site.draw, wanted, source))
    return site.operand(index, array=np.array(wanted, np.int64), elem_type=TensorProto.INT64, side=True)


def shape_chain(sketch: Sketch, draw: Draw, wanted: Sequence[int], source: Operand) -> Operand:
    """Shape, Gather, Concat and their like, which compute `wanted` at these sizes."""
    shape = sketch.node("Shape", [source])[0]
    parts = [_element(sketch, draw, shape, position, size) for position, size in enumerate(wanted)]
    if not parts:
        return sketch.constant(np.zeros(0, np.int64))
    return sketch.node("Concat", list(parts), {"axis": 0})[0]


def _element(sketch: Sketch, draw: Draw, shape: Operand, position: int, size: int) -> Operand:
    dims = [int(dim) for dim in shape.array]
    axes = [axis for axis, dim in enumerate(dims) if dim == size]
    if axes and draw.chance(0.8):
        same = position in axes and draw.chance(0.8)
        return _dim(sketch, draw, shape, position if same else draw.pick(axes))
    pairs = [axis for axis in range(len(dims) - 1) if dims[axis] * dims[axis + 1] == size]
    if pairs and draw.chance(0.8):
        axis = draw.pick(pairs)
        factors = [_dim(sketch, draw, shape, axis), _dim(sketch, draw, shape, axis + 1)]
        return sketch.node("Mul", list(factors))[0]
    return sketch.constant(np.array([size], np.int64))


def _dim(sketch: Sketch, draw: Draw, shape: Operand, axis: int) -> Operand:
    """One dim as a tensor of one element."""
    form = draw.pick(["slice", "gather", "scalar"])
    if form == "slice" and sketch.version >= 10:
        bounds = [sketch.constant(np.array([bound], np.int64)) for bound in (axis, axis + 1)]
        return sketch.node("Slice", [shape, *bounds])[0]
    if form == "gather":
        return sketch.node("Gather", [shape, sketch.constant(np.array([axis], np.int64))], {"axis": 0})[0]
    number = sketch.node("Gather", [shape, sketch.constant(np.array(axis, np.int64))], {"axis": 0})[0]
    if sketch.version < 13:
        return sketch.node("Unsqueeze", [number], {"axes": [0]})[0]
    return sketch.node("Unsqueeze", [number, sketch.constant(np.array([0], np.int64))])[0]


def regrouped(draw: Draw, dims: Dims) -> Dims:
    """Other dims for as many elements."""
    rank = len(dims)
    form = draw.pick(["same", "merge", "merge", "split", "flat", "one", "swap"])
    axis = draw.integer(0, rank - 1) if rank else 0
    if form == "flat" or not rank:
        return (prod(dims),)
    if form == "merge" and rank > 1:
        axis = min(axis, rank - 2)
        return (*dims[:axis], dims[axis] * dims[axis + 1], *dims[axis + 2 :])
    if form == "split":
        factor = draw.pick([f for f in range(1, dims[axis] + 1) if dims[axis] % f == 0] or [1])
        return (*dims[:axis], factor, dims[axis] // factor, *dims[axis + 1 :])
    if form == "one":
        return (*dims[:axis], 1, *dims[axis:])
    return tuple(draw.shuffled(dims)) if form == "swap" else dims


@sampler("Reshape")
def reshape(site: Site) -> None:
    """To sizes that are written out, taken over (0), inferred (-1) or computed."""
    draw, wish = site.draw, site.wish.dims
    x = site.operand(0, regrouped(draw, wish) if wish is not None else None, array=site.wish.array)
    target = list(wish) if wish is not None and prod(wish) == x.array.size else list(regrouped(draw, x.dims))
    allowzero = site.takes("allowzero") and draw.chance(0.15)
    if allowzero:
        site.attr("allowzero", 1)
    for axis in range(len(target)):
        if axis < len(x.dims) and target[axis] == x.dims[axis] and not allowzero and draw.chance(0.25):
            target[axis] = 0
    if target and draw.chance(0.3) and x.array.size:
        target[draw.integer(0, len(target) - 1)] = -1
    shape_operand(site, 1, target, x)


@sampler("Squeeze", "Unsqueeze")
def squeeze(site: Site) -> None:
    """Axes are an attribute before operator set 13, then an operand; Squeeze without axes takes all."""
    draw, wish = site.draw, site.wish.dims
    adds = site.op == "Unsqueeze"
    rank = len(wish) if wish is not None else draw.integer(1, 4)
    axes = site.decided("axes") or sorted(draw.shuffled(range(rank))[: draw.pick([1, 1, 2])])
    dims = _squeezed(draw, wish, list(axes), adds, rank)
    x = site.operand(0, dims, array=None if site.wish.array is None else site.wish.array.reshape(dims))
    rank = len(x.dims) + (len(axes) if adds else 0)
    if any(not -rank <= axis < rank for axis in axes):
        raise Unfit("no such axis")
    if draw.chance(0.3) and site.version >= 11:
        axes = [axis - rank if axis >= 0 else axis for axis in axes]
    if site.takes("axes"):
        site.attr("axes", list(axes))
    elif adds or site.count > 1:
        site.optional(1, array=np.array(axes, np.int64), elem_type=TensorProto.INT64)


def _squeezed(draw: Draw, wish: Dims | None, axes: list[int], adds: bool, rank: int) -> Dims:
    """Dims of the operand for which Squeeze or Unsqueeze gives those wished for."""
    if adds:
        dims = wish if wish is not None else draw.dims(rank)
        return tuple(dim for axis, dim in enumerate(dims) if axis not in axes and axis - len(dims) not in axes)
    sizes = list(wish if wish is not None else draw.dims(rank))
    for axis in sorted(axis for axis in axes if axis >= 0):
        sizes.insert(axis, 1)
    return tuple(sizes)


@sampler("Flatten")
def flatten(site: Site) -> None:
    wish = site.wish.dims
    x = site.operand(0, wish if wish is not None and len(wish) == 2 else None)
    site.attr("axis", site.draw.pick([1, 1, site.draw.integer(0, len(x.dims))]))


@sampler("Shape", "Size")
def shape(site: Site) -> None:
    """Of anything; sometimes only some of the dims."""
    site.operand(0, None if site.wish.array is None else tuple(int(size) for size in site.wish.array.reshape(-1)))
    if site.op == "Shape" and site.takes("start") and site.draw.chance(0.2):
        site.attr("start", site.draw.pick([0, 1, -1]))


@sampler("ConstantOfShape")
def constant_of_shape(site: Site) -> None:
    dims = site.wish.dims if site.wish.dims is not None else site.draw.dims(site.draw.integer(0, 3))
    site.operand(0, array=np.array(dims, np.int64), side=True)
    if site.draw.chance(0.7):
        dtype = np.float64 if site.grower.elem_type == TensorProto.DOUBLE else np.float32
        site.attr("value", np.array([site.draw.pick([0, 1, 2])], dtype))


@sampler("Expand")
def expand(site: Site) -> None:
    """To more axes, to larger ones, or to what it has."""
    draw, wish = site.draw, site.wish.dims
    dims = wish if wish is not None else draw.dims(draw.integer(1, 4))
    x = site.operand(0, tuple(1 if draw.chance(0.4) else dim for dim in dims)[draw.pick([0, 0, 0, 1]) :])
    if len(x.dims) <= len(dims):
        dims = (*dims[: len(dims) - len(x.dims)], *_widened(x.dims, dims[len(dims) - len(x.dims) :]))
    shape_operand(site, 1, dims if len(x.dims) <= len(dims) else x.dims, x)


def _widened(dims: Dims, wanted: Dims) -> Dims:
    return tuple(want if dim == 1 else dim for dim, want in zip(dims, wanted, strict=True))


@sampler("Tile")
def tile(site: Site) -> None:
    x = site.operand(0, site.wish.dims)
    site.operand(1, array=np.array([site.draw.pick([1, 1, 2]) for _ in x.dims], np.int64), side=True)


@sampler("Range")
def range_(site: Site) -> None:
    start, step = site.draw.integer(-2, 2), site.draw.pick([1, 1, 2, -1])
    for index, number in enumerate((start, start + step * site.draw.integer(0, 4), step)):
        site.operand(index, array=np.array(number), elem_type=TensorProto.INT64, side=True)


@sampler("Constant")
def constant(site: Site) -> None:
    wish = site.wish
    dims = wish.dims if wish.dims is not None else site.draw.dims(site.draw.integer(0, 2))
    site.attr("value", wish.array if wish.array is not None else site.draw.normal(dims).astype(np.float32))
