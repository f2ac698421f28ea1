"""The `fold` pass: what is the same in every run is computed now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.passes import Pass, PassContext, Size, option

if TYPE_CHECKING:
    from onnx_opt.ir import Graph


@dataclass(frozen=True)
class Fold(Pass):
    """Compute constants and shape arithmetic ahead of time, and inline If with a constant condition."""

    name: ClassVar[str] = "fold"
    stage: ClassVar[str] = "fold"
    exact: ClassVar[bool] = True
    max_growth: Size | None = option(
        None,
        flag="--max-fold-growth",
        metavar="SIZE",
        help="how many bytes folding may add to the model; by default a tenth of it, and 64KiB of a small one",
    )

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.rewrite import apply_rules
        from onnx_opt_passes.steps import branches, constants
        from onnx_opt_rules import shape_chains

        constants.fold(graph, context, self.max_growth)
        branches.inline(graph, context)
        apply_rules(graph, context, shape_chains.RULES)
