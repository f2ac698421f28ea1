"""Raising the operator set of a model for the sake of dequantized weights.

DequantizeLinear gives half precision from operator set 19 on. Before, each weight that is held in integers costs a Cast
when it runs. Where no node of the model means something else in the later operator set, that is imported instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt import schemas, traits
from onnx_opt.precision.problem import Plan
from onnx_opt.precision.quantized import quantized_nodes

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node
    from onnx_opt.passes import PassContext

RULE = "raise-opset"
QUANTIZED_HALF = 19
OLDEST = 13
"""Before it, axes were attributes of operators that most models have."""
CHANGES, WIDENED = "changes", "widened"


def raise_opset(graph: Graph, context: PassContext, elem_type: int) -> bool:
    """Import operator set 19 where weights are dequantized into what will be half precision, and nothing is in the way.

    Whether that was done; the reason against it is recorded for the first such node."""
    model = graph.model
    if not OLDEST <= model.opsets.get("", QUANTIZED_HALF) < QUANTIZED_HALF or model.functions:
        return False
    node = _dequantized_weight(graph, context, elem_type)
    if node is None:
        return False
    obstacle = next((n for scope in model.all_graphs() for n in scope if not _means_the_same(n)), None)
    if obstacle is not None:
        reason = f"{obstacle.op} of operator set {obstacle.version} may mean something else in {QUANTIZED_HALF}"
        context.declined(RULE, node, f"{reason} ('{obstacle.label()}')")
        return False
    if not context.admit(RULE, node):
        return False
    context.applied(RULE, [node.label()], node.origin)
    for each in (n for scope in model.all_graphs() for n in scope):
        _count_results(each)
    model.raise_opset("", QUANTIZED_HALF)
    model.facts.clear()
    return True


def _dequantized_weight(graph: Graph, context: PassContext, elem_type: int) -> Node | None:
    """The first DequantizeLinear of constants alone that a runtime computes for a node in half precision."""
    names = [node for scope in graph.nested() for node in scope if node.op == "DequantizeLinear" and not node.domain]
    if not any(_is_weight(node) for node in names):
        return None
    plan = Plan(graph.model, elem_type, context.target)
    inside, computing = quantized_nodes(plan), set(plan.computing())
    return next((node for node in names if _is_weight(node) and _is_read_by(node, computing - inside)), None)


def _is_weight(node: Node) -> bool:
    return all(value.constant is not None for value in node.inputs if value.name)


def _is_read_by(node: Node, nodes: set[Node]) -> bool:
    """Whether one of some nodes reads the result, or what a Transpose or Reshape makes of it."""
    moved = [user for user in node.outputs[0].users if user.op in ("Transpose", "Reshape")]
    return any(user in nodes for each in (node, *moved) for user in each.outputs[0].users)


def _means_the_same(node: Node) -> bool:
    """Whether the node is valid and means the same in the later operator set."""
    if node.domain:
        return True
    known = schemas.schema(node.op, "", QUANTIZED_HALF)
    if known is None or known.deprecated or not traits.is_understood(node):
        return False
    widened = traits.ask("", node.op, WIDENED, {})
    return all(widened.get(version) for version in _passed(node))


def _passed(node: Node) -> list[int]:
    """The operator sets in between that changed the operator."""
    changes = traits.ask(node.domain, node.op, CHANGES, {})
    return [version for version in changes if node.version < version <= QUANTIZED_HALF]


def _count_results(node: Node) -> None:
    """State the number of results where the later operator set wants that, unless an operand tells their sizes."""
    widened = traits.ask(node.domain, node.op, WIDENED, {})
    for name in (widened.get(version) for version in _passed(node)):
        if isinstance(name, str) and len(node.inputs) == 1:
            assert node.graph is not None
            node.graph.set_attr(node, name, len(node.outputs))
