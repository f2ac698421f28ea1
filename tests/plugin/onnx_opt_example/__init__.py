"""A pass of a third party: it removes signs that cancel out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt import Pass, option

if TYPE_CHECKING:
    from onnx_opt import Graph, PassContext


@dataclass(frozen=True)
class CancelSigns(Pass):
    """Remove pairs of Neg."""

    name: ClassVar[str] = "cancel-signs"
    stage: ClassVar[str] = "cleanup"
    exact: ClassVar[bool] = True
    with_abs: bool = option(True, help="also remove Neg before Abs")

    def run(self, graph: Graph, context: PassContext) -> None:
        # Rules need onnx and numpy: imported here, they cost nothing where only --help is asked for.
        from onnx_opt import apply_rules
        from onnx_opt_example.rules import abs_of_negation, double_negation

        apply_rules(graph, context, [double_negation, abs_of_negation] if self.with_abs else [double_negation])


PASSES = [CancelSigns]
