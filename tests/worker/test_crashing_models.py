"""Models that crash ONNX Runtime, or never end: an answer comes all the same."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest
from onnx import numpy_helper

import onnx_opt
from onnx_opt.cli import main
from onnx_opt.validate.run import CannotLoad, Rejected, Runtime, Session
from onnx_opt.validate.source import Source

HEADER = '<ir_version: 8, opset_import: ["": 17]>\n'
LEAST = np.iinfo(np.int32).min

# ONNX Runtime divides integers with the processor's instruction: the least one by -1 is SIGFPE.
DIVISION = HEADER + "g (int32[N] a, int32[N] b) => (int32[N] y) { c = Identity(a) y = Div(c, b) }"
FEED = {"a": np.array([LEAST], np.int32), "b": np.array([-1], np.int32)}

ENDLESS = (
    HEADER
    + """
g (float[N] x) => (float[N] y) {
  n = Constant<value_int = 1000000000000>()
  go = Constant<value = bool {1}>()
  y = Loop<body = b (int64 i, bool before, float[N] a) => (bool after, float[N] c) {
    after = Identity(before)
    c = Sin(a)
  }>(n, go, x)
}
"""
)


def _crashes(model: onnx.ModelProto) -> bool:
    with Session(Source.of(model.SerializeToString())) as session:
        try:
            session.run(FEED)
        except Rejected as error:
            return "crashed" in str(error)
    return False


@pytest.fixture(scope="module")
def division() -> onnx.ModelProto:
    model = onnx.parser.parse_model(DIVISION)
    if not _crashes(model):
        pytest.skip("this ONNX Runtime does not crash on the least integer divided by -1")
    return model


def test_a_crash_rejects_the_feed_and_the_next_one_runs(division):
    with Session(Source.of(division.SerializeToString())) as session:
        with pytest.raises(Rejected, match="crashed"):
            session.run(FEED)
        (result,) = session.run({"a": np.array([7], np.int32), "b": np.array([2], np.int32)})
    assert result.tolist() == [3]


def test_a_crash_on_the_users_data_is_one_line(division, tmp_path, capsys):
    onnx.save(division, tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", **FEED)
    code = main([str(tmp_path / "m.onnx"), "-o", str(tmp_path / "o.onnx"), "--data", str(tmp_path / "data.npz")])
    error = capsys.readouterr().err
    assert code == 2
    assert "the original model refuses sample 0: ONNX Runtime crashed" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "o.onnx").exists()


def test_a_crash_in_folding_leaves_the_node_alone(monkeypatch):
    """The guard that keeps integer division from ONNX Runtime is taken away: then the worker is what protects."""
    from onnx_opt.evaluate import kernels, onnxruntime_engine

    monkeypatch.setattr(onnxruntime_engine, "_TRAPPING_KINDS", frozenset())
    monkeypatch.setattr(kernels, "find", lambda *key: None)
    model = onnx.parser.parse_model(HEADER + "g (float[N] x) => (int32[1] y, float[1] z) { y = Div(a, b) z = Sin(c) }")
    arrays = {**FEED, "c": np.array([0.5], np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    result = onnx_opt.optimize(model, "fold", validate=False)
    assert "Div" in [node.op for node in result.model]
    assert "Sin" not in [node.op for node in result.model]
    assert any("crashed (SIGFPE)" in line for line in result.explain("y"))


def test_a_loop_without_end_is_stopped():
    model = onnx.parser.parse_model(ENDLESS)
    runtime = Runtime(threads=1, limit=0.3)
    with (
        Session(Source.of(model.SerializeToString()), runtime) as session,
        pytest.raises(Rejected),
    ):
        session.run({"x": np.zeros(1, np.float32)})


def test_a_model_that_crashes_when_it_is_loaded(division, monkeypatch):
    monkeypatch.setattr("onnx_opt.validate.run._ENGINE", "os:abort")
    monkeypatch.setattr("onnx_opt.worker.client.Worker.make", lambda self, name, *args: self.apply(name))
    with pytest.raises(CannotLoad, match="SIGABRT"):
        Session(Source.of(division.SerializeToString()))
