"""``onnx-opt check``: what a target rejects, before anything is built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command import run
from engine_support import needs_builder, write
from onnx_opt.emit.tensorrt import modules

HEAD = '<ir_version: 8, opset_import: ["": 17]>'
FINE = f"{HEAD} g (float[n, 4] x) => (float[n, 4] y) {{ [act] y = Relu(x) }}"
REJECTED = f"""{HEAD} g (float[4] x) => (uint8[4] y, float[4] z) {{
  [act] z = Relu(x) [quantize] y, scale, zero = DynamicQuantizeLinear(x)
}}"""


@pytest.fixture
def without_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "BUILDERS", {"tensorrt": (), "rtx": ()})


@needs_builder
def test_the_parser_is_asked(tmp_path: Path) -> None:
    outcome = run("check", str(write(tmp_path / "m.onnx", REJECTED)))
    assert outcome.code == 3
    assert "node 'quantize' (DynamicQuantizeLinear): there is no operator" in outcome.out
    assert "1 rejected by the parser of " in outcome.out


@pytest.mark.usefixtures("without_builder")
def test_without_a_parser_our_table_is_asked(tmp_path: Path) -> None:
    outcome = run("check", "--json", str(write(tmp_path / "m.onnx", REJECTED)))
    found = json.loads(outcome.out)
    assert outcome.code == 3 and found["asked"] == "the table of the target tensorrt" and not found["accepted"]
    assert [each["node"] for each in found["rejections"]] == ["quantize"]


@pytest.mark.usefixtures("without_builder")
def test_types_by_table(tmp_path: Path) -> None:
    text = f"{HEAD} g (double[4] x) => (double[4] y) {{ [act] y = Relu(x) }}"
    outcome = run("check", str(write(tmp_path / "m.onnx", text)))
    assert outcome.code == 3 and outcome.out.count("no type of an engine's inputs and outputs") == 2


def test_a_model_that_is_taken(tmp_path: Path) -> None:
    outcome = run("check", str(write(tmp_path / "m.onnx", FINE)))
    assert outcome.code == 0 and "accepted by the " in outcome.out


def test_another_target_by_its_table(tmp_path: Path) -> None:
    text = FINE.replace('"": 17', '"": 27')
    outcome = run("check", "--target", "ort-cpu", str(write(tmp_path / "m.onnx", text)))
    assert outcome.code == 3 and "ort-cpu stops at opset 26, the model needs 27" in outcome.out


@pytest.mark.parametrize(("flags", "code"), [(("--target", "tensorrrt"), 2), (("--builder", "tensorrt"), 3)])
def test_what_cannot_be_asked(
    tmp_path: Path, flags: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules, "BUILDERS", {"tensorrt": ("no_such_module",), "rtx": ()})
    outcome = run("check", *flags, str(write(tmp_path / "m.onnx", FINE)))
    assert outcome.code == code and outcome.err.count("\n") == 1
