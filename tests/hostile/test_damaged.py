"""Bytes that are no model, or were one before something happened to them."""

from __future__ import annotations

import os

import onnx
import pytest
from onnx import TensorProto, helper

import onnx_opt
from command import run
from onnx_opt import ir, wire
from onnx_opt.errors import ModelError, OnnxOptError

from .conftest import Trial, bounded, model_of

MODEL = """
g (float[N, 4] x, bool c) => (float[N, 4] y)
<float[4] w = {1, 2, 3, 4}>
{ a = Add(x, w) y = If (c) <then_branch = t () => (float[N, 4] r) { r = Relu(a) }, else_branch = e () => (float[N, 4] r) { r = Neg(a) }> }
"""


def outcome_of(data: bytes) -> str:
    """What the library makes of a model: "passed", or the error that it raises."""
    try:
        assert ir.to_bytes(onnx_opt.load(data)) == data
        onnx_opt.optimize(data, "cleanup", validate=False)
    except OnnxOptError as error:
        return str(error)
    return "passed"


def test_every_truncation() -> None:
    data = model_of(MODEL).SerializeToString()
    found = bounded(lambda: [outcome_of(data[:end]) for end in range(len(data))])
    assert all(text.isprintable() and text for text in found)
    assert found.count("passed") < len(data) / 20, "only where a field ends may the rest be missed by nobody"


def test_every_flipped_bit() -> None:
    data = model_of(MODEL).SerializeToString()
    flipped = [data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :] for i in range(len(data)) for bit in range(8)]
    assert all(text.isprintable() and text for text in bounded(lambda: [outcome_of(each) for each in flipped]))


@pytest.mark.parametrize("part", [0.25, 0.5, 0.9, 0.99])
def test_the_command_on_a_truncated_file(trial: Trial, part: float) -> None:
    data = model_of(MODEL).SerializeToString()
    trial.write(data[: int(part * len(data))]).is_refused("not an ONNX model")


@pytest.mark.parametrize(
    ("field", "kind", "words"),
    [
        (7, wire.VARINT, "field 7 is of wire type 0"),
        (7, wire.FIXED64, "field 7 is of wire type 1"),
        (7, wire.FIXED32, "field 7 is of wire type 5"),
        (7, 3, "wire type 3 in field 7"),
        (9, 4, "wire type 4 in field 9"),
        (9, 6, "wire type 6 in field 9"),
        (9, 7, "wire type 7 in field 9"),
        (25, wire.VARINT, "field 25 is of wire type 0"),
    ],
)
def test_wrong_wire_types(trial: Trial, field: int, kind: int, words: str) -> None:
    data = model_of(MODEL).SerializeToString()
    tag = wire.encode_varint(field << 3 | kind)
    trial.write(tag + b"\1" * 8 + data).is_refused(words)


@pytest.mark.parametrize(("field", "kind"), [(1, 0), (5, 0), (11, 5), (12, 1), (13, 0), (15, 0)])
def test_wrong_wire_types_in_the_graph(trial: Trial, field: int, kind: int) -> None:
    graph = model_of(MODEL).graph.SerializeToString() + wire.encode_varint(field << 3 | kind) + b"\1" * 8
    trial.write(b"\x08\x08" + wire.encode_field(7, graph[: len(graph) - 8 + {0: 1, 5: 4, 1: 8}[kind]])).is_refused(
        f"field {field} is of wire type {kind}"
    )


def test_fields_of_nobody_pass_through(trial: Trial) -> None:
    """A field number that ONNX does not use yet is kept."""
    data = model_of(MODEL).SerializeToString() + wire.encode_field(900, b"later") + wire.encode_varint(901 << 3) + b"\1"
    trial.write(data).passes_unharmed("-O0")


def test_lengths_beyond_everything(trial: Trial) -> None:
    trial.write(b"\x3a" + b"\xff" * 9 + b"\x01").is_refused("reaches past the end")
    trial.write(b"\x3a" + b"\xff" * 11).is_refused("a number runs past its field")


NOT_UTF8 = {
    "node": lambda model: model.graph.node[0].name,
    "operator": lambda model: model.graph.node[0].op_type,
    "operand": lambda model: model.graph.node[0].input[0],
    "result": lambda model: model.graph.node[0].output[0],
    "initializer": lambda model: model.graph.initializer[0].name,
    "input": lambda model: model.graph.input[0].name,
    "dim": lambda model: model.graph.input[0].type.tensor_type.shape.dim[0].dim_param,
    "graph": lambda model: model.graph.name,
    "domain": lambda model: model.opset_import[1].domain,
    "attribute": lambda model: model.graph.node[1].attribute[0].name,
}


@pytest.mark.parametrize("what", NOT_UTF8)
def test_names_that_are_not_utf8(trial: Trial, what: str) -> None:
    model = model_of(f'<ir_version: 8, opset_import: ["": 17, "XYZXYZ": 1]> {MODEL}')
    model.graph.name = "graph"
    model.graph.node[0].name = "named"
    name = NOT_UTF8[what](model)
    tag = len(name).to_bytes(1, "big") + name.encode()
    data = model.SerializeToString().replace(tag, tag[:1] + b"\xff" + tag[2:])
    trial.write(data)
    if what == "dim":
        trial.passes()
    else:
        trial.is_refused("not UTF-8", "xff")


def test_names_that_steer_a_terminal(trial: Trial) -> None:
    """Escape sequences, new lines, and what looks like markup are shown, never obeyed."""
    model = model_of(MODEL)
    for node, name in zip(model.graph.node, ("\x1b]0;title\x07[/red]", "two\nlines\u202e"), strict=True):
        node.name = name
    model.graph.node.add(op_type="\x1b[31m[bold]", domain="[/x]", input=["x"], output=["unused"])
    model.opset_import.add(domain="[/x]", version=1)
    outcome = trial.write(model).run()
    assert outcome.code == 0, outcome.err
    for shown in (outcome, run("inspect", trial.model), run("inspect", "--text", trial.model)):
        assert not set(shown.out + shown.err) & {"\x1b", "\x07", "\u202e"}
    model.graph.node[0].input[0] = "\x1b[2J" + "no such value " * 10_000
    refused = trial.write(model).run()
    refused.fails(2, "nothing defines")
    assert len(refused.err) < 2000


def nested_sequence(depth: int) -> bytes:
    kind = b""
    for _ in range(depth):
        kind = wire.encode_field(4, wire.encode_field(1, kind))
    return kind


@pytest.mark.parametrize("depth", [40, 90, 10_000])
def test_deeply_nested_types(trial: Trial, depth: int) -> None:
    info = wire.encode_field(1, b"s") + wire.encode_field(2, nested_sequence(depth))
    graph = model_of(MODEL).graph.SerializeToString() + wire.encode_field(11, info)
    trial.write(b"\x08\x08B\x02\x10\x11" + wire.encode_field(7, graph))
    if depth > 50:  # protobuf reads a hundred messages in one another
        trial.passes_unharmed("-O0")
        bounded(lambda: run("inspect", trial.model)).fails(2, "'s' can't be decoded")
    else:
        trial.passes_unharmed("-O1")


def nested_graphs(depth: int) -> bytes:
    """A model of an If in an If in an If... (protobuf can neither make nor read it)."""
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["o0"])], "inner", [], []).SerializeToString()
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["n"])], "s", [], [helper.make_empty_tensor_value_info("n")]
    )
    other_branch = wire.encode_field(5, helper.make_attribute("else_branch", other).SerializeToString())
    for level in range(1, depth + 1):
        body += wire.encode_field(12, wire.encode_field(1, f"o{level - 1}".encode()))
        branch = wire.encode_field(1, b"then_branch") + b"\xa0\x01\x05" + wire.encode_field(6, body)
        node = onnx.NodeProto(op_type="If", input=["c"], output=[f"o{level}"]).SerializeToString()
        body = wire.encode_field(1, node + wire.encode_field(5, branch) + other_branch)
    inputs = model_of("g (float[2] x, bool c) => () { }").graph.input
    body += b"".join(wire.encode_field(11, value.SerializeToString()) for value in inputs)
    body += wire.encode_field(12, wire.encode_field(1, f"o{depth}".encode()))
    return b"\x08\x08B\x02\x10\x11" + wire.encode_field(7, body)


@pytest.mark.parametrize("depth", [200, 5_000])
def test_deeply_nested_graphs(trial: Trial, depth: int) -> None:
    """Deeper than protobuf reads and Python recurses: it passes."""
    trial.write(nested_graphs(depth)).passes_unharmed("-O2")


def test_a_long_chain_of_wrapped_types(trial: Trial) -> None:
    """Optional of Optional of ...: types are made by the thousand, and compared."""
    steps = " ".join(f"o{i + 1} = Optional(o{i})" for i in range(3_000))
    trial.write(f"g (float[2] o0, float[2] x) => (float[2] y) {{ {steps} h = OptionalHasElement(o3000) y = Relu(x) }}")
    outcome = trial.run("-O2")
    assert outcome.code == 0, outcome.err
    assert "failed" not in outcome.err


def test_what_is_no_file(trial: Trial) -> None:
    os.mkfifo(trial.model)
    bounded(lambda: run(trial.model, "-o", trial.output)).fails(2, "it is no file")
    bounded(lambda: run("/dev/zero", "-o", trial.output)).fails(2, "/dev/zero: it is no file")
    bounded(lambda: run("inspect", trial.folder)).fails(2, "directory")
    run("a\0b").fails(2, "zero byte")


def test_the_library_raises_one_kind(tmp_path) -> None:
    """ModelError, with the file and the node as fields, wherever it is found."""
    for data in (b"", b"\xff" * 100, onnx.ModelProto().SerializeToString()):
        with pytest.raises(ModelError):
            onnx_opt.load(data)
        with pytest.raises(ModelError):
            onnx_opt.optimize(data, validate=False)
    path = tmp_path / "m.onnx"
    path.write_bytes(model_of("g (float[2] x) => (float[2] y) { [sum] y = Add(x, nothing) }").SerializeToString())
    with pytest.raises(ModelError) as caught:
        onnx_opt.optimize(path, validate=False)
    assert (caught.value.path, caught.value.node, caught.value.exit_code) == (str(path), "sum", 2)


def test_an_initializer_that_only_breaks_when_it_is_read(trial: Trial) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], float_data=[1, 2])
    model = model_of("g (float[4] x) => (float[4] y) { n = Neg(w) y = Add(x, n) }")
    model.graph.initializer.append(tensor)
    trial.write(model).is_refused("initializer 'w' can't be decoded")
