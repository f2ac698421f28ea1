"""--timeout and --max-memory: an end in one line, without output."""

from __future__ import annotations

import subprocess
import sys

import onnx
import onnx.parser
import pytest

from .conftest import run

ENDLESS = """
<ir_version: 8, opset_import: ["": 17]>
g (float[N] x) => (float[N] y) {
  n = Constant<value_int = 1000000000000>()
  go = Constant<value = bool {1}>()
  y = Loop<body = b (int64 i, bool before, float[N] a) => (bool after, float[N] c) {
    after = Identity(before)
    c = Sin(a)
  }>(n, go, x)
}
"""


@pytest.fixture
def endless(tmp_path):
    onnx.save(onnx.parser.parse_model(ENDLESS), tmp_path / "endless.onnx")
    return tmp_path / "endless.onnx"


def test_a_run_of_the_model_is_interrupted(endless, tmp_path):
    run(endless, "-o", tmp_path / "o.onnx", "--timeout", "1.5").fails(1, "not done after 1.5 s", "--timeout")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["endless.onnx"]


def test_a_pass_that_does_not_end_is_interrupted(endless, tmp_path):
    """Although a pass that fails is left out: running out of time is no failure of a pass."""
    (tmp_path / "mine.py").write_text("def forever(graph):\n    while True:\n        pass\n")
    outcome = run(endless, "--passes", f"{tmp_path}/mine.py:forever", "--no-validate", "--timeout", "0.5")
    outcome.fails(1, "not done after 0.5 s")


def test_memory_is_bounded(tmp_path):
    """In a process of its own: this one may have more already."""
    pytest.importorskip("resource")
    onnx.save(onnx.parser.parse_model(ENDLESS), tmp_path / "m.onnx")
    (tmp_path / "mine.py").write_text("def hungry(graph):\n    graph.hoard = bytearray(4 << 30)\n")
    command = [sys.executable, "-m", "onnx_opt.cli", "m.onnx", "--passes", "mine.py:hungry", "--no-validate"]
    done = subprocess.run([*command, "--max-memory", "1GiB"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("more than 1GiB of memory is needed (allow more with --max-memory)")


@pytest.mark.parametrize("flags", [("--timeout", "0"), ("--timeout", "x"), ("--max-memory", "12Q"), ("--jobs", "-1")])
def test_wrong_limits(endless, flags):
    run(endless, *flags).fails(2, flags[0])
