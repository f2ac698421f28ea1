"""Verdicts on results: numbers, interfaces, and inputs that a model takes."""

from pathlib import Path

import feeds
import judge
import numpy as np
import onnx
import pytest
from generate import generate
from onnx import parser

HEADER = '<ir_version: 10, opset_import: ["" : 20]>'


def write(path: Path, graph: str) -> Path:
    onnx.save(parser.parse_model(HEADER + graph), path)
    return path


@pytest.fixture
def original(tmp_path: Path) -> Path:
    return write(tmp_path / "a.onnx", "m (float[batch,4] x) => (float[batch,4] y) { t = Identity(x) y = Relu(t) }")


def verdict(original: Path, graph: str) -> str:
    result = write(original.with_name("b.onnx"), graph)
    return str(judge.verdict(original, result, 2, {})["verdict"])


def test_equal_results_are_ok(original: Path) -> None:
    assert verdict(original, "m (float[batch,4] x) => (float[batch,4] y) { y = Relu(x) }") == "ok"


@pytest.mark.parametrize(
    "graph",
    [
        "m (float[batch,4] x) => (float[batch,4] z) { z = Relu(x) }",
        "m (float[2,4] x) => (float[2,4] y) { y = Relu(x) }",
        "m (float[batch,4] x) => (float[2,4] y) { y = Relu(x) }",
        "m (float[batch,4] x, float[1] w) => (float[batch,4] y) { y = Relu(x) }",
    ],
)
def test_callers_would_notice(original: Path, graph: str) -> None:
    assert verdict(original, graph) == "new interface"


def test_an_output_shape_may_become_known_if_it_is_right(tmp_path: Path) -> None:
    original = write(tmp_path / "a.onnx", "m (float[2,4] x) => (float[a,b] y) { y = Relu(x) }")
    assert verdict(original, "m (float[2,4] x) => (float[2,4] y) { y = Relu(x) }") == "ok"
    assert verdict(original, "m (float[2,4] x) => (float[2,a,b] y) { y = Relu(x) }") in ("invalid", "new interface")


def test_an_output_shape_may_not_be_forgotten(original: Path) -> None:
    assert verdict(original, "m (float[batch,4] x) => (float[batch,c] y) { y = Relu(x) }") == "new interface"


def test_wrong_numbers(original: Path) -> None:
    assert verdict(original, "m (float[batch,4] x) => (float[batch,4] y) { y = Sigmoid(x) }") == "wrong result"


def test_invalid_result(original: Path) -> None:
    assert verdict(original, "m (float[batch,4] x) => (float[batch,4] y) { y = Relu(nowhere) }") == "invalid"


def test_original_that_cannot_run(tmp_path: Path) -> None:
    graph = "m (float[4] x) => (float[4] y) { y = Foo(x) }"
    path = tmp_path / "custom.onnx"
    model = parser.parse_model('<ir_version: 10, opset_import: ["" : 20, "custom" : 1]>' + graph)
    model.graph.node[0].domain = "custom"
    onnx.save(model, path)
    assert judge.verdict(path, path, 2, {})["verdict"] == "not judged"


def test_differences() -> None:
    one = np.array([1.0, -4.0, np.inf, np.nan], np.float32)
    assert judge.difference(one, one.copy()) == (0.0, True)
    error, fine = judge.difference(one, one + np.float32(0.4))
    assert error == pytest.approx(0.1, rel=1e-5) and not fine
    assert judge.difference(one, np.nan_to_num(one))[1] is False
    assert judge.difference(one, one.astype(np.float64))[1] is False
    assert judge.difference(np.array([3], np.int8), np.array([4], np.int8)) == (1.0, True)
    assert judge.difference(np.array([3]), np.array([4])) == (1.0, False)


def test_nodes_are_counted_in_subgraphs_too(tmp_path: Path) -> None:
    generate("subgraphs:3", tmp_path / "m.onnx")
    # three If with two branches of a node, a nested one, the Loop with its count and a body of three
    assert judge.describe(tmp_path / "m.onnx")["nodes"] == 3 * 3 + 3 + 2 + 3


def test_external_weights_count(tmp_path: Path) -> None:
    generate("mlp-external:10K", tmp_path / "m.onnx")
    assert judge.describe(tmp_path / "m.onnx")["bytes"] == sum(file.stat().st_size for file in tmp_path.iterdir())


def test_a_dim_of_another_size_is_found(tmp_path: Path) -> None:
    """Past, present, and a mask over both: no single size for all dims is accepted."""
    graph = "m (float[N,P] past, float[N,L] now, float[N,PL] mask) => (float[N,PL] y)"
    path = write(tmp_path / "m.onnx", graph + "{ all = Concat <axis = 1> (past, now) y = Add(all, mask) }")
    samples = feeds.samples(judge.session(path, "DISABLE_ALL"), 1, {})
    assert [samples[0][name].shape[1] for name in ("past", "now", "mask")] == [16, 16, 32]
    fixed = feeds.samples(judge.session(path, "DISABLE_ALL"), 1, {"P": 3, "L": 4, "PL": 7})
    assert fixed[0]["mask"].shape == (1, 7)


def test_speeds_are_seconds_for_each_model(original: Path) -> None:
    times = judge.speeds([original, original], 0.0, {})
    assert len(times) == 2 and all(seconds > 0 for seconds in times)
