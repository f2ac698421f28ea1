"""Optional results that nobody reads are not asked for: parsers refuse a node that names them."""

from __future__ import annotations

from onnx_opt.ir import Graph, Origin
from onnx_opt.passes import PassContext

RULE, FORM = "unread-results", "several results"
OPERATORS = frozenset({"LayerNormalization", "MaxPool"})
"""Operators whose results behind the first are optional, and change nothing about the first."""


def drop(graph: Graph, context: PassContext) -> None:
    """Leave the first result alone of nodes whose other results have no reader."""
    for inner in graph.model.all_graphs():
        for node in inner:
            if node.domain or node.op not in OPERATORS or not any(value.name for value in node.outputs[1:]):
                continue
            if any(value.uses for value in node.outputs[1:]):
                context.declined(RULE, node, "another result is read")
            elif context.admit(RULE, node):
                node.outputs = [node.outputs[0]]
                context.applied(RULE, [node.label()], Origin.merge(RULE, [node.origin]), [node.outputs[0].name])
