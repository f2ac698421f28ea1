"""Pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.harness.samplers.linear import draw_window, image_dims, set_window
from onnx_opt.harness.samplers.registry import sampler
from onnx_opt.harness.sketch import Unfit

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site


@sampler("MaxPool", "AveragePool", "LpPool")
def pool(site: Site) -> None:
    """Padding stays smaller than the kernel, as pooling needs it."""
    x = site.operand(0, site.wish.dims if site.wish.dims and len(site.wish.dims) > 2 else image_dims(site))
    sizes = x.dims[2:]
    if not sizes:
        raise Unfit("pooling needs spatial axes")
    kernel = tuple(site.decided("kernel_shape", [site.draw.integer(1, min(3, max(size, 1))) for size in sizes]))
    window = draw_window(site, sizes, kernel, dilated=site.takes("dilations"))
    if any(pad >= k for pad, k in zip(window.pads, kernel * 2, strict=True)):
        raise Unfit("padding as large as the kernel")
    set_window(site, window)
    site.attr("kernel_shape", list(kernel))
    if site.takes("count_include_pad"):
        site.attr("count_include_pad", site.draw.integer(0, 1))


@sampler("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(site: Site) -> None:
    site.operand(0, image_dims(site))
