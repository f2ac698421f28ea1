"""Operators that move elements: transposing, joining, splitting, slicing, gathering, padding, resizing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from onnx_opt.harness.draw import Dims, Draw, below, positive
from onnx_opt.harness.samplers.linear import image_dims
from onnx_opt.harness.samplers.registry import guess_attributes, sampler
from onnx_opt.harness.sketch import Operand, Unfit

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site

TO_THE_END = (1 << 63) - 1


def axis_of(site: Site, rank: int, name: str = "axis", default: Any = None) -> int:
    """An axis attribute, counted from the end now and then; returns it counted from the start."""
    if not rank:
        raise Unfit("a scalar has no axes")
    axis = site.draw.integer(0, rank - 1) if default is None else default
    axis = site.decided(name, axis - rank if site.version >= 11 and site.draw.chance(0.25) else axis)
    if not -rank <= axis < rank:
        raise Unfit("no such axis")
    site.attr(name, axis)
    return int(axis) % rank


def int_list(site: Site, index: int, name: str, numbers: list[int]) -> None:
    """Numbers that earlier operator sets take as an attribute and later ones as an operand."""
    if site.takes(name):
        site.attr(name, numbers)
    elif index < site.count:
        site.optional(index, array=np.array(numbers, np.int64), elem_type=TensorProto.INT64, required=True)


@sampler("Transpose")
def transpose(site: Site) -> None:
    draw, wish = site.draw, site.wish.dims
    perm = site.decided("perm")
    if perm is None:
        perm = _perm(draw, len(wish) if wish is not None else draw.pick([2, 2, 3, 3, 4, 4, 4]))
    fits = wish is not None and len(wish) == len(perm)
    dims = tuple(wish[list(perm).index(axis)] for axis in range(len(perm))) if wish is not None and fits else None
    x = site.operand(0, dims or draw.dims(len(perm)))
    if len(x.dims) != len(perm):
        perm = _perm(draw, len(x.dims))
    site.attr("perm", list(perm))


def _perm(draw: Draw, rank: int) -> list[int]:
    """Often the last two axes change places, or the channels move to the end or to the front."""
    axes = list(range(rank))
    if rank < 2 or draw.chance(0.3):
        return draw.shuffled(axes)
    swapped = [*axes[:-2], axes[-1], axes[-2]]
    return draw.pick([swapped, swapped, swapped, [axes[0], *axes[2:], axes[1]], [axes[0], axes[-1], *axes[1:-1]]])


@sampler("Concat")
def concat(site: Site) -> None:
    """Parts of unequal lengths; of a wish for contents, each part its share."""
    draw, wish = site.draw, site.wish
    if wish.array is not None and wish.array.ndim == 1 and len(wish.array) >= site.count:
        _concat_contents(site, wish.array)
        return
    first, *others = site.in_order(range(site.count))
    axis = site.decided("axis")
    dims = wish.dims if wish.dims else draw.dims(max(draw.integer(1, 4), 0 if axis is None else axis + 1))
    axis = (draw.integer(0, len(dims) - 1) if axis is None else axis) % max(len(dims), 1)
    share = max(1, dims[axis] // max(site.count, 1)) if wish.dims else dims[axis]
    made = site.operand(first, (*dims[:axis], share, *dims[axis + 1 :]), side=False)
    axis = axis_of(site, len(made.dims), default=min(axis, len(made.dims) - 1) if made.dims else None)
    for index in others:
        length = made.dims[axis] if draw.chance(0.5) else draw.size()
        site.optional(index, (*made.dims[:axis], length, *made.dims[axis + 1 :]), exact=True, side=False)


def _concat_contents(site: Site, array: np.ndarray) -> None:
    site.attr("axis", 0)
    for index in range(site.count):
        end = index + 1 if index + 1 < site.count else len(array)
        site.operand(index, array=array[index:end], side=True)


@sampler("Split")
def split(site: Site) -> None:
    """Into equal parts, or parts of given lengths."""
    draw = site.draw
    parts = site.outputs if site.outputs > 1 else draw.pick([1, 2, 2, 3])
    site.outputs = parts
    dims = list(draw.dims(draw.integer(1, 4)))
    chosen = draw.integer(0, len(dims) - 1)
    dims[chosen] = parts * draw.integer(1, 2)
    x = site.operand(0, tuple(dims))
    axis = axis_of(site, len(x.dims), default=chosen if chosen < len(x.dims) else None)
    size = x.dims[axis]
    lengths = [size // parts] * (parts - 1)
    lengths.append(size - sum(lengths))
    if draw.chance(0.5) and lengths[-1] > 1:
        lengths[0], lengths[-1] = lengths[0] + 1, lengths[-1] - 1
    equal = len(set(lengths)) == 1
    if not (equal and draw.chance(0.4)) or site.count > 1:
        int_list(site, 1, "split", lengths)
    if site.takes("num_outputs") and site.operands.get(1) is None:
        site.attr("num_outputs", parts)


@sampler("Slice")
def slice_(site: Site) -> None:
    """Along one or two axes, from either end, past the end, with steps."""
    draw = site.draw
    x = site.operand(0, site.wish.dims or draw.dims(draw.integer(1, 4)))
    if not x.dims:
        raise Unfit("a scalar has no axes")
    axes = sorted(draw.shuffled(range(len(x.dims)))[: draw.pick([1, 1, 2])])
    starts = [draw.pick([0, 0, 1, -1, -2]) for _ in axes]
    ends = [draw.pick([x.dims[axis], TO_THE_END, TO_THE_END, x.dims[axis] - 1, -1]) for axis in axes]
    if axes != list(range(len(axes))) or draw.chance(0.7) or site.count > 4:
        int_list(site, 3, "axes", axes)
    elif not site.takes("axes") and site.count <= 3:
        axes = axes[: len(x.dims)]
    int_list(site, 1, "starts", starts)
    int_list(site, 2, "ends", ends)
    if not site.takes("starts"):
        site.optional(4, array=np.array([draw.pick([1, 1, 2]) for _ in axes], np.int64))


@sampler("Gather")
def gather(site: Site) -> None:
    draw, wanted = site.draw, site.wish.array
    if site.is_computed(1) and not site.is_computed(0) and not site.is_bound(0):
        indices = site.operand(1, elem_type=TensorProto.INT64, filler=below(3))
        axis = axis_of(site, rank := draw.integer(1, 3))
        least = int(np.abs(indices.array.astype(np.int64)).max(initial=0)) + 1
        site.operand(0, tuple(max(least, 3) if a == axis else draw.size() for a in range(rank)))
        return
    if site.wish.dims is not None and len(site.wish.dims) > 2 and not site.is_computed(1) and draw.chance(0.7):
        another_order(site)
        return
    x = site.operand(0, draw.dims(draw.integer(1, 4)), array=None)
    if not x.dims or not all(x.dims):
        raise Unfit("nothing to gather from")
    axis = axis_of(site, len(x.dims))
    if wanted is not None and wanted.size == 1 and x.array.ndim == 1:
        places = np.flatnonzero(x.array == wanted.item()).tolist() or [0]
        site.operand(1, array=np.full(wanted.shape, draw.pick(places)), side=True)
        return
    size = x.dims[axis]
    site.operand(1, draw.pick([(), (), (1,), (2,), (2, 2)]), filler=below(size, negative=site.version >= 11))


def another_order(site: Site) -> None:
    """All channels of what was wished for, in another order; seldom with one of them twice."""
    x = site.operand(0, site.wish.dims)
    if len(x.dims) < 2 or not x.dims[1]:
        raise Unfit("no channels")
    places = site.draw.shuffled(range(x.dims[1]))
    if site.draw.chance(0.15):
        places[0] = places[-1]
    site.attr("axis", 1)
    site.operand(1, array=np.array(places, np.int64))


@sampler("GatherElements")
def gather_elements(site: Site) -> None:
    x = site.operand(0, site.wish.dims or site.draw.dims(site.draw.integer(1, 3)))
    axis = axis_of(site, len(x.dims))
    site.operand(1, x.dims, filler=below(x.dims[axis]))


@sampler("Pad")
def pad(site: Site) -> None:
    """Amounts are an attribute before operator set 11, then an operand; the last axes are padded most."""
    draw = site.draw
    x = site.operand(0, site.wish.dims or draw.dims(draw.pick([2, 3, 4, 4])))
    rank = len(x.dims)
    axes = list(range(rank))
    if site.count > 3:
        chosen = sorted(draw.shuffled(axes)[: draw.integer(1, rank)]) if rank else []
        listed = site.optional(3, array=np.array(chosen, np.int64), elem_type=TensorProto.INT64)
        axes = chosen if listed is not None else axes
    spatial = draw.chance(0.75)
    amounts = [0 if spatial and axis < 2 and rank > 2 else draw.pick([0, 0, 1, 1, 2]) for axis in axes * 2]
    if amounts and draw.chance(0.08):
        amounts[-1] = -1
    site.attr("mode", "constant" if draw.chance(0.85) else draw.pick(["edge", "reflect"]))
    int_list(site, 1, "pads", amounts)
    number = 0.0 if draw.chance(0.7) else 1.5
    if site.takes("value"):
        site.attr("value", number)
    else:
        site.optional(2, array=np.array(number))


@sampler("DepthToSpace", "SpaceToDepth")
def depth_to_space(site: Site) -> None:
    """Blocks of two by two."""
    draw = site.draw
    block = site.attr("blocksize", 2)
    batch, channels, height, width = draw.dims(4)
    deep = (batch, channels * block * block, height, width)
    x = site.operand(0, deep if site.op == "DepthToSpace" else (batch, channels, height * block, width * block))
    if site.takes("mode") and len(x.dims) == 4 and draw.chance(0.5):
        site.attr("mode", draw.pick(["DCR", "CRD"]))


@sampler("Upsample", "Resize")
def resize(site: Site) -> None:
    """By whole factors or to sizes, nearest or linear."""
    draw = site.draw
    x = site.operand(0, image_dims(site)[:4])
    site.attr("mode", draw.pick(["nearest", "nearest", "linear"]))
    factors = np.array([1.0, 1.0, *[draw.pick([1.0, 2.0, 2.0]) for _ in x.dims[2:]]][: len(x.dims)], np.float32)
    if site.takes("scales"):
        site.attr("scales", factors.tolist())
    elif site.count <= 2:
        site.operand(1, array=factors, elem_type=TensorProto.FLOAT)
    else:
        _resize_operands(site, x, factors)
    if site.takes("coordinate_transformation_mode") and draw.chance(0.7):
        site.attr("coordinate_transformation_mode", draw.pick(["asymmetric", "half_pixel", "pytorch_half_pixel"]))


def _resize_operands(site: Site, x: Operand, factors: np.ndarray) -> None:
    """Scales or sizes: one of the two is absent or empty."""
    nothing = np.zeros(0, np.float32)
    site.optional(1, array=nothing, elem_type=TensorProto.FLOAT)
    by_sizes = site.count > 3 and (site.version >= 13 or not site.is_free(2)) and site.draw.chance(0.5)
    if by_sizes:
        sizes = (np.array(x.dims) * factors).astype(np.int64)
        listed = site.optional(3, array=sizes, elem_type=TensorProto.INT64)
        if listed is not None:
            site.optional(2, array=nothing, elem_type=TensorProto.FLOAT)
            return
    site.optional(2, array=factors, elem_type=TensorProto.FLOAT, required=True)


@sampler("GatherND")
def gather_nd(site: Site) -> None:
    x = site.operand(0, site.draw.dims(site.draw.integer(1, 3)))
    depth = site.draw.integer(1, max(len(x.dims), 1))
    site.operand(1, (site.draw.size(), depth), filler=below(min(x.dims[:depth], default=1)))


@sampler("ScatterND")
def scatter_nd(site: Site) -> None:
    """Rows (or elements) of distinct positions."""
    draw = site.draw
    x = site.operand(0, site.wish.dims or draw.dims(draw.integer(1, 3)))
    if not x.dims:
        raise Unfit("a scalar has no rows")
    rows = np.array(draw.shuffled(range(x.dims[0]))[: draw.integer(1, x.dims[0])])
    indices = site.operand(1, array=rows.reshape(-1, 1), elem_type=TensorProto.INT64)
    site.operand(2, (*indices.dims[:-1], *x.dims[1:]), side=False)


@sampler("ScatterElements")
def scatter_elements(site: Site) -> None:
    """Distinct positions along the axis."""
    draw = site.draw
    x = site.operand(0, site.wish.dims or draw.dims(draw.integer(1, 2)))
    axis = axis_of(site, len(x.dims))
    order = np.array(draw.shuffled(range(x.dims[axis]))).reshape([-1 if a == axis else 1 for a in range(len(x.dims))])
    indices = site.operand(1, array=np.broadcast_to(order, x.dims), elem_type=TensorProto.INT64)
    site.operand(2, indices.dims, side=False)


@sampler("OneHot")
def one_hot(site: Site) -> None:
    depth = site.draw.integer(2, 4)
    site.operand(0, site.draw.dims(site.draw.integer(1, 2)), filler=below(depth), elem_type=TensorProto.INT64)
    site.operand(1, array=np.array(depth), elem_type=TensorProto.INT64)
    site.operand(2, array=np.array([0, 1]))


@sampler("TopK")
def top_k(site: Site) -> None:
    x = site.operand(0, site.wish.dims or site.draw.dims(site.draw.integer(1, 3)))
    axis = axis_of(site, len(x.dims))
    site.operand(1, array=np.array([site.draw.integer(1, x.dims[axis])]), elem_type=TensorProto.INT64)
    site.outputs = 2


@sampler("Trilu")
def trilu(site: Site) -> None:
    site.operand(0, _matrices(site))
    site.attr("upper", site.draw.integer(0, 1))
    site.optional(1, array=np.array(site.draw.integer(-1, 2)), elem_type=TensorProto.INT64)


def _matrices(site: Site) -> Dims:
    return site.wish.dims if site.wish.dims and len(site.wish.dims) > 1 else site.draw.dims(site.draw.integer(2, 3))


@sampler("CumSum")
def cumulative(site: Site) -> None:
    x = site.operand(0, site.wish.dims or site.draw.dims(site.draw.integer(1, 3)))
    if not x.dims:
        raise Unfit("a scalar has no axes")
    axis = np.array(site.draw.integer(0, len(x.dims) - 1))
    site.operand(1, array=axis, elem_type=TensorProto.INT64)
    guess_attributes(site)


@sampler("RoiAlign")
def roi_align(site: Site) -> None:
    x = site.operand(0, site.draw.dims(4))
    site.operand(1, (2, 4), filler=positive)
    site.operand(2, (2,), filler=below(x.dims[0]), elem_type=TensorProto.INT64)
