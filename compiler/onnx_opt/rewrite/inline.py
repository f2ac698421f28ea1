"""Inlining: the nodes of a subgraph take the place of the node that carries it."""

from __future__ import annotations

from onnx_opt.ir import Graph, Node, Origin, Value


def inline_body(node: Node, body: Graph, rule: str) -> None:
    """Replace `node` by the nodes of its subgraph `body`, which runs exactly once and has no inputs (a branch of If).

    Values and initializers move into the graph of `node`; a name that another scope uses too is made unique, of values
    and of nodes. Results that the body takes from outside are passed on.
    """
    graph = node.graph
    assert graph is not None
    model = graph.model
    origin = Origin.merge(rule, [node.origin])
    for constant in list(body.constants):
        _make_unique(graph, constant)
        body.detach_constant(constant)
        graph.attach_constant(constant)
    for inner in list(body):
        for value in inner.outputs:
            if value.name:
                _make_unique(graph, value)
        graph.move(inner, node)
        name = model.unique_node_name(inner.name)
        if name != inner.name:
            graph.retype(inner, inner.op, name, inner.domain)
        graph.set_origin(inner, Origin.merge(rule, [inner.origin, origin]))
    outputs = list(body.outputs)
    body.set_graph_outputs([])
    for result, new in zip(list(node.outputs), outputs, strict=True):
        if result.name and result.uses:
            graph.replace_value(result, new)
    model.settle()
    if node.alive:
        graph.erase(node, force=True)


def _make_unique(graph: Graph, value: Value) -> None:
    names = graph.model.names
    if names.get(value.name, 0) > 1:
        graph.rename(value, graph.fresh(value.name))
