"""How to choose the operands and attributes of each operator so that they go together.

A sampler is a function of a `Site`; it makes operands with `site.operand` and sets attributes with `site.attr`. It may
rely on the dims of operands that it made, never on having been granted what it wished for: the pattern may say how an
operand is computed. Whether the choices are any good, ONNX Runtime says. A package with its own operators adds its own:

    from onnx_opt.harness import sampler

    @sampler("Swizzle", domain="my.domain")
    def swizzle(site):
        x = site.operand(0, dims=site.wish.dims)
        site.attr("axis", site.draw.integer(0, len(x.dims) - 1))
"""

from onnx_opt.harness.samplers import (
    elementwise,
    linear,
    losses,
    movement,
    normalization,
    quantized,
    recurrent,
    reduction,
    shapes,
    windows,
)
from onnx_opt.harness.samplers.registry import Sampler, sampler, sampler_of

__all__ = [
    "Sampler",
    "elementwise",
    "linear",
    "losses",
    "movement",
    "normalization",
    "quantized",
    "recurrent",
    "reduction",
    "sampler",
    "sampler_of",
    "shapes",
    "windows",
]
