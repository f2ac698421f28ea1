"""The `strip-custom-ops` pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.passes import Pass, PassContext, option

if TYPE_CHECKING:
    from onnx_opt.ir import Graph


@dataclass(frozen=True)
class StripCustomOps(Pass):
    """Remove custom operators, or put a standard operator in their place."""

    name: ClassVar[str] = "strip-custom-ops"
    stage: ClassVar[str] = "strip"
    redefines: ClassVar[bool] = True
    ops: tuple[str, ...] = option(
        (),
        flag="--strip-op",
        metavar="DOMAIN::OP",
        primary=True,
        help="operator to remove, * and ? allowed; DOMAIN::OP=input:N keeps operand N, DOMAIN::OP=op:NAME puts a "
        "standard operator there",
    )

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt_passes.steps import custom_ops

        custom_ops.strip(graph, context, [custom_ops.Selector.parse(text) for text in self.ops])
