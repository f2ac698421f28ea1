"""What the tests of the lowering to half precision share."""

from __future__ import annotations

import onnx


def casts(model: onnx.ModelProto) -> int:
    """The number of Cast nodes, those in subgraphs included."""
    found, graphs = 0, [model.graph]
    while graphs:
        graph = graphs.pop()
        for node in graph.node:
            found += node.op_type == "Cast"
            graphs += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return found
