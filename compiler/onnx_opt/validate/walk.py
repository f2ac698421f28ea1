"""Every node and tensor of a model: those of subgraphs and of local functions included. Iterative."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def node_lists(model: onnx.ModelProto) -> list[Any]:
    """The node list of every graph and function, inner ones first, so that replacing nodes loses none of them."""
    found = [model.graph.node, *(function.node for function in model.functions)]
    for nodes in found:  # grows while it is walked
        found += [graph.node for node in nodes for graph in subgraphs(node)]
    return found[::-1]


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for nodes in node_lists(model):
        yield from nodes


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every initializer and every tensor in an attribute."""
    yield from model.graph.initializer
    for node in all_nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for graph in subgraphs(node):
            yield from graph.initializer


def operators(model: onnx.ModelProto) -> set[str]:
    """The operator types in a model."""
    return {node.op_type for node in all_nodes(model)}


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
