"""What nothing reads: nodes, initializers, local functions."""

from __future__ import annotations

from onnx_opt.ir import Graph, order
from onnx_opt.ir.model import Model
from onnx_opt.journal import Key
from onnx_opt.passes import PassContext

RULE = "remove-unused"


def remove(graph: Graph, context: PassContext) -> None:
    """Remove what has no influence on any output. Initializers that a caller may feed stay: they are the interface."""
    model = graph.model
    if not context.journal.admit_key(Key(context.pass_name, RULE, "")):
        return
    before = model.revision
    for inner in model.all_graphs():
        model.orphans.update((constant, None) for constant in inner.constants if not constant.uses)
    for top in (model.graph, *model.functions):
        order.remove_dead(top)
    _remove_functions(model)
    if model.revision != before:
        context.applied(RULE, [])


def _remove_functions(model: Model) -> None:
    """Keep the local functions that the main graph calls, directly or through others."""
    if not model.functions:
        return
    called = set()
    stack = [model.graph]
    while stack:
        for node in stack.pop().walk():
            function = model.function(node)
            if function is not None and function not in called:
                called.add(function)
                stack.append(function)
    if len(called) < len(model.functions):
        model.set_functions([function for function in model.functions if function in called])
