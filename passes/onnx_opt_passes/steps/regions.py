"""Regions solved one after the other: the whole of the choice in the `layout` pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.analysis import FactConflict
from onnx_opt.ir import Graph, Origin, order
from onnx_opt.layout.apply import apply
from onnx_opt.layout.behaviour import Refused
from onnx_opt.layout.choice import choose, why_transposed
from onnx_opt.layout.perms import perm_of
from onnx_opt.layout.region import Region, regions
from onnx_opt.layout.weigh import Weights

if TYPE_CHECKING:
    from onnx_opt.passes import PassContext
    from onnx_opt.target import Layout

RULE = "solve-layout"
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "FusedConv"})
ROUNDS = 8
"""Solving a region can let transposes meet that make another one better. Few models need a second round."""


def solve(graph: Graph, context: PassContext, prefer: Layout) -> int:
    """Bring every region of the model into its best layout, and into the preferred one where several are. Returns how
    many were changed."""
    weights = Weights(graph.model.graph.inputs)
    changed = 0
    for inner in graph.model.all_graphs():
        here = sum(_improve(region, weights, prefer, context) for region in regions(inner))
        changed += here
        if here:
            order.toposort(inner)
    return changed


def _improve(region: Region, weights: Weights, prefer: Layout, context: PassContext) -> bool:
    """Rewrite a region if that costs less; as a whole or not at all."""
    choice, seed = choose(region, weights, prefer), region.seed
    # Form alone matters beside a convolution, which fuses with what follows in its layout. Elsewhere it would only
    # move Transposes away from the products that runtimes fuse them with, as in attention.
    worth = choice.is_cheaper or (choice.is_preferred and _has_convolution(region))
    if not worth or not context.admit(RULE, seed):
        return False
    concerned = [site.node for site, form in choice.forms.items() if form != site.form]
    concerned += [node for tensor in region.tensors for node in tensor.transposes]
    names = [node.label() for node in concerned]
    origin = Origin.merge(RULE, [node.origin for node in concerned])
    results = [value.name for node in concerned for value in node.outputs if value.name]
    model = region.graph.model
    try:
        with model.transaction():
            apply(region, choice.forms, RULE)
            model.settle()
    except (Refused, FactConflict) as reason:
        context.declined(RULE, seed, str(reason))
        return False
    context.applied(RULE, names, origin, results)
    return True


def _has_convolution(region: Region) -> bool:
    values = [value for tensor in region.tensors for value in tensor.members]
    return any(value.producer is not None and value.producer.op in CONVOLUTIONS for value in values)


def explain(graph: Graph, context: PassContext) -> None:
    """Record for every Transpose that is left why it is."""
    for inner in graph.model.all_graphs():
        for node in inner:
            if node.op == "Transpose" and not node.domain and perm_of(node) is None:
                context.declined(RULE, node, "the rank of the operand is unknown")
        for region in regions(inner):
            forms = {site: site.form for site in region.sites.values()}
            for tensor in region.tensors:
                for node in tensor.transposes:
                    context.declined(RULE, node, why_transposed(tensor, region, forms))
