"""Regions solved one after the other: the whole of the choice in the `layout` pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.analysis import FactConflict
from onnx_opt.ir import Graph, Node, Origin, order
from onnx_opt.layout.apply import apply
from onnx_opt.layout.behaviour import Refused
from onnx_opt.layout.choice import choose, why_transposed
from onnx_opt.layout.perms import is_identity, perm_of
from onnx_opt.layout.region import Region
from onnx_opt.layout.weigh import Weights

if TYPE_CHECKING:
    from onnx_opt.passes import PassContext

RULE = "solve-layout"
ROUNDS = 8
"""Solving a region can let transposes meet that make another one better. Few models need a second round."""


def solve(graph: Graph, context: PassContext) -> int:
    """Bring every region of the model into its best layout. Returns how many were changed."""
    weights = Weights(graph.model.graph.inputs)
    changed = 0
    for inner in graph.model.all_graphs():
        if inner.is_function_body:
            continue  # it has no initializers, and the ranks of its operands are unknown
        here = _solve_graph(inner, weights, context)
        changed += here
        if here:
            order.toposort(inner)
    return changed


def _solve_graph(graph: Graph, weights: Weights, context: PassContext) -> int:
    changed = 0
    done: set[Node] = set()
    for node in list(graph):
        if not node.alive or node in done or not _moves(node):
            continue
        region = Region(graph, node)
        done.update(inside for tensor in region.tensors for inside in tensor.transposes)
        if _improve(region, node, weights, context):
            changed += 1
            done.update(inside for tensor in region.tensors for inside in tensor.transposes)
    return changed


def _moves(node: Node) -> bool:
    perm = perm_of(node)
    return perm is not None and not is_identity(perm) and node.inputs[0].constant is None


def _improve(region: Region, seed: Node, weights: Weights, context: PassContext) -> bool:
    """Rewrite a region if that costs less; as a whole or not at all."""
    choice = choose(region, weights)
    if not choice.is_better or not context.admit(RULE, seed):
        return False
    model = region.graph.model
    concerned = [site.node for site, form in choice.forms.items() if form != site.form]
    concerned += [node for tensor in region.tensors for node in tensor.transposes]
    names = [node.label() for node in concerned]
    origin = Origin.merge(RULE, [node.origin for node in concerned])
    results = [value.name for node in concerned for value in node.outputs if value.name]
    try:
        with model.transaction():
            apply(region, choice.forms, RULE)
            model.settle()
    except (Refused, FactConflict) as reason:
        context.declined(RULE, seed, str(reason))
        return False
    context.applied(RULE, names, origin, results)
    return True


def explain(graph: Graph, context: PassContext) -> None:
    """Record for every Transpose that is left why it is."""
    weights = Weights(graph.model.graph.inputs)
    done: set[Node] = set()
    for inner in graph.model.all_graphs():
        for node in inner:
            if node in done or node.op != "Transpose" or node.domain:
                continue
            if perm_of(node) is None:
                context.declined(RULE, node, "the rank of the operand is unknown")
            elif _moves(node):
                done.update(_explain_region(Region(inner, node), weights, context))


def _explain_region(region: Region, weights: Weights, context: PassContext) -> list[Node]:
    forms = choose(region, weights).forms
    explained = []
    for tensor in region.tensors:
        for node in tensor.transposes:
            context.declined(RULE, node, why_transposed(tensor, region, forms))
            explained.append(node)
    return explained
