"""The `layout` pass: the fewest transposed bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from onnx_opt.passes import Pass, PassContext, option

if TYPE_CHECKING:
    from onnx_opt.ir import Graph


@dataclass(frozen=True)
class Layout(Pass):
    """Choose the layout of every value so that the fewest bytes are transposed."""

    name: ClassVar[str] = "layout"
    stage: ClassVar[str] = "layout"

    prefer: Literal["target", "nchw", "nhwc"] = option("target", help="which of two layouts that cost the same")

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.ir import order
        from onnx_opt.rewrite import apply_rules
        from onnx_opt_passes.steps import regions
        from onnx_opt_rules import transposes

        prefer = context.target.layout if self.prefer == "target" else self.prefer
        # What nothing reads would still want its layout, and never be done with.
        for top in (graph.model.graph, *graph.model.functions):
            order.remove_dead(top)
        for _ in range(regions.ROUNDS):
            apply_rules(graph, context, [*transposes.MERGE, *transposes.ABSORB])
            if not regions.solve(graph, context, prefer):
                break
        apply_rules(graph, context, transposes.RULES)
        regions.explain(graph, context)
