"""The `bf16` pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.passes import Pass, PassContext, option
from onnx_opt_passes.fp16 import ALLOW_HELP, BLOCK_HELP, IO_HELP, MEASURE_HELP, METRIC_HELP

if TYPE_CHECKING:
    from onnx_opt.ir import Graph


@dataclass(frozen=True)
class Bf16(Pass):
    """Lower FP32 to BF16, with the fewest bytes of casts."""

    name: ClassVar[str] = "bf16"
    stage: ClassVar[str] = "precision"
    lowers_to: ClassVar[str] = "bfloat16"
    keep_io: bool = option(True, help=IO_HELP)
    block: tuple[str, ...] = option((), metavar="PATTERN", help=BLOCK_HELP)
    allow: tuple[str, ...] = option((), metavar="PATTERN", help=ALLOW_HELP.format(name="bf16"))
    measure: bool = option(True, help=MEASURE_HELP)
    metric: str = option("max-rel", metavar="NAME", help=METRIC_HELP)

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.precision.constraints import BFLOAT16
        from onnx_opt_passes.steps import half

        wishes = half.Wishes(self.block, self.allow, self.keep_io, self.measure, self.metric)
        half.lower(graph, context, BFLOAT16, wishes)
