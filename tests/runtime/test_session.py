"""Sessions: what was asked for takes part, and a run on bound values gives what a plain run gives."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser

from onnx_opt.errors import ModelError, TargetError, UsageError
from onnx_opt.runtime.session import Binding, device_of, open_session, require, to_device
from onnx_opt.runtime.settings import CPU, CUDA, Settings

TWICE = """
<ir_version: 8, opset_import: ["": 17]>
twice (float[n, 4] x, bfloat16[2] unused) => (float[n, 4] y, float[n, 4] z) { y = Add(x, x) z = Relu(x) }
"""
SEQUENCE = """
<ir_version: 8, opset_import: ["": 17]>
take (seq(float[n]) x) => (float[n] y) { i = Constant<value_int: int = 0>() y = SequenceAt(x, i) }
"""


def model_of(text: str) -> bytes:
    return bytes(parser.parse_model(text).SerializeToString())


def test_a_bound_run_gives_what_a_plain_run_gives() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    bound = Binding(open_session(model_of(TWICE)), {"x": x, "unused": np.zeros(2, ml_dtypes.bfloat16)})
    bound.run()
    twice, positive = bound.arrays()
    np.testing.assert_array_equal(twice, x + x)
    np.testing.assert_array_equal(positive, np.maximum(x, 0))


def test_fixed_outputs_stay_where_they_are() -> None:
    feed = {"x": np.ones((2, 4), np.float32), "unused": np.zeros(2, ml_dtypes.bfloat16)}
    bound = Binding(open_session(model_of(TWICE)), feed, fixed=True)
    places = []
    for _ in range(3):
        bound.run()
        places.append([value.data_ptr() for value in bound.outputs()])
    assert places[0] == places[1] == places[2]
    np.testing.assert_array_equal(bound.arrays()[0], 2 * feed["x"])


def test_what_is_no_tensor_cannot_be_bound() -> None:
    with pytest.raises(TypeError, match="list cannot be bound"):
        Binding(open_session(model_of(SEQUENCE)), {"x": [np.ones(2, np.float32)]})
    with pytest.raises(TypeError, match="strings"):
        to_device(np.array(["a"], object), ("cpu", 0))


def test_a_provider_without_the_option_says_so() -> None:
    with pytest.raises(UsageError, match="CPUExecutionProvider has no option 'use_arena'"):
        open_session(model_of(TWICE), Settings(CPU, (("use_arena", "1"),)))


def test_a_provider_without_device_is_not_passed_over_in_silence() -> None:
    if CUDA not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime was built without the CUDA provider")
    settings = Settings(CUDA)
    try:
        session = open_session(model_of(TWICE), settings)
    except TargetError as error:
        assert "finds no device here" in str(error) and "cpu" in str(error)
    else:
        assert session.get_providers()[0] == CUDA


def test_session_options_reach_the_session() -> None:
    settings = Settings(session_options=(("session.disable_prepacking", "1"), ("intra_op_num_threads", "2")))
    options = open_session(model_of(TWICE), settings).get_session_options()
    assert options.get_session_config_entry("session.disable_prepacking") == "1"
    assert options.intra_op_num_threads == 2


def test_the_level_is_that_of_the_settings() -> None:
    for level, expected in (("disabled", "ORT_DISABLE_ALL"), ("all", "ORT_ENABLE_ALL")):
        options = open_session(model_of(TWICE), Settings(level=level)).get_session_options()
        assert options.graph_optimization_level == getattr(onnxruntime.GraphOptimizationLevel, expected)


def test_a_missing_kernel_is_the_targets_no_and_a_broken_model_the_users() -> None:
    with pytest.raises(TargetError, match="has no operator mine::Foo"):
        open_session(model_of(TWICE.replace("Relu(x)", "mine.Foo(x)").replace('"": 17', '"": 17, "mine": 1')))
    with pytest.raises(ModelError, match="does not load"):
        open_session(b"nothing of the kind")


def test_external_data_is_found_beside_the_model(tmp_path: Path) -> None:
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    add (float[300] x) => (float[300] y) <float[300] w = {1}> { y = Add(x, w) }
    """
    model = onnx.parser.parse_model(text.replace("<float[300] w = {1}>", "<float[1] w = {1}>"))
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.full(300, 2, np.float32), "w"))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0, location="w.bin")
    feed = {"x": np.zeros(300, np.float32)}
    by_path = open_session(tmp_path / "m.onnx").run(None, feed)[0]
    by_bytes = open_session((tmp_path / "m.onnx").read_bytes(), folder=tmp_path).run(None, feed)[0]
    assert by_path[0] == by_bytes[0] == 2


def test_a_cuda_provider_keeps_its_values_on_its_device() -> None:
    assert device_of(Settings()) == ("cpu", 0)
    assert device_of(Settings(CUDA, (("device_id", "1"),))) == ("cuda", 1)


def test_a_provider_is_tried_before_any_work() -> None:
    require(Settings())
    with pytest.raises(UsageError, match="has no option 'a'") as caught:
        require(Settings(provider_options=(("a", "1"),)))
    assert "model" not in str(caught.value)
