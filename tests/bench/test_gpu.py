"""The bench for GPUs runs from end to end on the processor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
from onnx import parser
from tools import ROOT

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
network (float[batch, 4] x) => (float[batch, 4] y)
<float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, float[4] b = {1, 2, 3, 4}>
{ m = MatMul(x, w) a = Add(m, b) i = Identity(a) y = Tanh(i) }
"""


def gpu(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench" / "gpu.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_table_of_modes(tmp_path: Path) -> None:
    onnx.save(parser.parse_model(MODEL), tmp_path / "one.onnx")
    onnx.save(
        parser.parse_model(MODEL.replace("Tanh(i)", "mine.Foo(i)").replace("17]", '17, "mine": 1]')),
        tmp_path / "two.onnx",
    )
    flags = ("--provider", "cpu", "--seconds", 0.02, "--mode", "FP32", "--mode", "FP16", "--limit", 2)
    done = gpu(tmp_path, *flags, "--report", tmp_path / "gpu.md")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "gpu.md").read_text()
    assert "on CPUExecutionProvider, ONNX Runtime " in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    found = {(row[0], row[1]): dict(zip(rows[0], row, strict=True)) for row in rows[2:]}
    assert set(found) == {(model, mode) for model in ("one", "two") for mode in ("FP32", "FP16")}
    for mode, most in (("FP32", 1e-6), ("FP16", 1e-2)):
        row = found["one", mode]
        assert row["proof"] == "proven" and float(row["error"]) <= most and float(row["original ms"]) > 0, row
        assert "no operator mine::Foo" in found["two", mode]["note"]


def test_without_a_device_nothing_is_measured(tmp_path: Path) -> None:
    onnx.save(parser.parse_model(MODEL), tmp_path / "one.onnx")
    done = gpu(tmp_path, "--provider", "NoSuchProvider", "--report", tmp_path / "gpu.md")
    assert done.returncode == 0 and done.stdout.startswith("skipped: unknown provider")
    assert not (tmp_path / "gpu.md").exists()
