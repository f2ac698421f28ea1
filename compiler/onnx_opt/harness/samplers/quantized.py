"""Products and convolutions of quantized numbers: ONNX Runtime takes bytes, unsigned ones as the first operand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from onnx_opt.harness.draw import Dims, positive
from onnx_opt.harness.samplers.linear import draw_window, image_dims, set_window
from onnx_opt.harness.samplers.registry import sampler
from onnx_opt.harness.sketch import Operand, Unfit

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site

UINT8, INT8, INT32 = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32


@sampler("MatMulInteger")
def matmul_integer(site: Site) -> None:
    _first, second = _types(site)
    a = site.operand(0, _left(site), elem_type=_first)
    b = site.operand(1, _right(site, a), elem_type=second, exact=True)
    site.optional(2, site.draw.pick([(), (1,)]), elem_type=a.elem_type)
    site.optional(3, site.draw.pick([(), (b.dims[-1],)] if len(b.dims) > 1 else [()]), elem_type=b.elem_type)


@sampler("QLinearMatMul")
def qlinear_matmul(site: Site) -> None:
    first, second = _types(site)
    a = site.operand(0, _left(site), elem_type=first)
    _scale(site, 1, (), first)
    b = site.operand(3, _right(site, a), elem_type=second, exact=True)
    _scale(site, 4, site.draw.pick([(), (b.dims[-1],)]) if len(b.dims) == 2 else (), second)
    _scale(site, 6, (), first)


@sampler("ConvInteger")
def conv_integer(site: Site) -> None:
    w = _convolution(site, 1)
    site.optional(2, (), elem_type=UINT8)
    site.optional(3, site.draw.pick([(), (w.dims[0],)]), elem_type=w.elem_type)


@sampler("QLinearConv")
def qlinear_conv(site: Site) -> None:
    w = _convolution(site, 3)
    _scale(site, 1, (), UINT8)
    _scale(site, 4, (w.dims[0],) if site.draw.chance(0.5) else (), w.elem_type)
    _scale(site, 6, (), UINT8)
    site.optional(8, (w.dims[0],), elem_type=INT32)


def _types(site: Site) -> tuple[int, int]:
    first = site.draw.pick([UINT8, UINT8, INT8])
    return first, INT8 if first == INT8 else site.draw.pick([UINT8, INT8])


def _left(site: Site) -> Dims:
    wish = site.wish.dims
    if wish is not None and len(wish) >= 2:
        return (*wish[:-1], site.draw.size())
    return site.draw.dims(site.draw.pick([2, 2, 2, 3]))


def _right(site: Site, a: Operand) -> Dims:
    if not a.dims:
        raise Unfit("a product needs rows")
    columns = site.wish.dims[-1] if site.wish.dims else site.draw.size()
    return (a.dims[-1], columns)


def _convolution(site: Site, weights: int) -> Operand:
    x = site.operand(0, image_dims(site), elem_type=UINT8)
    if len(x.dims) < 3:
        raise Unfit("a convolution needs spatial axes")
    channels, sizes = x.dims[1], x.dims[2:]
    group = site.draw.pick([1, 1, channels])
    kernel = tuple(site.draw.integer(1, max(1, min(3, size))) for size in sizes)
    outputs = group * site.draw.integer(1, 3)
    w = site.operand(
        weights, (outputs, channels // group, *kernel), elem_type=site.draw.pick([UINT8, INT8]), exact=True
    )
    site.attr("group", group)
    set_window(site, draw_window(site, sizes, w.dims[2:]))
    return w


def _scale(site: Site, index: int, dims: Dims, elem_type: int) -> None:
    """A scale and the zero point behind it."""
    site.operand(index, dims, elem_type=TensorProto.FLOAT, filler=positive, side=True)
    site.optional(index + 1, dims, elem_type=elem_type, side=True)
