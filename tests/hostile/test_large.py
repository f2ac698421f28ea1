"""Counts that are quadratic trouble for the careless: linear work, bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from onnx import AttributeProto, NodeProto, helper

from onnx_opt import wire

from .conftest import Trial, model_of

COUNT = 40_000
"""A million gives the same, and takes as much longer."""
MEMORY = 4 << 30


def value_info(name: bytes) -> bytes:
    return wire.encode_field(1, name) + wire.encode_field(2, b"\x0a\x06\x08\x01\x12\x02\x0a\x00")


def entries(field: int) -> Iterator[bytes]:
    for i in range(COUNT):
        name = b"v%d" % i
        if field == 5:
            yield wire.encode_field(
                5, b"\x08\x01\x10\x01" + wire.encode_field(8, name) + wire.encode_field(9, b"\0\0\0\0")
            )
        elif field == 12:
            yield wire.encode_field(12, value_info(b"x"))
        else:
            yield wire.encode_field(field, value_info(name))


@pytest.mark.parametrize("field", [5, 11, 12, 13])
def test_many_entries(trial: Trial, field: int) -> None:
    """Initializers, inputs, outputs, value_info."""
    graph = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }").graph.SerializeToString()
    trial.write(b"\x08\x08B\x02\x10\x11" + wire.encode_field(7, graph + b"".join(entries(field))))
    outcome = trial.run("-O1", memory=MEMORY)
    assert outcome.code == 0, outcome.err


def test_many_nodes(trial: Trial) -> None:
    node = NodeProto(op_type="Relu", input=["x"]).SerializeToString()
    nodes = b"".join(wire.encode_field(1, node + wire.encode_field(2, b"n%d" % i)) for i in range(COUNT // 4))
    graph = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }").graph.SerializeToString()
    trial.write(b"\x08\x08B\x02\x10\x11" + wire.encode_field(7, graph + nodes))
    assert len(trial.passes("-O1", memory=MEMORY).graph.node) == 1


def test_many_operands_and_results(trial: Trial) -> None:
    model = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph.node.append(helper.make_node("Sum", ["x"] * COUNT, ["s"]))
    model.graph.node.append(helper.make_node("Split", ["s"], [f"p{i}" for i in range(COUNT)], axis=0))
    model.graph.output.append(helper.make_empty_tensor_value_info("p7"))
    trial.write(model).passes("-O2", memory=MEMORY)


@pytest.mark.parametrize(
    "made",
    [
        AttributeProto(name="value_ints", type=AttributeProto.INTS, ints=range(COUNT * 5)),
        AttributeProto(name="value_floats", type=AttributeProto.FLOATS, floats=[0.5] * COUNT * 5),
        AttributeProto(name="value_strings", type=AttributeProto.STRINGS, strings=[b"s"] * COUNT),
    ],
    ids=lambda attribute: attribute.name,
)
def test_long_lists(trial: Trial, made: AttributeProto) -> None:
    model = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph.node.append(NodeProto(op_type="Constant", output=["c"], attribute=[made]))
    model.graph.node.append(helper.make_node("Identity", ["c"], ["d"]))
    model.graph.output.append(helper.make_empty_tensor_value_info("d"))
    trial.write(model).passes("-O1", memory=MEMORY)


@pytest.mark.parametrize(
    ("op", "name"), [("Transpose", "perm"), ("Conv", "kernel_shape"), ("Pad", "pads"), ("Squeeze", "axes")]
)
def test_lists_that_are_too_long(trial: Trial, op: str, name: str) -> None:
    """As many axes as nobody has dims."""
    model = model_of('<ir_version: 8, opset_import: ["": 10]> g (float[1, 1, 2] x) => (float[2] y) { y = Relu(x) }')
    node = model.graph.node[0]
    node.op_type = op
    node.input.extend(["x"] * (op == "Conv"))
    node.attribute.append(AttributeProto(name=name, type=AttributeProto.INTS, ints=range(COUNT)))
    trial.write(model).passes("-O2", memory=MEMORY)


def test_many_dims(trial: Trial) -> None:
    """A rank that no tensor has: nothing is taken for known of it."""
    model = model_of("g (float[2] x) => (float[2] y) { s = Shape(x) t = Transpose(x) y = Reshape(t, s) }")
    for info in (*model.graph.input, *model.graph.output):
        info.type.CopyFrom(helper.make_tensor_type_proto(1, [1 << 62] * COUNT))
    trial.write(model).passes("-O2", memory=MEMORY)


def test_many_functions_and_opsets(trial: Trial) -> None:
    model = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    for i in range(COUNT // 20):
        model.opset_import.add(domain=f"d{i}", version=1)
        model.functions.add(name=f"f{i}", domain="d0", input=["a"], output=["a"])
        model.metadata_props.add(key=f"k{i}", value="v")
    trial.write(model).passes("-O1", memory=MEMORY)
