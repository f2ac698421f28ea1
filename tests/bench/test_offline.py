"""The bench of graphs that ONNX Runtime writes runs from end to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
from onnx import parser
from tools import ROOT

POOL = """
<ir_version: 8, opset_import: ["": 17]>
pool (float[1, 1, 4, 4] x) => (float[1, 1, 3, 3] y) <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}>
{ q = Pad(x, p) y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(q) }
"""


def test_what_is_written_is_measured_and_what_is_wrong_is_told(tmp_path: Path) -> None:
    onnx.save(parser.parse_model(POOL), tmp_path / "wrong.onnx")
    right = POOL.replace("1, 1, 0, 0, 1, 1}", "0, 0, 0, 0, 0, 0}").replace("3, 3] y", "2, 2] y")
    onnx.save(parser.parse_model(right), tmp_path / "right.onnx")
    flags = ("--level", "basic", "--seconds", "0.02", "--report", tmp_path / "table.md")
    command = [sys.executable, str(ROOT / "bench" / "offline.py"), str(tmp_path), *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    *_, one, two = (tmp_path / "table.md").read_text().splitlines()
    assert one.startswith("| right | basic | 2 | 1 | ") and one.endswith(" |  |")
    assert two.startswith("| wrong | basic |  |") and "is wrong" in two
