"""The two commands run from end to end on something small; nothing is installed and nothing timed is asserted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from generate import generate
from tools import ROOT, TOOLS, interpreter, prepare, skipped


def bench(script: str, report: Path, *arguments: str) -> Any:
    """What a script of bench/ reports as JSON."""
    flags = ["--json", str(report), "--tools-env", str(report.parent / "no-environment")]
    command = [sys.executable, str(ROOT / "bench" / script), *arguments, *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(report.read_text())


def test_compare(tmp_path: Path) -> None:
    generate("chain:12", tmp_path / "chain.onnx")
    flags = ["--tool", "onnx-opt", "--tool", "ort-basic", "--seconds", "0.01"]
    report = bench("compare.py", tmp_path / "report.json", str(tmp_path / "chain.onnx"), *flags)
    rows = {row["tool"]: row for row in report["rows"]}
    assert list(rows) == ["original", "onnx-opt", "ort-basic"]
    assert [(row["verdict"], row["reason"], row["nodes"]) for row in rows.values()] == [
        ("ok", "", 12),
        ("ok", "", 8),
        ("ok", "", 8),
    ]
    assert all(row["speed"] > 0 and row["bytes"] > 0 for row in rows.values())


def test_compare_reports_what_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    report = bench("compare.py", tmp_path / "report.json", str(tmp_path / "text.onnx"), "--tool", "onnx-opt")
    assert [row["verdict"] for row in report["rows"]] == ["not a model"]


SCENARIOS = ["growth", "layout", "help", "resnet50", "memory", "memory-proven", "external", "extremes"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scale(scenario: str, tmp_path: Path) -> None:
    report = bench("scale.py", tmp_path / "report.json", "--quick", scenario)
    assert report["figures"]
    assert [figure["trouble"] for figure in report["figures"] if figure["trouble"]] == []


def test_transposes(tmp_path: Path) -> None:
    generate("nhwc-resnet:1", tmp_path / "net.onnx")
    flags = ["--tool", "onnx-opt", "--tool", "ort-basic"]
    report = bench("transposes.py", tmp_path / "report.json", str(tmp_path / "net.onnx"), *flags)
    rows = {row["tool"]: row for row in report["rows"]}
    assert list(rows) == ["before", "onnx-opt", "ort-basic"]
    assert (rows["before"]["transposes"], rows["onnx-opt"]["transposes"]) == (6, 1)
    assert rows["onnx-opt"]["transposed_bytes"] == 4 * 32 * 32 * 3  # the image, its batch taken as 1


def test_a_tool_that_cannot_be_installed_is_named_with_the_reason(tmp_path: Path) -> None:
    (line,) = skipped(prepare(tmp_path / "env", [("/no/such/folder",)]))
    assert line.count("/no/such/folder") == 2


def test_nothing_is_created_when_nothing_is_missing(tmp_path: Path) -> None:
    assert prepare(tmp_path / "env", []) == {}
    assert not (tmp_path / "env").exists()


def test_templates_are_filled_in(tmp_path: Path) -> None:
    for tool in TOOLS.values():
        argv = tool.argv(tmp_path, Path("in.onnx"), Path("out.onnx"))
        assert {"in.onnx", "out.onnx"} <= set(argv)
        assert argv[0] in (sys.executable, str(interpreter(tmp_path)))
