"""What the commands inspect and diff show."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

from onnx_text import parse

from .conftest import NEGATIONS, run, write

WITH_ALL = """
<ir_version: 8, opset_import: ["": 17, "custom": 1, "local": 1], producer_name: "hand">
everything (float[batch, 4] x, bool flag) => (float[batch, 4] y)
<float[4] w = {1.0, 2.0, 3.0, 4.0}>
{
  a = Add(x, w)
  b = local.twice(a)
  c = custom.Op(b)
  y = If(flag) <
    then_branch = yes () => (float[batch, 4] t) { t = Relu(c) },
    else_branch = no () => (float[batch, 4] e) { e = Neg(c) }
  >
}
<opset_import: ["": 17], domain: "local">
twice (v) => (r) { r = Add(v, v) }
"""


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    return write(tmp_path / "everything.onnx", WITH_ALL)


def test_inspect_as_data(everything: Path) -> None:
    found = json.loads(run("inspect", everything, "--json").out)
    assert found["inputs"] == [{"name": "x", "type": "float[batch,4]"}, {"name": "flag", "type": "bool[]"}]
    assert found["dynamic_dims"] == ["batch"]
    assert found["ops"] == {"Add": 2, "If": 1, "Neg": 1, "Relu": 1, "custom::Op": 1, "local::twice": 1}
    assert found["custom_operators"] == ["custom::Op"]
    assert found["functions"] == ["local::twice"]
    assert found["subgraphs"] == 2
    assert (found["parameters"], found["weight_bytes"]) == (4, 16)
    assert found["bytes"] == everything.stat().st_size
    assert found["opsets"] == {"ai.onnx": 17, "custom": 1, "local": 1}


def test_inspect_tells_what_a_run_costs(tmp_path: Path) -> None:
    text = "g (float[n,3] x, float[3,5] w) => (float[n,5] y) {a = MatMul(x, w)\n b = Relu(a)\n y = MatMul(b, v)}"
    model = parse(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((5, 5), np.float32), "v"))
    onnx.save(model, tmp_path / "m.onnx")
    found = json.loads(run("inspect", tmp_path / "m.onnx", "--dim", "n=2", "--nodes", "1", "--json").out)
    assert found["total"] == {"flops": 2 * 2 * 5 * (3 + 5), "bytes": 4 * (6 + 15 + 10 + 10 + 10 + 10 + 25 + 10)}
    assert found["costs"]["MatMul"]["flops_share"] == 1.0
    assert found["costs"]["MatMul"]["intensity"] == round(160 / (4 * 76), 3)
    assert [(node["name"], node["flops"], node["results"]) for node in found["node_costs"]] == [
        ("y", 100, ["float[2,5]"])
    ]
    # held: x and w all the time, with two of a, b and y
    assert (found["peak_activation_bytes"], found["peak_node"]) == (4 * (6 + 15 + 20), "b")
    assert found["assumed"] == {}
    read = run("inspect", tmp_path / "m.onnx", "--nodes").out
    assert "at n = 1 (assumed; --dim says otherwise)" in read
    assert "float[n,5]  y" in read, "shapes with their symbols"


def test_inspect_draws_memory_over_one_run(tmp_path: Path) -> None:
    write(tmp_path / "m&<.onnx", "g (float[4] x) => (float[4] y) {a = Exp(x)\n y = Add(a, x)}")
    assert run("inspect", tmp_path / "m&<.onnx", "--plot", tmp_path / "memory.svg").code == 0
    drawn = ElementTree.parse(tmp_path / "memory.svg").getroot()
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "Activation memory of m&<.onnx" in texts
    assert "peak 48 B at node 2 of 2: y" in texts
    run("inspect", tmp_path / "m&<.onnx", "--plot", tmp_path / "no" / "memory.svg").fails(2, "no folder")
    run("inspect", tmp_path / "m&<.onnx", "--nodes", "few").fails(2, "--nodes few")


def test_inspect_for_reading(everything: Path) -> None:
    text = run("inspect", everything).out
    for part in ("hand", "ai.onnx 17", "x: float[batch,4]", "custom::Op", "4 parameters"):
        assert part in text


def test_inspect_as_text(everything: Path) -> None:
    text = run("inspect", everything, "--text").out
    assert "custom.Op" in text
    assert "Relu" in text


def test_the_same_model_does_not_differ(everything: Path) -> None:
    outcome = run("diff", everything, everything, "--no-numbers")
    assert (outcome.code, outcome.out) == (0, "structure: the same\n")


def test_structure_and_numbers(convolution: Path, tmp_path: Path) -> None:
    assert run(convolution, "-o", tmp_path / "out.onnx").code == 0
    outcome = run("diff", convolution, tmp_path / "out.onnx")
    assert outcome.code == 0
    assert "operator BatchNormalization: 1 -> 0" in outcome.out
    assert "numbers: proven" in outcome.out
    found = json.loads(run("diff", convolution, tmp_path / "out.onnx", "--json").out)
    assert found["structure"]["inputs"] == {"added": [], "removed": [], "changed": []}
    assert found["numbers"]["status"] == "proven"


def test_other_numbers_are_a_failure(convolution: Path, tmp_path: Path) -> None:
    text = convolution.read_bytes().replace(b"\x00\x00\x40\x40", b"\x00\x00\x40\x41")  # a weight: 3.0 -> 12.0
    (tmp_path / "other.onnx").write_bytes(text)
    outcome = run("diff", convolution, tmp_path / "other.onnx")
    assert outcome.code == 1
    assert "initializers changed: 1: w" in outcome.out
    assert "failed" in outcome.out


def test_another_interface_is_a_failure(model: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.onnx", NEGATIONS.replace(" y)", " z)").replace("y = Relu", "z = Relu"))
    outcome = run("diff", model, other, "--no-numbers")
    assert outcome.code == 1
    assert "outputs added: 1: z" in outcome.out
    assert "outputs removed: 1: y" in outcome.out


LAYERS = """
g (float[N,3,8,8] x) => (float[N,8,8,8] y)
<float[8,3,1,1] w = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}, float[8,1,1,1] d = {1,1,1,1,1,1,1,1}>
{ [first] a = Conv(x, w)  [second] y = Conv<group = 8>(a, d) }
"""


def test_inspect_tells_what_suits_the_matrix_units_of_a_target(tmp_path: Path) -> None:
    path = write(tmp_path / "layers.onnx", f'<ir_version: 8, opset_import: ["": 17]>\n{LAYERS}')
    first, second = json.loads(run("inspect", path, "--target", "tensorrt", "--json").out)["layers"]
    assert first == {
        "name": "first",
        "op": "Conv",
        "dtype": "float32",
        "in": 3,
        "out": 8,
        "groups": 1,
        "eligible": False,
        "reason": "channels: 3 in, no multiple of 4",
    }
    assert second["reason"] == "groups: depthwise, there is no matrix product"
    text = run("inspect", path, "--target", "tensorrt").out
    assert "2, 0 eligible" in text
    assert "first: channels: 3 in, no multiple of 4" in text
    assert "eligible" not in run("inspect", path).out


def test_inspect_refuses_an_unknown_target(tmp_path: Path) -> None:
    path = write(tmp_path / "layers.onnx", f'<ir_version: 8, opset_import: ["": 17]>\n{LAYERS}')
    done = run("inspect", path, "--target", "abacus")
    assert done.code == 2
    assert "unknown target 'abacus'" in done.err
