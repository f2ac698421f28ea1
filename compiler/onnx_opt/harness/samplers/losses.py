"""Losses: scores of classes, and the class of each example."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from onnx_opt.harness.draw import Dims, Draw, below, fraction, ordinary
from onnx_opt.harness.samplers.registry import sampler
from onnx_opt.harness.sketch import Unfit

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site


@sampler("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def loss(site: Site) -> None:
    draw = site.draw
    classes = draw.integers(2, 4, ()).item()
    others = draw.dims(draw.pick([0, 0, 1, 2]))
    batch = draw.size()
    site.operand(0, (batch, classes, *others), filler=fraction, exact=True)
    site.operand(1, (batch, *others), filler=below(classes), elem_type=TensorProto.INT64, side=False)
    site.optional(2, (classes,))
    site.attr("reduction", draw.pick(["none", "sum", "mean"]))
    if draw.chance(0.3):
        site.attr("ignore_index", draw.integer(0, 1))


@sampler("CenterCropPad")
def center_crop_pad(site: Site) -> None:
    x = site.operand(0, site.wish.dims or site.draw.dims(2))
    if not x.dims:
        raise Unfit("there is nothing to crop")
    axes = sorted(site.draw.shuffled(range(len(x.dims)))[: site.draw.integer(1, max(1, len(x.dims)))])
    if len(axes) < len(x.dims) or site.draw.chance(0.5):
        site.attr("axes", axes)
    site.operand(1, array=_sizes(site.draw, [x.dims[axis] for axis in axes]), elem_type=TensorProto.INT64, side=True)


def _seen(draw: Draw, dims: Dims, dtype: np.dtype) -> np.ndarray:
    """A mask that leaves each row something to attend to: of nothing, runtimes make what they like."""
    mask = ordinary(draw, dims, dtype)
    mask[..., :1] = 1
    return mask


def _sizes(draw: Draw, dims: list[int]) -> np.ndarray:
    return np.array([max(1, size + draw.integer(-2, 2)) for size in dims], np.int64)


@sampler("Attention")
def attention(site: Site) -> None:
    """Operands with heads as an axis, without past keys; the mask may be of numbers or of bool."""
    draw = site.draw
    batch, heads, rows, columns, size = (draw.size() for _ in range(5))
    group = draw.pick([1, 1, 2])
    q = site.operand(0, (batch, heads * group, rows, size), exact=True)
    site.operand(1, (batch, heads, columns, size), exact=True)
    site.operand(2, (batch, heads, columns, draw.pick([size, size, draw.size()])), exact=True)
    kind = draw.pick([q.elem_type, TensorProto.BOOL])
    site.optional(3, draw.pick([(rows, columns), (1, 1, rows, columns)]), elem_type=kind, filler=_seen)
    if draw.chance(0.3):
        site.attr("is_causal", 1)
    if draw.chance(0.3):
        site.attr("scale", 0.5)
    if draw.chance(0.3):
        site.attr("softcap", 2.0)
