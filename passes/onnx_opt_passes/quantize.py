"""The `quantize` pass.

Ranges are a promise of the calibration data: what lies outside of them is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from onnx_opt.passes import Pass, PassContext, option

if TYPE_CHECKING:
    from onnx_opt.ir import Graph

FORM_HELP = "8-bit integers, 8-bit floats (E4M3), or weights of matrix products in 4 bits"
DATA_HELP = "calibration inputs: .npz, a folder of .npy, or file.py:function; one in four is held out to judge by"
METHOD_HELP = "how ranges are found: min-max, entropy or percentile"
PERCENTILE_HELP = "percent of all elements that the range holds, for the method percentile"
SAMPLES_HELP = "most samples of the data that are used"
BLOCK_HELP = "weights that share a scale, for int4"
KEEP_HELP = "what stays as it is: operators (Gemm) or node names (/head/*), * and ? allowed"
METRIC_HELP = "how the error is measured: max-rel, max-abs, cosine, top1 or file.py:function; --tolerance is its bound"
MEASURE_HELP = "find out on held-out samples which nodes must stay as they are; without, all are quantized"


@dataclass(frozen=True)
class Quantize(Pass):
    """Store weights and activations in 8 bits, calibrated on data."""

    name: ClassVar[str] = "quantize"
    stage: ClassVar[str] = "quantize"
    finite_only: ClassVar[bool] = True

    form: Literal["int8", "fp8", "int4"] = option("int8", help=FORM_HELP, primary=True)
    data: str | None = option(None, metavar="PATH", help=DATA_HELP)
    method: Literal["min-max", "entropy", "percentile"] = option("min-max", help=METHOD_HELP)
    percentile: float = option(99.99, help=PERCENTILE_HELP)
    samples: int = option(128, help=SAMPLES_HELP)
    block: int = option(128, help=BLOCK_HELP)
    keep: tuple[str, ...] = option((), metavar="PATTERN", help=KEEP_HELP)
    metric: str = option("max-rel", metavar="NAME", help=METRIC_HELP)
    measure: bool = option(True, help=MEASURE_HELP)

    def __post_init__(self) -> None:
        if not 0 < self.percentile <= 100:
            raise ValueError("percentile must be above 0 and at most 100")
        if self.samples < 1 or self.block < 1:
            raise ValueError("samples and block must be at least 1")

    @property
    def quantizes_to(self) -> str:
        return self.form

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt_passes.steps import calls, quantization

        calls.inline(graph, context)
        quantization.run(graph, context, self)
