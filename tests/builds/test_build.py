"""``onnx-opt build``: outputs that are brought up to date, and left alone where they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from command import run

from .conftest import CONVOLUTION, write, write_external
from .test_depfile import dependencies

FILE = """
[defaults]
level = 1
no-validate = true
[models.conv]
model = "model.onnx"
output = "out/conv.onnx"
[models.matmul]
model = "external.onnx"
output = "out/matmul.onnx"
"""


@pytest.fixture
def project(model: Path, external: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models, one of them with external data, and the file that lists them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "onnx-opt.toml").write_text(FILE)
    return tmp_path


def made(*arguments: str, code: int = 0) -> dict[str, str]:
    """What became of each output: 'made', 'cached', 'up to date' or 'failed'."""
    outcome = run("build", "--json", *arguments)
    assert outcome.code == code, outcome.err
    found = json.loads(outcome.out)["outputs"]
    return {
        one["name"]: ("cached" if one["report"]["cached"] else "made") if "report" in one else one["status"]
        for one in found
    }


IDLE = {"conv": "up to date", "matmul": "up to date"}


def test_what_changed_is_made_again_and_nothing_else(project: Path) -> None:
    assert made() == {"conv": "made", "matmul": "made"}
    assert made() == IDLE
    outcome = run("build")
    assert outcome.out == "nothing to do: 2 outputs up to date\n"
    for path in project.glob("*.*"):
        os.utime(path)
    assert made() == IDLE, "what was only touched is the same"
    write_external(project / "external.onnx", "weights.bin", 3.0)
    assert made() == {**IDLE, "matmul": "made"}
    write(project / "model.onnx", CONVOLUTION.replace("-2.0", "-3.0"))
    assert made("matmul") == {"matmul": "up to date"}
    assert made("conv") == {"conv": "made"}
    assert made("conv", "-O0") == {"conv": "made"}, "a flag of the command line holds above the file"
    assert made() == {**IDLE, "conv": "cached"}


def test_an_output_that_is_gone_or_changed_comes_back(project: Path) -> None:
    made()
    output, data = project / "out" / "conv.onnx", project / "out" / "matmul.onnx.data"
    good, good_data = output.read_bytes(), data.read_bytes()
    output.unlink()
    data.write_bytes(bytes(len(good_data)))
    assert made() == {"conv": "cached", "matmul": "cached"}
    assert (output.read_bytes(), data.read_bytes()) == (good, good_data)
    assert made("--force", "--no-cache") == {"conv": "made", "matmul": "made"}


def test_a_change_in_the_users_own_pass(project: Path) -> None:
    (project / "build_rules.py").write_text("import build_helper\ndef nothing(graph):\n    pass\n")
    (project / "build_helper.py").write_text("")
    (project / "onnx-opt.toml").write_text(
        '[models.conv]\nmodel = "model.onnx"\nno-validate = true\npasses = "fold,build_rules.py:nothing"\n'
    )
    assert made() == {"conv": "made"}
    (project / "build_helper.py").write_text("# changed")
    assert made() == {"conv": "made"}
    assert made() == {"conv": "up to date"}


def test_a_report_that_is_gone_is_written_again(project: Path) -> None:
    (project / "onnx-opt.toml").write_text(
        '[models.conv]\nmodel = "model.onnx"\nno-validate = true\nreport-json = "reports/{name}.json"\n'
    )
    made()
    (project / "reports" / "conv.json").unlink()
    assert made() == {"conv": "cached"}
    assert (project / "reports" / "conv.json").exists()


def test_one_failure_does_not_stop_the_others(project: Path) -> None:
    (project / "weights.bin").unlink()
    outcome = run("build")
    assert outcome.code == 2
    assert "onnx-opt: error: matmul: external.onnx: external data file 'weights.bin' is missing" in outcome.err
    assert "2 outputs in" in outcome.out
    assert "1 made, 1 failed" in outcome.out
    assert made(code=2) == {"conv": "up to date", "matmul": "failed"}


def test_check_writes_nothing(project: Path) -> None:
    before = sorted(project.rglob("*"))
    outcome = run("build", "--check")
    assert outcome.code == 1
    assert "conv: out/conv.onnx: out of date: out/conv.onnx is missing" in outcome.err
    assert sorted(project.rglob("*")) == before
    made()
    assert run("build", "--check").code == 0
    write_external(project / "external.onnx", "weights.bin", 3.0)
    outcome = run("build", "--check")
    assert outcome.code == 1
    assert "matmul: out/matmul.onnx: out of date: its inputs changed" in outcome.err
    assert "conv" not in outcome.err


def test_check_of_outputs_that_were_made_elsewhere(project: Path) -> None:
    """As in a fresh checkout with the outputs in it: what counts is whether a run would make them."""
    made()
    for stamp in (project / ".onnx-opt").glob("*.json"):
        stamp.unlink()
    assert run("build", "--check", "--no-cache").code == 0


def test_the_list_says_why(project: Path) -> None:
    assert run("build", "--list").out.splitlines() == [
        "conv: out/conv.onnx (out/conv.onnx is missing)",
        "matmul: out/matmul.onnx (out/matmul.onnx is missing)",
    ]
    listed, checked = (run("build", flag, "--json").out for flag in ("--list", "--check"))
    assert listed == checked
    assert json.loads(listed)["outputs"][0] == {
        "name": "conv", "model": "model.onnx", "output": "out/conv.onnx", "reason": "out/conv.onnx is missing",
    }  # fmt: skip


def test_a_depfile_of_all_outputs_seen_from_where_it_was_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "binary").mkdir()
    monkeypatch.chdir(project / "binary")
    assert run("build", "--depfile", "all.d").code == 0
    target, found = dependencies(project / "binary" / "all.d")
    assert (target, found) == ("../out/conv.onnx", ["../model.onnx", "../onnx-opt.toml"])
    assert (
        "../out/matmul.onnx: \\\n  ../external.onnx \\\n  ../weights.bin" in (project / "binary" / "all.d").read_text()
    )


def test_the_state_is_no_matter_of_version_control(project: Path) -> None:
    made()
    assert (project / ".onnx-opt" / ".gitignore").read_text() == "*\n"
