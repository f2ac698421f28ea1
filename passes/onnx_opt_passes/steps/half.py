"""What the passes `fp16` and `bf16` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from onnx_opt.ir import fingerprint
from onnx_opt.passes import COUNTEREXAMPLES
from onnx_opt.precision import Lowering, choose, measure, raise_opset, static_reasons
from onnx_opt.precision import lower as lower_graph
from onnx_opt.precision.constraints import FLOAT16, only_moves
from onnx_opt.rewrite import apply_rules
from onnx_opt_passes.steps import calls
from onnx_opt_passes.steps.names import matching
from onnx_opt_rules import half_safe

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node
    from onnx_opt.journal import Journal
    from onnx_opt.passes import PassContext
    from onnx_opt.precision import Measured
    from onnx_opt.precision.search import Findings

T = TypeVar("T")
EXHAUSTED = "what was chosen is not enough on other inputs, and no runs are left to choose anew"


@dataclass(frozen=True)
class Wishes:
    """The options of both passes."""

    block: Sequence[str]
    allow: Sequence[str]
    keep_io: bool
    measure: bool
    metric: str


def lower(graph: Graph, context: PassContext, elem_type: int, wishes: Wishes) -> Lowering | None:
    """Make half precision safe, find out what must stay FP32 beside what the user's lists keep, and lower the rest.

    None where nothing is good enough: then the model stays as it is.
    """
    calls.inline(graph, context)
    raise_opset(graph, context, elem_type)
    if elem_type == FLOAT16:
        apply_rules(graph, context, half_safe.ALWAYS)
    if not wishes.measure or _is_over(context.journal):
        return lower_graph(graph, context, elem_type, keep=_kept(graph, wishes), keep_io=wishes.keep_io)
    measured = _remembered(graph, context, "ranges", lambda: measure(graph, context))
    counterexamples = context.memory.get(COUNTEREXAMPLES, ())
    if not measured.learn(graph, context, counterexamples):
        context.journal.failures.append(f"{context.pass_name}: the model stays in FP32: {EXHAUSTED}")
        return None
    if elem_type == FLOAT16:
        results, sums = measured.broken(graph, context, elem_type)
        apply_rules(graph, context, half_safe.at(half_safe.SQUARES, results | sums))
        apply_rules(graph, context, half_safe.at(half_safe.SUMS, sums))
    magnitudes = measured.ranges.largest
    keep, findings = _chosen(graph, context, elem_type, wishes, measured)
    context.journal.measured[context.pass_name or findings.format] = findings.to_json()
    if findings.refused or findings.unmeasured:
        context.journal.failures.append(findings.summary())
    if findings.refused:
        return None
    return lower_graph(graph, context, elem_type, keep=keep, keep_io=wishes.keep_io, magnitudes=magnitudes)


def _is_over(journal: Journal) -> bool:
    """Whether no more rewrites are admitted, so that nothing will be lowered."""
    return journal.limit is not None and journal.admitted >= journal.limit


def _chosen(
    graph: Graph, context: PassContext, elem_type: int, wishes: Wishes, measured: Measured
) -> tuple[dict[Node, str], Findings]:
    """What must stay FP32, and what was found out on the way."""
    nodes = [node for inner in graph.model.all_graphs() for node in inner]

    def choice() -> tuple[dict[int, str], Findings]:
        found = choose(
            graph,
            context,
            elem_type,
            lower=lower_graph,
            fixed=_kept(graph, wishes),
            static=static_reasons(graph, context, elem_type, measured.ranges.largest),
            keep_io=wishes.keep_io,
            metric=wishes.metric,
            measured=measured,
        )
        numbers = {node: number for number, node in enumerate(nodes)}
        return {numbers[node]: reason for node, reason in found.items()}, found.findings

    kept, findings = _remembered(graph, context, f"{elem_type} {wishes} {measured.learned}", choice)
    return {nodes[number]: reason for number, reason in kept.items()}, findings


def _remembered(graph: Graph, context: PassContext, what: str, find: Callable[[], T]) -> T:
    """What was found for the same graph before: validation builds it again and again."""
    key = f"{what} {fingerprint(graph)}"
    if key not in context.memory:
        context.memory[key] = find()
    found: T = context.memory[key]
    return found


def _kept(graph: Graph, wishes: Wishes) -> dict[Node, str]:
    """The nodes that the user wants in FP32."""
    found: dict[Node, str] = {}
    block, allow = wishes.block, wishes.allow
    if not block and not allow:
        return found
    for inner in graph.model.all_graphs():
        for node in inner:
            pattern = matching(node, block)
            if pattern is not None:
                found[node] = f"it is blocked ({pattern})"
            elif allow and _computes(node) and matching(node, allow) is None:
                found[node] = "it is not on the list of what may be lowered"
    return found


def _computes(node: Node) -> bool:
    """Whether the node does more than move elements, which it does in whatever type its neighbours have."""
    return not node.bodies and not only_moves(node)
