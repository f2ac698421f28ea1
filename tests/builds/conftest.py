"""A cache of its own for each test, and small models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

CONVOLUTION = """
<ir_version: 8, opset_import: ["": 17]>
convolution (float[1, 2, 5, 5] x) => (float[1, 3, 5, 5] y)
<float[3, 2, 1, 1] w = {1.0, -2.0, 3.0, 0.5, 0.25, -1.0}, float[3] s = {1.0, 2.0, 0.5}, float[3] b = {0.0, 1.0, -1.0},
 float[3] m = {0.5, 0.0, -0.5}, float[3] v = {1.0, 4.0, 0.25}>
{
  [conv] c = Conv(x, w)
  [norm] n = BatchNormalization(c, s, b, m, v)
  [act] y = Relu(n)
}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of results that are kept; no test sees the user's."""
    folder = tmp_path / "the cache"
    monkeypatch.setenv("ONNX_OPT_CACHE", str(folder))
    monkeypatch.delenv("ONNX_OPT_CACHE_SIZE", raising=False)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Conv, BatchNormalization, Relu: -O2 makes two nodes of it."""
    return write(tmp_path / "model.onnx", CONVOLUTION)


@pytest.fixture
def external(tmp_path: Path) -> Path:
    """A model whose weights are in `weights.bin` beside it."""
    return write_external(tmp_path / "external.onnx", "weights.bin")


def write(path: Path, text: str) -> Path:
    """The model that ONNX text describes, as a file."""
    onnx.save(parser.parse_model(text), str(path))
    return path


def write_external(path: Path, location: str, value: float = 2.0) -> Path:
    """``y = Identity(x @ w) + w @ w`` with a matrix w as external data at `location`."""
    path.with_name(location).unlink(missing_ok=True)  # onnx would append to it
    weights = np.full((32, 32), value, np.float32)
    tensor = numpy_helper.from_array(weights, "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Identity", ["a"], ["i"]),
        helper.make_node("MatMul", ["w", "w"], ["square"]),
        helper.make_node("Add", ["i", "square"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [32, 32]) for name in "xy"]
    graph = helper.make_graph(nodes, "external", ends[:1], ends[1:], [tensor])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, str(path), save_as_external_data=True, location=location, size_threshold=0)
    return path
