"""Lines that were answered from the cache before: answered at once, as long as nothing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command import Outcome, run
from onnx_opt.builds import recall

from .conftest import CONVOLUTION, write


@pytest.fixture
def line(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line that was run; it wrote out.onnx and out.d."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "taking_part.py").write_text("")
    monkeypatch.setattr("onnx_opt.builds.tools.source_folders", lambda: [str(package)])
    words = [str(model), "-o", str(tmp_path / "out.onnx"), "--cache", "--json", "--depfile", str(tmp_path / "out.d")]
    monkeypatch.setattr(recall, "asked", [words])
    assert run(*words).code == 0
    return words


def test_the_answer_is_that_of_the_cache(line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: (tmp_path / name).read_bytes() for name in ("out.onnx", "out.d")}
    for name in files:
        (tmp_path / name).unlink()
    assert recall.recall(line)
    answer = Outcome(0, *capsys.readouterr())
    assert {name: (tmp_path / name).read_bytes() for name in files} == files
    assert answer == run(*line)
    assert json.loads(answer.out)["cached"]


def test_the_same_line_with_another_output(line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = [word.replace("out.onnx", "another.onnx") for word in line]
    assert recall.recall(other)
    answer = Outcome(0, *capsys.readouterr())
    depfile = (tmp_path / "out.d").read_text()
    assert depfile.startswith(str(tmp_path / "another.onnx:"))
    assert (tmp_path / "another.onnx").read_bytes() == (tmp_path / "out.onnx").read_bytes()
    assert answer == run(*other)
    assert (tmp_path / "out.d").read_text() == depfile
    assert not recall.recall([word.replace("out.onnx", 'quo"ted.onnx') for word in line])
    assert not recall.recall([word.replace("out.onnx", "no folder/out.onnx") for word in line])


CHANGES = {
    "model": lambda folder: write(folder / "model.onnx", CONVOLUTION.replace("-2.0", "-3.0")),
    "package": lambda folder: (folder / "package" / "taking_part.py").write_text("#"),
    "new module": lambda folder: (folder / "package" / "new.py").write_text(""),
    "cache": lambda folder: run("cache", "clear"),
    "entry": lambda folder: [path.write_bytes(b"") for path in folder.glob("the cache/v1/*/*/out.onnx")],
    "record": lambda folder: [path.write_bytes(b"{") for path in folder.glob("the cache/answers/*")],
    "variable": lambda folder: os.environ.update(ONNX_OPT_CACHE_SIZE="1GiB"),
    "folder": lambda folder: os.chdir(folder),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_answer_once_anything_changed(
    change: str, line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONNX_OPT_CACHE_SIZE", "2GiB") if change == "variable" else None
    monkeypatch.chdir(Path.cwd())
    assert recall.recall(line) == (change != "variable")
    CHANGES[change](tmp_path)
    assert not recall.recall(line)


def test_nothing_is_remembered_that_more_files_decide(
    external: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    (tmp_path / "recall_rules.py").write_text("def nothing(graph):\n    pass\n")
    model = write(tmp_path / "m.onnx", CONVOLUTION)
    lines = [
        [str(model), "--cache", "-q", "--passes", f"{tmp_path / 'recall_rules.py'}:nothing"],
        [str(external), "--cache", "-q", "-o", str(tmp_path / "o.onnx")],
    ]
    for words in lines:
        monkeypatch.setattr(recall, "asked", [words])
        assert run(*words).code == 0
        assert not recall.recall(words)
    assert not (cache / "answers").exists()


def test_a_process_that_recalls_reads_no_more_than_it_needs(model: Path, tmp_path: Path) -> None:
    words = [str(model), "-o", str(tmp_path / "out.onnx"), "--cache", "--json", "--no-validate"]

    def call() -> tuple[str, str]:
        line = [sys.executable, "-X", "importtime", "-m", "onnx_opt", *words]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    first, imported = call()
    assert " click" in imported
    second, imported = call()
    assert not any(f" {name}\n" in imported for name in ("click", "rich", "numpy", "importlib.metadata"))
    one, other = json.loads(first), json.loads(second)
    assert (one.pop("cached"), other.pop("cached")) == (False, True)
    assert one == other
