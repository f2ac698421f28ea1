"""Nodes that are proven to be the identity: Dropout in inference, Cast to the same type, Reshape to the same dims..."""

from __future__ import annotations

from onnx_opt import traits
from onnx_opt.ir import Graph, Node
from onnx_opt.passes import PassContext
from onnx_opt_rules.runtime_fusions import part_of_fusion

RULE = "remove-noop"


def remove(graph: Graph, context: PassContext) -> None:
    """Let the users of each no-op read its operand; the tables say which node is one."""
    for inner in graph.model.all_graphs():
        for node in inner:
            _bypass(inner, node, context)
    graph.model.settle()


def _bypass(graph: Graph, node: Node, context: PassContext) -> None:
    index = traits.identity_operand(node)
    if index is None or not node.outputs or not node.outputs[0].uses:
        return
    result, operand = node.outputs[0], node.inputs[index]
    if node.op == "Identity" and result.is_graph_output and not graph.can_take_name(result, operand):
        context.declined(RULE, node, f"it gives graph output '{result.name}' its name")
        return
    reason = part_of_fusion(node)
    if reason is not None:
        context.declined(RULE, node, reason)
    elif context.admit(RULE, node):
        graph.replace_value(result, operand)
        context.applied(RULE, [node.label()], node.origin, [result.name])
