"""Graphs that are extreme in one way: long, popular, deep. Written as bytes where a message could not be that deep."""

from __future__ import annotations

import numpy as np
import onnx
from big_weights import IR_VERSION, OPSET
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL
GRAPH_NODE, GRAPH_NAME, GRAPH_INPUT, GRAPH_OUTPUT = 1, 2, 11, 12
ATTRIBUTE_GRAPH, NODE_ATTRIBUTE, MODEL_GRAPH = 6, 5, 7


def line(nodes: int) -> bytes:
    """Neg and Relu in a row, nothing to rewrite."""
    protos = [
        helper.make_node("Relu" if i % 2 else "Neg", [f"v{i - 1}" if i else "x"], [f"v{i}"], name=f"node_{i}")
        for i in range(nodes)
    ]
    return _model(protos, f"v{nodes - 1}", [])


def users(nodes: int) -> bytes:
    """One value with `nodes` users, and a Sum of theirs."""
    constants = [numpy_helper.from_array(np.full(4, i + 1, np.float32), f"c{i}") for i in range(100)]
    adds = [helper.make_node("Add", ["e", f"c{i % 100}"], [f"u{i}"], name=f"add_{i}") for i in range(nodes)]
    total = helper.make_node("Sum", [f"u{i}" for i in range(nodes)], ["y"], name="sum")
    return _model([helper.make_node("Exp", ["x"], ["e"], name="exp"), *adds, total], "y", constants)


def nested(depth: int) -> bytes:
    """If in If in If, `depth` of them; protobuf refuses to parse a message that deep from a hundred on."""
    body = _node(helper.make_node("Relu", ["x"], ["o0"], name="innermost")) + _graph_end("inner", "o0")
    for level in range(1, depth + 1):
        other = helper.make_graph([helper.make_node("Neg", ["x"], [f"e{level}"])], "other", [], [_info(f"e{level}")])
        branches = b"".join(
            _field(NODE_ATTRIBUTE, AttributeProto(name=name, type=AttributeProto.GRAPH).SerializeToString() + graph)
            for name, graph in (
                ("then_branch", _field(ATTRIBUTE_GRAPH, body)),
                ("else_branch", _field(ATTRIBUTE_GRAPH, other.SerializeToString())),
            )
        )
        node = NodeProto(op_type="If", input=["c"], output=[f"o{level}"], name=f"if_{level}").SerializeToString()
        body = _field(GRAPH_NODE, node + branches) + _graph_end("level", f"o{level}")
    for name, elem_type in (("x", FLOAT), ("c", BOOL)):
        body += _field(GRAPH_INPUT, helper.make_tensor_value_info(name, elem_type, []).SerializeToString())
    model = onnx.ModelProto(ir_version=IR_VERSION, opset_import=[helper.make_opsetid("", OPSET)])
    return model.SerializeToString() + _field(MODEL_GRAPH, body)


def _model(nodes: list[NodeProto], output: str, initializers: list[TensorProto]) -> bytes:
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["N", 4])]
    graph = helper.make_graph(nodes, "extreme", inputs, [_info(output)], initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString(deterministic=True)


def _info(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, None)


def _node(node: NodeProto) -> bytes:
    return _field(GRAPH_NODE, node.SerializeToString())


def _graph_end(name: str, output: str) -> bytes:
    return _field(GRAPH_NAME, name.encode()) + _field(GRAPH_OUTPUT, _info(output).SerializeToString())


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
