"""The `algebra` pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.passes import Pass, PassContext

if TYPE_CHECKING:
    from onnx_opt.ir import Graph


@dataclass(frozen=True)
class Algebra(Pass):
    """Simplify arithmetic: by laws that hold to the bit, and by those that --fast-math grants."""

    name: ClassVar[str] = "algebra"
    stage: ClassVar[str] = "fuse"
    wants_liberties: ClassVar[bool] = True

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.rewrite import apply_rules
        from onnx_opt_rules import arithmetic

        apply_rules(graph, context, arithmetic.RULES)
