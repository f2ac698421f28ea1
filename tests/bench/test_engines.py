"""The table of engines, on one small model that is rejected as it is and built after our passes."""

import subprocess
import sys
from pathlib import Path

from tools import ROOT

from engine_support import needs_builder, write

QUANTIZED = """<ir_version: 8, opset_import: ["": 17]> g (float[n, 3] x) => (float[n, 3] y) <float s = {0.5}, uint8 z = {3}> {
  [quantize] q = QuantizeLinear(x, s, z)
  [dequantize] y = DequantizeLinear(q, s, z)
}"""


@needs_builder
def test_engines(tmp_path: Path) -> None:
    model, report = write(tmp_path / "quantized.onnx", QUANTIZED), tmp_path / "engines.md"
    command = [
        sys.executable,
        str(ROOT / "bench" / "engines.py"),
        str(model),
        "--precision",
        "fp32",
        "--report",
        str(report),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in report.read_text().splitlines()
        if line.startswith("|")
    ]
    assert ["as it is", "1", "0", "0"] in rows and ["fp32", "1", "1", "1"] in rows
    cells = next(row for row in rows if row[:2] == ["quantized", "as it is"])
    assert "1x QuantizeLinear 'quantize': " in cells[-1]
