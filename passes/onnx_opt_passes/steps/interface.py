"""Inputs and outputs of the model in another form, with a node between them and what reads or computes them."""

from __future__ import annotations

from typing import Any

from onnx_opt import types
from onnx_opt.ir import Graph, Origin, Value
from onnx_opt.ir.values import Variable
from onnx_opt.passes import PassContext


def exchange_input(
    graph: Graph, value: Value, declared: types.Type | None, op: str, attrs: dict[str, Any], name: str, rule: str,
    context: PassContext,
) -> None:  # fmt: skip
    """Let an input of the main graph be `declared`; the node `op`, called `name`, makes of it what it was."""
    origin, port = Origin.of_node(value.name), value.name
    new = Variable(graph.fresh(port), graph=graph)
    back = graph.make_node(op, [new], attrs, name=name, origin=origin)
    if not context.admit(rule, back):
        return
    graph.set_graph_inputs([new if each is value else each for each in graph.inputs])
    graph.declare(new, declared)
    graph.insert(back, graph.head)
    graph.replace_uses(value, back.outputs[0])
    graph.rename(value, graph.fresh(port))
    graph.rename(new, port)
    context.applied(rule, [port], origin, [port])


def exchange_output(
    graph: Graph, value: Value, declared: types.Type | None, op: str, attrs: dict[str, Any], name: str, rule: str,
    context: PassContext,
) -> None:  # fmt: skip
    """Let an output of the main graph be what the node `op`, called `name`, makes of it, and `declared` so."""
    assert value.producer is not None
    origin, port = Origin.merge(rule, [value.producer.origin]), value.name
    node = graph.make_node(op, [value], attrs, name=name, origin=origin)
    if not context.admit(rule, node):
        return
    graph.insert(node)
    new = node.outputs[0]
    graph.set_graph_outputs([new if each is value else each for each in graph.outputs])
    if declared is not None:
        graph.declare(new, declared)
    graph.rename(value, graph.fresh(port))
    graph.rename(new, port)
    context.applied(rule, [node.label()], origin, [port])
