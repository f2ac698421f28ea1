"""The CUDA provider: values that stay on the device, CUDA graphs, graphs that ONNX Runtime optimizes for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from command import run
from onnx_opt.errors import OnnxOptError
from onnx_opt.runtime.bench import Effort, bench
from onnx_opt.runtime.session import Binding, device_of, open_session, require
from onnx_opt.runtime.settings import CUDA, Settings, read_settings
from onnx_opt.validate.run import Runtime
from onnx_opt.validate.source import Source

NETWORK = """
<ir_version: 8, opset_import: ["": 17]>
network (float[1, 16, 9, 9] x) => (float[1, 16, 9, 9] y)
<float[1] half = {0.5}, int64[4] shape = {16, 16, 3, 3}>
{ w = Expand(half, shape) c = Conv<pads = [1, 1, 1, 1]>(x, w) r = Relu(c) y = Tanh(r) }
"""


def no_device() -> str:
    """Why these tests cannot run; '' where they can."""
    try:
        require(read_settings("cuda"))
    except OnnxOptError as error:
        return str(error)
    return ""


@pytest.fixture(autouse=True, scope="module")
def device() -> None:
    if why := no_device():
        pytest.skip(why)


pytestmark = pytest.mark.gpu


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(parser.parse_model(NETWORK), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def feed() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((1, 16, 9, 9)).astype(np.float32)}


def test_results_stay_on_the_device_and_equal_those_of_the_processor(model: Path) -> None:
    settings = Settings(CUDA, (("use_tf32", "0"),))
    bound = Binding(open_session(model, settings), feed(), device_of(settings))
    bound.run()
    assert bound.outputs()[0].device_name() == "cuda"
    np.testing.assert_allclose(bound.arrays()[0], open_session(model).run(None, feed())[0], rtol=1e-4, atol=1e-5)


def test_a_whole_model_as_a_cuda_graph(model: Path, tmp_path: Path) -> None:
    assert run(model, "-o", tmp_path / "out.onnx", "--target", "ort-cuda", "-q").code == 0
    graph = Runtime(settings=Settings(CUDA, (("enable_cuda_graph", "1"),)))
    models = [Source.of(tmp_path / "out.onnx")]
    found = bench(models, graph, Effort(iterations=20), data=[feed()], fixed=True, looking=Runtime())
    assert found.models[0].latency.runs == 20 and found.models[0].providers[0] == CUDA


def test_a_graph_that_onnxruntime_optimizes_for_cuda(model: Path, tmp_path: Path) -> None:
    outcome = run(model, "-o", tmp_path / "out.onnx", "--target", "ort-cuda", "--ort-level", "all")
    assert outcome.code == 0 and "proven" in outcome.out


def test_run_and_bench(model: Path) -> None:
    assert run("run", model, "--provider", "cuda", "--provider-option", "use_tf32=0").code == 0
    assert run("bench", model, "--provider", "cuda", "--iterations", 10).code == 0
    run("run", model, "--provider", "cuda", "--provider-option", "no_such=1").fails(2, "no_such")
