"""If nodes whose condition is known: the branch that runs takes their place."""

from __future__ import annotations

from onnx_opt.ir import Graph, Node
from onnx_opt.passes import PassContext
from onnx_opt.rewrite.inline import inline_body

RULE = "inline-if"


def inline(graph: Graph, context: PassContext) -> None:
    """Inline every If with a constant condition, outer before inner."""
    stack = [*graph.model.functions, graph]
    while stack:
        current = stack.pop()
        for node in current:
            branch = _known_branch(node, context)
            stack.extend(body for _, _, body in node.bodies if branch is None or body is branch)
            if branch is None:
                continue
            label, origin, results = node.label(), node.origin, [value.name for value in node.outputs]
            inline_body(node, branch, RULE)
            stack.append(current)
            context.applied(RULE, [label], origin, results)


def _known_branch(node: Node, context: PassContext) -> Graph | None:
    if node.op != "If" or node.domain or not node.inputs:
        return None
    condition = node.inputs[0].constant
    if condition is None or condition.size != 1:
        context.declined(RULE, node, "its condition is only known when the model runs")
        return None
    wanted = "then_branch" if condition.item() else "else_branch"
    branch = next((body for name, _, body in node.bodies if name == wanted), None)
    if branch is None or len(branch.outputs) != len(node.outputs):
        return None
    if node.graph is None or not all(node.graph.holds(constant.dtype) for constant in branch.constants):
        context.declined(RULE, node, "a function of this operator set cannot hold the branch's initializers")
        return None
    return branch if context.admit(RULE, node) else None
