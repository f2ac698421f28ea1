"""The lowering of a model: what it is asked, and what it reports."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_opt.ir.origin import Origin
from onnx_opt.precision.apply import CAST_OPSET, RULE, Rewriter
from onnx_opt.precision.constraints import TYPE_NAMES, only_moves, signature
from onnx_opt.precision.groups import Group, main_group
from onnx_opt.precision.problem import HALF, Forms, Plan, Wishes, is_constant
from onnx_opt.precision.quantized import quantized_nodes
from onnx_opt.precision.rounding import Rounding
from onnx_opt.precision.static import Constants, reasons
from onnx_opt.precision.substitutes import Substitutes, find_substitutes

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value
    from onnx_opt.passes import PassContext

LIFT_RULE = "lift-epsilon"
MASK_RULE = "clamp-mask"
OLDEST = 7
"""Operator sets before say the type of a Cast in words, and how operands broadcast in attributes."""
CHEAPER = "it only moves elements, and casts cost more than it saves"
QUANTIZED = "it is computed in integers"
UNDONE = "it was taken back"


@dataclass
class Lowering:
    """What `lower` did."""

    elem_type: int
    lowered: list[Node] = field(default_factory=list)
    """The nodes that take or give half precision now."""
    kept: dict[Node, str] = field(default_factory=dict)
    """The nodes with FP32 operands or results that stay, and why."""
    casts: list[Node] = field(default_factory=list)
    """The Cast nodes that were inserted."""
    cast_bytes: int = 0
    """About how many bytes these read and write in one run."""
    constants: list[Rounding] = field(default_factory=list)
    """Each constant that was converted."""


def static_reasons(
    graph: Graph, context: PassContext, elem_type: int, magnitudes: Mapping[str, float] | None = None
) -> dict[Node, str]:
    """The nodes of the model that `lower` would keep in FP32 without being told, and why. Changes nothing."""
    plan, constants = Plan(graph.model, elem_type, context.target), Constants(elem_type)
    substitutes = find_substitutes(plan.graphs, constants, magnitudes)
    found = {**reasons(plan, constants, substitutes, magnitudes), **plan.problems}
    return {**substitutes.unmask(found), **found}


def lower(
    graph: Graph,
    context: PassContext,
    elem_type: int,
    *,
    keep: Mapping[Node, str] | None = None,
    keep_io: bool = True,
    magnitudes: Mapping[str, float] | None = None,
) -> Lowering:
    """Let every node compute in `elem_type` (`TensorProto.FLOAT16` or `BFLOAT16`) that may, but those of `keep`.

    `keep` maps nodes of the main graph and its subgraphs to the reason that the report gives. With `keep_io` the inputs
    and outputs of the model keep their types, else those in FP32 become half precision as well; names stay either way.
    `magnitudes` are the largest ones of values by name, as measured: without, most masks stay in FP32.
    Each lowered node is one rewrite of `context` (rule `lower`, or `lift-epsilon`), and so is each mask with what
    carries it (`clamp-mask`), so that validation can take them back.
    """
    model = graph.model
    plan, constants = Plan(model, elem_type, context.target), Constants(elem_type)
    substitutes = find_substitutes(plan.graphs, constants, magnitudes)
    kept = {**reasons(plan, constants, substitutes, magnitudes), **(keep or {})}
    quantized = quantized_nodes(plan)
    if problem := _cannot_cast(plan):
        kept, keep_io = dict.fromkeys(plan.groups, problem), True
    masking = _admit_masks(plan, context, substitutes, kept, quantized)
    lifting = substitutes.lifting()
    admitted = [node for node in plan.computing() if node not in quantized]
    admitted += [node for node in plan.groups if node in lifting and only_moves(node)]
    admitted = [node for node in admitted if node not in kept and node not in masking]
    for node in admitted:
        if not _admit(context, LIFT_RULE if node in lifting else RULE, [node]):
            kept[node] = UNDONE
    done = Lowering(elem_type)
    if keep_io and not masking and all(node in kept for node in admitted):
        _explain(plan, done, {**plan.problems, **kept}, quantized, None)
    else:
        forms = plan.solve(Wishes(kept, quantized, keep_io, masking))
        _explain(plan, done, {**plan.problems, **kept}, quantized, forms)
        _apply(plan, forms, constants, substitutes, done)
    for node, reason in done.kept.items():
        context.declined(RULE, node, reason)
    return done


def _admit(context: PassContext, rule: str, nodes: Sequence[Node]) -> bool:
    """Whether the nodes may become half precision, as one rewrite."""
    if not context.admit(rule, nodes[0]):
        return False
    results = [value.name for node in nodes for value in node.outputs if value.name]
    context.applied(rule, [node.label() for node in nodes], Origin.merge(rule, [n.origin for n in nodes]), results)
    return True


def _admit_masks(
    plan: Plan, context: PassContext, substitutes: Substitutes, kept: dict[Node, str], quantized: Collection[Node]
) -> set[Node]:
    """The nodes that must become half precision for the sake of masks; what stays with a mask is added to `kept`."""
    staying = {**dict.fromkeys(quantized, QUANTIZED), **plan.problems, **kept}
    for node, reason in substitutes.unmask(staying).items():
        kept.setdefault(node, reason)
    found: set[Node] = set()
    for mask in substitutes.masks:
        if mask.problem:
            continue
        if _admit(context, MASK_RULE, mask.carriers() or mask.way()):
            found.update(mask.carriers())
        else:
            mask.problem = UNDONE
            kept.update(dict.fromkeys(mask.way(), UNDONE))
    return found


def _cannot_cast(plan: Plan) -> str:
    """Why the model can't hold the half type at all."""
    version = plan.model.opsets.get("", CAST_OPSET)
    if version < OLDEST:
        return f"operator set {version} is older than {OLDEST}: raise it with onnx.version_converter"
    cast = signature("Cast", "", version, plan.elem_type)
    if cast is not None and cast.allowed:
        return ""
    return f"operator set {version} has no {TYPE_NAMES[plan.elem_type]}: raise it to {CAST_OPSET}"


def _explain(
    plan: Plan, done: Lowering, reasons: Mapping[Node, str], quantized: Collection[Node], forms: Forms | None
) -> None:
    """Sort the nodes into those that are lowered and those that are not."""
    for node, groups in plan.groups.items():
        if node.op == "Constant" and not node.domain:
            continue
        if forms is not None and _form(node, groups, forms) == HALF:
            done.lowered.append(node)
        else:
            reason = reasons.get(node) or (QUANTIZED if node in quantized else "")
            if reason or main_group(groups).results:
                done.kept[node] = reason or CHEAPER


def _form(node: Node, groups: list[Group], forms: Forms) -> int:
    group = main_group(groups)
    if group.results:
        return forms.producer[node.outputs[group.results[0]]]
    return forms.reader[node, group.operands[0]]


def _apply(plan: Plan, forms: Forms, constants: Constants, substitutes: Substitutes, done: Lowering) -> None:
    for node in done.lowered:
        assert node.graph is not None
        node.graph.set_origin(node, Origin.merge(RULE, [node.origin]))
    halved = [value for value in forms.producer if is_constant(value) and _is_read_as_half(value, forms)]
    done.constants = [constants.rounding(value) for value in halved]
    rewriter = Rewriter(plan.model, plan.elem_type, forms, substitutes.constants())
    rewriter.run()
    plan.model.facts.clear()  # types changed almost everywhere
    plan.model.settle()
    done.casts = [node for node in rewriter.casts if node.alive]
    done.cast_bytes = rewriter.cast_bytes


def _is_read_as_half(value: Value, forms: Forms) -> bool:
    return any(forms.reader.get(use) == HALF for use in value.uses)
