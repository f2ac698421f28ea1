"""The `legalize` pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.passes import Pass, PassContext

if TYPE_CHECKING:
    from onnx_opt.ir import Graph


@dataclass(frozen=True)
class Legalize(Pass):
    """Write what the target can't run with what it can; nothing for targets that take every operator."""

    name: ClassVar[str] = "legalize"
    stage: ClassVar[str] = "target"
    legalizes: ClassVar[bool] = True
    # Integers have no NaN: ONNX Runtime quantizes one to some number, and what takes its place keeps it.
    finite_only: ClassVar[bool] = True

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.rewrite import apply_rules
        from onnx_opt_passes.steps import sequences, unread_results
        from onnx_opt_rules import legalize

        if sequences.OPERATORS & context.target.lacks:
            sequences.take_apart(graph, context)
        if unread_results.FORM in context.target.lacks_forms:
            unread_results.drop(graph, context)
        for rules in legalize.groups_for(context.target, legalize.floats_in(graph)):
            apply_rules(graph, context, rules)
