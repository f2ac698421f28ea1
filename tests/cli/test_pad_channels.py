"""Padding from the command line: flags, table, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from .conftest import run, write

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
g (float[N,4,8,8] x) => (float[N,4,8,8] y)
<float[3,4,1,1] v = {1,2,3,4,5,6,7,8,9,10,11,12}, float[4,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12}>
{ [first] a = Conv(x, v)  b = Relu(a)  [second] y = Conv(b, w) }
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "model.onnx", MODEL)


def weights(path: Path) -> list[list[int]]:
    return [list(tensor.dims) for tensor in onnx.load(path).graph.initializer]


def test_the_flag_pads_and_the_table_tells(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    done = run(model, "-o", out, "--pad-channels", "4")
    assert done.code == 0
    assert weights(out) == [[4, 4, 1, 1], [4, 4, 1, 1]]
    for part in ("pad-channels{multiple=4}", "first (Conv)", "4 -> 3", "4 -> 4", "proven"):
        assert part in done.out, done.out


def test_no_preset_pads(model: Path, tmp_path: Path) -> None:
    for level in ("-O1", "-O2", "-O3"):
        assert run(model, "-o", tmp_path / "out.onnx", level).code == 0
        assert [3, 4, 1, 1] in weights(tmp_path / "out.onnx")


def test_without_a_number_the_target_says(model: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert run(model, "-o", tmp_path / "out.onnx", "--pad-channels", "--report-json", report).code == 0
    table = json.loads(report.read_text())["tables"]["pad-channels"]
    assert [row[-1] for row in table["rows"]] == ["dtype: portable has no matrix kernels for float32"] * 2


def test_why_a_layer_was_left(model: Path) -> None:
    text = run(model, "--explain", "second", "--pad-channels", "--target", "tensorrt").out
    assert "does not pay" in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--pad-channels", "0"], "multiple must be at least 1"),
        (["--pad-channels", "many"], "a whole number is needed"),
        (["--pad-channels", "8", "--profile-file", "no-such.json"], "no-such.json: cannot be read"),
        (["--profile-file", "no-such.json"], "has no effect"),
    ],
)
def test_bad_usage(model: Path, tmp_path: Path, flags: list[str], message: str) -> None:
    done = run(model, "-o", tmp_path / "out.onnx", *flags)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "out.onnx").exists()
