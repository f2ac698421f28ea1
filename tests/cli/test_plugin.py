"""A pass of a third party's installed package: listed, a flag, in pipeline text, in the library."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

import onnx_opt

from .conftest import PLUGIN, run

pytestmark = pytest.mark.usefixtures("plugin")


def test_it_is_listed() -> None:
    assert "cancel-signs: Remove pairs of Neg." in run("--list-passes").out
    listed = json.loads(run("passes", "--json").out)["passes"]
    assert "cancel-signs" in [each["name"] for each in listed]


def test_its_flags_are_in_the_help() -> None:
    text = run("--help").out
    assert "--[no-]cancel-signs" in text
    assert "--[no-]cancel-signs-with-abs" in text


@pytest.mark.parametrize("flags", ["-O0 --cancel-signs", "-O2 --cancel-signs", "--passes cancel-signs"])
def test_it_runs_by_flag_and_by_text(model: Path, tmp_path: Path, flags: str) -> None:
    outcome = run(model, "-o", tmp_path / "out.onnx", *flags.split())
    assert outcome.code == 0, outcome
    assert [node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node] == ["Relu"]


def test_its_options(model: Path) -> None:
    pipeline = str(onnx_opt.Pipeline.parse("cancel-signs{with-abs=false}"))
    outcome = run(model, "-O0", "--cancel-signs", "--no-cancel-signs-with-abs", "--json")
    assert json.loads(outcome.out)["pipeline"] == pipeline


def test_it_runs_from_the_library(model: Path) -> None:
    from onnx_opt_example import CancelSigns

    result = onnx_opt.optimize(model, [CancelSigns(with_abs=False)])
    assert result.report.status == "proven"
    assert [node.op for node in result.model] == ["Relu"]


def test_its_rules_run_from_their_file(model: Path) -> None:
    rules = PLUGIN / "onnx_opt_example" / "rules.py"
    result = onnx_opt.optimize(model, f"{rules}:double_negation")
    assert [node.op for node in result.model] == ["Relu"]
    assert onnx_opt.optimize(model, str(rules)).report.rewrites.total() == 1
