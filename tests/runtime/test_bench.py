"""Measuring one model, and two in turns."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser

from onnx_opt.errors import TargetError, UsageError
from onnx_opt.runtime import bench as bench_module
from onnx_opt.runtime.bench import Effort, bench
from onnx_opt.runtime.settings import Settings
from onnx_opt.validate.run import Runtime
from onnx_opt.validate.source import Source

QUICK = Effort(iterations=13, warm_up=0)
PLAIN = Runtime(1, settings=Settings())
DOUBLE = """
<ir_version: 8, opset_import: ["": 17]>
double (float[n, 4] x) => (float[n, 4] y) { y = Add(x, x) }
"""
HALF = DOUBLE.replace("float", "float16")
OTHER = DOUBLE.replace("(x, x)", "(z, z)").replace(" x)", " z)")
WORDS = """
<ir_version: 8, opset_import: ["": 17]>
words (string[n] x) => (string[n] y) { y = Identity(x) }
"""


def source(text: str) -> Source:
    return Source(data=parser.parse_model(text).SerializeToString())


def test_each_model_runs_as_often_as_was_asked() -> None:
    found = bench([source(DOUBLE), source(DOUBLE)], PLAIN, QUICK, dims={"n": 3})
    assert [model.latency.runs for model in found.models] == [13, 13]
    assert found.ratio is not None and found.ratio.rounds >= 6 and found.ratio.low is not None
    assert found.sample.feed["x"].shape == (3, 4) and not found.sample.sizes


def test_a_time_is_kept_to_and_there_are_rounds_enough_for_an_interval() -> None:
    found = bench([source(DOUBLE), source(DOUBLE)], PLAIN, Effort(seconds=0.01, warm_up=0))
    assert found.ratio is not None and found.ratio.rounds >= 6
    assert found.to_dict()["speedup"]["confidence"] == 0.95


def test_one_model_has_no_ratio() -> None:
    found = bench([source(DOUBLE)], PLAIN, Effort(iterations=1, warm_up=0))
    assert found.ratio is None and found.models[0].latency.runs == 1


def test_the_second_model_takes_the_inputs_of_the_first_in_its_own_precision() -> None:
    found = bench([source(DOUBLE), source(HALF)], PLAIN, QUICK)
    one, two = (feed["x"] for feed in found.feeds)
    assert two.dtype == np.float16
    np.testing.assert_array_equal(two, one.astype(np.float16))
    assert not found.models[1].notes


def test_a_model_with_other_inputs_gets_its_own_and_that_is_said() -> None:
    found = bench([source(DOUBLE), source(OTHER)], PLAIN, QUICK)
    assert list(found.feeds[1]) == ["z"] and "random ones of its own" in found.models[1].notes[0]


def test_copies_that_are_timed_are_said() -> None:
    found = bench([source(WORDS)], PLAIN, QUICK)
    assert "copied in each run: strings cannot be bound" in found.models[0].notes[0]


def test_the_users_sample_is_what_runs() -> None:
    x = np.full((2, 4), 7, np.float32)
    found = bench([source(DOUBLE)], PLAIN, QUICK, data=[{"x": x}, {"x": x + 1}])
    np.testing.assert_array_equal(found.feeds[0]["x"], x)


def test_outputs_may_stay_in_one_place() -> None:
    assert bench([source(DOUBLE)], PLAIN, QUICK, fixed=True).models[0].latency.runs == 13


def test_an_operator_that_is_missing_names_the_model() -> None:
    lacking = source(DOUBLE.replace("Add(x, x)", "mine.Foo(x)").replace('"": 17', '"": 17, "mine": 1'))
    with pytest.raises(TargetError, match="no operator mine::Foo"):
        bench([lacking], PLAIN, QUICK)
    with pytest.raises(TargetError, match="no operator mine::Foo"):
        bench([source(DOUBLE), lacking], PLAIN, QUICK)


def test_a_sample_that_the_model_refuses() -> None:
    with pytest.raises(UsageError):
        bench([source(DOUBLE)], PLAIN, QUICK, data=[{"x": np.ones((2, 5), np.float32)}])


def test_one_thread_is_compared_by_processor_time() -> None:
    assert bench([source(DOUBLE), source(DOUBLE)], PLAIN, QUICK).clock == "processor time"
    assert bench([source(DOUBLE), source(DOUBLE)], Runtime(2, settings=Settings()), QUICK).clock == "wall time"


def test_two_models_are_loaded_a_few_times_in_changing_order(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []

    class Watched(bench_module._Subject):
        def open(self, warm_up: float) -> None:
            opened.append(len(self.feed))
            super().open(warm_up)

    monkeypatch.setattr(bench_module, "_Subject", Watched)
    monkeypatch.setattr(bench_module, "LOADING", 100.0)
    two_inputs = DOUBLE.replace(" x) =>", " x, float[1] unused) =>")
    bench([source(DOUBLE), source(two_inputs)], PLAIN, Effort(seconds=0.1, warm_up=0))
    assert opened == [1, 2, 2, 1] * 2
    opened.clear()
    bench([source(DOUBLE)], PLAIN, Effort(seconds=0.1, warm_up=0))
    assert opened == [1]
