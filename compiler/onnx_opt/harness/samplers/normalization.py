"""Normalizations: scale and shift have the dims of the channels, or of the normalized axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.harness.draw import Dims, positive
from onnx_opt.harness.samplers.movement import axis_of
from onnx_opt.harness.samplers.registry import sampler
from onnx_opt.harness.sketch import Operand, Unfit

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site

EPSILONS = (1e-5, 1e-3, 0.1)


def _image(site: Site, least: int) -> Operand:
    """An operand with channels along axis 1."""
    wish = site.wish.dims
    dims: Dims = wish if wish is not None and len(wish) >= least else site.draw.dims(site.draw.pick([least, 3, 4, 4]))
    x = site.operand(0, dims)
    if len(x.dims) < least:
        raise Unfit(f"{site.op} needs channels")
    return x


@sampler("BatchNormalization")
def batch_normalization(site: Site) -> None:
    """In inference mode."""
    x = _image(site, 2)
    for index in (1, 2, 3):
        site.operand(index, x.dims[1:2])
    site.operand(4, x.dims[1:2], filler=positive)
    if site.draw.chance(0.7):
        site.attr("epsilon", site.draw.pick(EPSILONS))


@sampler("InstanceNormalization")
def instance_normalization(site: Site) -> None:
    x = _image(site, 3)
    for index in (1, 2):
        site.operand(index, x.dims[1:2])
    site.attr("epsilon", site.draw.pick(EPSILONS))


@sampler("GroupNormalization")
def group_normalization(site: Site) -> None:
    """The scale is per group in operator sets 18 to 20, then per channel."""
    x = _image(site, 3)
    groups = site.attr("num_groups", site.draw.pick([g for g in range(1, x.dims[1] + 1) if x.dims[1] % g == 0]))
    for index in (1, 2):
        site.operand(index, (groups if site.version < 21 else x.dims[1],))
    site.attr("epsilon", site.draw.pick(EPSILONS))


@sampler("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def layer_normalization(site: Site) -> None:
    """Mostly over the last axis."""
    x = site.operand(0, site.wish.dims or site.draw.dims(site.draw.pick([2, 3, 3, 4])))
    axis = axis_of(site, len(x.dims), default=len(x.dims) - 1 if x.dims and site.draw.chance(0.7) else None)
    site.operand(1, x.dims[axis:])
    site.optional(2, x.dims[axis:])
    site.attr("epsilon", site.draw.pick(EPSILONS))


@sampler("LRN")
def local_response(site: Site) -> None:
    _image(site, 3)
    site.attr("size", site.draw.pick([1, 3]))


@sampler("LpNormalization", "MeanVarianceNormalization")
def over_axes(site: Site) -> None:
    x = _image(site, 3)
    if site.takes("axis"):
        axis_of(site, len(x.dims))
