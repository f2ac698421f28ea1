"""Operators along axes: reductions, softmax, the position of the largest element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from onnx_opt.harness.draw import Dims, ordinary, positive
from onnx_opt.harness.samplers.movement import axis_of, int_list
from onnx_opt.harness.samplers.registry import sampler
from onnx_opt.harness.sketch import Unfit

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site

REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")


@sampler(*(f"Reduce{name}" for name in REDUCTIONS))
def reduce(site: Site) -> None:
    """Axes are an attribute in earlier operator sets, then an operand; without any, all are reduced."""
    draw, wish = site.draw, site.wish.dims
    takes_bools = site.op in ("ReduceMax", "ReduceMin") and site.version >= 20
    kind = TensorProto.BOOL if takes_bools and draw.chance(0.3) else 0
    filler = positive if site.op == "ReduceLogSum" else ordinary
    x = site.operand(0, _larger(site, wish), elem_type=kind, filler=filler)
    if not x.dims:
        raise Unfit("a scalar has no axes")
    keep = site.attr("keepdims", 1 if wish is not None and len(wish) == len(x.dims) else draw.pick([0, 1]))
    axes = sorted(draw.shuffled(range(len(x.dims)))[: draw.pick([1, 1, 1, 2])])
    if wish is not None and keep and len(wish) == len(x.dims):
        axes = [axis for axis, (have, want) in enumerate(zip(x.dims, wish, strict=True)) if have != want] or axes
    elif draw.chance(0.6):
        axes = [len(x.dims) - 1]
    if site.version >= 11 and draw.chance(0.4):
        axes = [axis - len(x.dims) for axis in axes]
    if site.count > 1 or (site.takes("axes") and draw.chance(0.85)):
        int_list(site, 1, "axes", list(site.decided("axes", axes)))


def _larger(site: Site, wish: Dims | None) -> Dims:
    """What may be reduced to the dims wished for: they, with some of the ones made larger."""
    if wish:
        return tuple(site.draw.size() if dim == 1 else dim for dim in wish)
    return site.draw.dims(site.draw.pick([1, 2, 3, 3, 4]))


@sampler("Softmax", "LogSoftmax", "Hardmax")
def softmax(site: Site) -> None:
    x = site.operand(0, site.wish.dims or site.draw.dims(site.draw.pick([2, 2, 3, 4])))
    axis_of(site, len(x.dims), default=len(x.dims) - 1 if x.dims and site.draw.chance(0.6) else None)


@sampler("ArgMax", "ArgMin")
def arg_max(site: Site) -> None:
    x = site.operand(0, site.draw.dims(site.draw.integer(1, 4)))
    axis_of(site, len(x.dims))
    site.attr("keepdims", site.draw.integer(0, 1))
