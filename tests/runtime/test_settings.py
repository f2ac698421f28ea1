"""What users write about providers and sessions, and what is said where it means nothing."""

from __future__ import annotations

import onnxruntime
import pytest

from onnx_opt.errors import OnnxOptError, TargetError, UsageError
from onnx_opt.runtime.settings import (
    CPU,
    LEVELS,
    TENSORRT,
    Settings,
    doubts,
    find_provider,
    read_session_option,
    read_settings,
)


def test_a_provider_is_found_by_its_short_name_in_any_case() -> None:
    assert find_provider("cpu") == find_provider("CPU") == find_provider("CPUExecutionProvider") == CPU


def test_a_misspelt_provider_is_named_with_the_nearest_and_with_those_that_are_here() -> None:
    with pytest.raises(UsageError, match=r"unknown provider 'cudaa' \(did you mean 'cuda'\? available here: .*cpu"):
        find_provider("cudaa")


def test_a_provider_of_another_build_is_rejected_with_those_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    with pytest.raises(TargetError, match=r"no CUDAExecutionProvider \(available here: cpu\)") as caught:
        find_provider("cuda")
    assert caught.value.exit_code == 3


def test_pairs_become_options() -> None:
    found = read_settings("cpu", [], ["intra_op_num_threads=2", "session.intra_op.allow_spinning=0"], "basic")
    assert found.session_options == (("intra_op_num_threads", "2"), ("session.intra_op.allow_spinning", "0"))
    assert found.level == "basic" and found.level in LEVELS


def test_a_value_may_hold_an_equals_sign() -> None:
    assert read_settings(None, ["key=a=b"]).provider_options == (("key", "a=b"),)


def test_tensorrt_leaves_the_rest_to_cuda() -> None:
    settings = Settings(TENSORRT, (("device_id", "1"),))
    assert settings.providers == [(TENSORRT, {"device_id": "1"}), ("CUDAExecutionProvider", {})]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("intra_op_num_threads", "3", 3),
        ("enable_mem_pattern", "0", False),
        ("enable_mem_pattern", "True", True),
        ("execution_mode", "parallel", onnxruntime.ExecutionMode.ORT_PARALLEL),
        ("session.disable_prepacking", "1", "1"),
    ],
)
def test_session_options_are_read_by_their_type(key: str, text: str, value: object) -> None:
    assert read_session_option(key, text) == value


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["intra_op_num_threads"], "not an option and its value"),
        (["=2"], "not an option and its value"),
        (["intra_op_num_threads=two"], "'two' is not a whole number"),
        (["enable_mem_pattern=yes"], "'yes' is not 0 or 1"),
        (["execution_mode=fast"], "not sequential or parallel"),
        (["intra_op_num_thread=2"], "did you mean 'intra_op_num_threads'?"),
        (["sesion.disable_prepacking=1"], "configuration entries begin with session"),
        (["graph_optimization_level=99"], "use --ort-level"),
        (["intra_op_num_threads=2", "intra_op_num_threads=3"], "given twice"),
    ],
)
def test_a_session_option_that_means_nothing_is_one_line(options: list[str], said: str) -> None:
    with pytest.raises(OnnxOptError) as caught:
        read_settings("cpu", [], options)
    assert caught.value.exit_code == 2
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_entry_that_onnxruntime_would_ignore_is_doubted() -> None:
    settings = read_settings(
        "cpu", [], ["session.intra_op.alow_spinning=0", "session.disable_prepacking=1", "ep.x.y=1"]
    )
    (doubt,) = doubts(settings)
    assert "'session.intra_op.alow_spinning'" in doubt and "did you mean 'session.intra_op.allow_spinning'?" in doubt
