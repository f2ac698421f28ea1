"""The `fp16` pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.passes import Pass, PassContext, option

if TYPE_CHECKING:
    from onnx_opt.ir import Graph

BLOCK_HELP = "what stays in FP32: operators (Softmax, com.microsoft::*) or node names (/decoder/*), * and ? allowed"
ALLOW_HELP = "what may be lowered, as for --{name}-block; everything else stays in FP32"
METRIC_HELP = "how the error is measured: max-rel, max-abs, cosine, top1 or file.py:function; --tolerance is its bound"
MEASURE_HELP = "find out on samples which nodes must stay in FP32; without, only what cannot be lowered stays"
IO_HELP = "inputs and outputs of the model keep their types; without, FP32 ones become half precision"


@dataclass(frozen=True)
class Fp16(Pass):
    """Lower FP32 to FP16, with the fewest bytes of casts."""

    name: ClassVar[str] = "fp16"
    stage: ClassVar[str] = "precision"
    lowers_to: ClassVar[str] = "float16"
    keep_io: bool = option(True, help=IO_HELP)
    block: tuple[str, ...] = option((), metavar="PATTERN", help=BLOCK_HELP)
    allow: tuple[str, ...] = option((), metavar="PATTERN", help=ALLOW_HELP.format(name="fp16"))
    measure: bool = option(True, help=MEASURE_HELP)
    metric: str = option("max-rel", metavar="NAME", help=METRIC_HELP)

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.precision.constraints import FLOAT16
        from onnx_opt_passes.steps import half

        wishes = half.Wishes(self.block, self.allow, self.keep_io, self.measure, self.metric)
        half.lower(graph, context, FLOAT16, wishes)
