"""What the shells are told to complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import run


def completions(*words: str) -> list[str]:
    """What bash is offered for the last word."""
    line = " ".join(("onnx-opt", *words))
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words)), "_ONNX_OPT_COMPLETE": "bash_complete"}
    found = subprocess.run(
        [sys.executable, "-m", "onnx_opt"], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    return [line.partition(",")[2] for line in found.stdout.splitlines()]


def test_the_first_word_is_a_command_or_a_model() -> None:
    assert {"inspect", "diff", "view"} <= set(completions(""))
    assert completions("insp") == ["inspect", "insp"], "the second stands for files of that name"


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (("model.onnx", "--pad"), {"--pad-channels", "--pad-channels-inputs"}),
        (("--fuse",), {"--fuse-conv-bn-relu"}),
        (("model.onnx", "--target", "t"), {"tensorrt"}),
        (("inspect", "model.onnx", "--p"), {"--plot"}),
        (("completion", ""), {"bash", "zsh", "fish"}),
    ],
)
def test_flags_and_values_are_completed(words: tuple[str, ...], some: set[str]) -> None:
    assert some <= set(completions(*words))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_reads(shell: str, tmp_path: Path) -> None:
    script = run("completion", shell).out
    assert "_ONNX_OPT_COMPLETE" in script and "onnx-opt" in script
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its script was printed and not read")
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", str(tmp_path / "script")], check=True)


def test_other_shells_are_refused() -> None:
    run("completion", "tcsh").fails(2, "tcsh")
