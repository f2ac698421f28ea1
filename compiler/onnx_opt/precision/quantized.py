"""Nodes that a runtime computes in integers.

Between DequantizeLinear and QuantizeLinear a runtime makes one integer kernel of the nodes, the FP32 in between never
exists: such nodes had rather stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.precision.groups import is_wide
from onnx_opt.precision.problem import Plan, is_constant

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

PAIR = frozenset({"DequantizeLinear", "QuantizeLinear"})


def quantized_nodes(plan: Plan) -> set[Node]:
    """The nodes of whose FP32 operands and results all come from DequantizeLinear or a constant, or go to
    QuantizeLinear, directly or through another such node; and the pairs around them."""
    inside = {node for node in plan.nodes() if not node.bodies and any(map(_is_wide_result, node.outputs))}
    inside = {node for node in inside if not is_constant(node.outputs[0])}
    pairs = {node for node in plan.nodes() if node.op in PAIR and not node.domain}
    if not pairs:
        return set()
    inside -= pairs
    pending = list(inside)
    while pending:  # whoever borders on something else is out, and with it what borders on it
        node = pending.pop()
        if node in inside and not _is_enclosed(node, inside):
            inside.discard(node)
            pending += [v.producer for v in node.inputs if v.producer in inside]
            pending += [user for v in node.outputs for user, _ in v.uses if user in inside]
    return inside | {node for node in pairs if _only_borders(node, inside)}


def _is_wide_result(value: Value) -> bool:
    return bool(value.name) and is_wide(value)


def _is_enclosed(node: Node, inside: set[Node]) -> bool:
    for value in node.inputs:
        outside = value.producer not in inside and not _is_op(value.producer, "DequantizeLinear")
        if outside and _is_wide_result(value) and not is_constant(value):
            return False
    return all(
        not user.is_graph and (user in inside or _is_op(user, "QuantizeLinear"))
        for value in node.outputs
        for user, _ in value.uses
    )


def _only_borders(node: Node, inside: set[Node]) -> bool:
    """Whether a DequantizeLinear is read by such nodes only, or a QuantizeLinear reads from one."""
    if node.op == "QuantizeLinear":
        return node.inputs[0].producer in inside
    return all(user in inside for user, _ in node.outputs[0].uses)


def _is_op(node: Node | None, op: str) -> bool:
    return node is not None and node.op == op and not node.domain
