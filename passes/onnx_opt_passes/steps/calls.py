"""Local functions whose calls compute in FP32: inlined, so that each call gets the types it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.precision.constraints import FLOAT
from onnx_opt.rewrite.calls import inline_call, obstacle

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Value
    from onnx_opt.passes import PassContext

RULE = "inline-call"


def inline(graph: Graph, context: PassContext) -> None:
    """Inline the calls that take or give FP32, and those in what comes of them. Functions do not call themselves."""
    model = graph.model
    if not model.functions:
        return
    pending = [node for inner in model.graph.nested() for node in inner]
    while pending:
        node = pending.pop()
        function = model.function(node)
        if function is None or not any(map(_may_be_wide, (*node.inputs, *node.outputs))):
            continue
        if reason := obstacle(node, function):
            context.declined(RULE, node, reason)
        elif context.admit(RULE, node):
            results = [value.name for value in node.outputs if value.name]
            context.applied(RULE, [node.label()], node.origin, results)
            pending += inline_call(node, function, RULE)


def _may_be_wide(value: Value) -> bool:
    return bool(value.name) and value.elem_type in (0, FLOAT)
