"""The `fuse-conv-bn-relu` pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.passes import Pass, PassContext

if TYPE_CHECKING:
    from onnx_opt.ir import Graph


@dataclass(frozen=True)
class FuseConvBnRelu(Pass):
    """Fold BatchNormalization, scales, shifts, padding into Conv and Gemm; fuse activations where the target can."""

    name: ClassVar[str] = "fuse-conv-bn-relu"
    stage: ClassVar[str] = "fuse"

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.rewrite import apply_rules
        from onnx_opt_rules import conv_activation, conv_bn, conv_input, conv_pad

        apply_rules(graph, context, [*conv_bn.RULES, *conv_pad.RULES, *conv_input.RULES])
        apply_rules(graph, context, conv_activation.RULES)
