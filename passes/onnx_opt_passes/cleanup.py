"""The `cleanup` pass: what changes no result and is not needed goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.passes import Pass, PassContext, option

if TYPE_CHECKING:
    from onnx_opt.ir import Graph


@dataclass(frozen=True)
class Cleanup(Pass):
    """Remove dead code, no-ops, and duplicate nodes and initializers."""

    name: ClassVar[str] = "cleanup"
    stage: ClassVar[str] = "cleanup"
    exact: ClassVar[bool] = True
    keep_duplicates: bool = option(False, help="leave equal nodes and equal initializers apart")

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt_passes.steps import duplicates, noops, unused

        noops.remove(graph, context)
        if not self.keep_duplicates:
            duplicates.merge_initializers(graph, context)
            duplicates.merge_nodes(graph, context)
        unused.remove(graph, context)
