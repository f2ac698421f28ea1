"""What an output depends on, told to build systems; outputs that are held against what would be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from command import run, start
from onnx_opt.builds.depfile import rules
from onnx_opt.errors import UsageError

from .conftest import CONVOLUTION, write, write_external


def dependencies(depfile: Path) -> tuple[str, list[str]]:
    """The target of the first rule, and what it depends on."""
    first = depfile.read_text().replace("\\\n", " ").splitlines()[0]
    target, _, names = first.partition(":")
    return target, names.split()


def test_all_files_that_a_result_depends_on(external: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dep_rules.py").write_text("import dep_helper\ndef nothing(graph):\n    pass\n")
    (tmp_path / "dep_helper.py").write_text("from dep_package.inner import *\n")
    (tmp_path / "dep_package").mkdir()
    (tmp_path / "dep_package" / "__init__.py").write_text("")
    (tmp_path / "dep_package" / "inner.py").write_text("import numpy\n")
    (tmp_path / "feeds.py").write_text("import numpy as np\ndef feeds():\n    yield {'x': np.ones((32, 32), 'f')}\n")
    flags = ("--passes", "fold,dep_rules.py:nothing", "--data", "feeds.py:feeds")
    outcome = run("external.onnx", "-o", "out.onnx", "--depfile", "out.d", *flags)
    assert outcome.code == 0, outcome.err
    target, found = dependencies(tmp_path / "out.d")
    assert target == "out.onnx"
    assert found[0] == "external.onnx"
    assert sorted(found) == [
        "dep_helper.py", "dep_package/__init__.py", "dep_package/inner.py", "dep_rules.py", "external.onnx",
        "feeds.py", "weights.bin",
    ]  # fmt: skip
    assert "weights.bin:\n" in (tmp_path / "out.d").read_text(), "a file that is gone fails no build"


def test_a_hit_writes_the_same_dependencies(external: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(external, "-o", tmp_path / "out.onnx", "--cache", "--depfile", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_dependencies_of_an_output_that_was_not_made(model: Path, tmp_path: Path) -> None:
    model.write_bytes(b"\x07" + model.read_bytes())
    assert run(model, "-o", tmp_path / "out.onnx", "--depfile", tmp_path / "out.d").code == 2
    assert not (tmp_path / "out.d").exists()
    run(model, "--explain", "conv", "--depfile", tmp_path / "out.d").fails(2, "needs an output")


ODD = ["a b.onnx", "a#b.onnx", "a$b.onnx", r"a\b.onnx", r"a\ b.onnx", "a%b.onnx", "ä.onnx"]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("name", ODD)
def test_make_reads_odd_names(name: str, tmp_path: Path) -> None:
    (tmp_path / "out.d").write_text(rules({Path("out"): [Path(name)]}))
    (tmp_path / "Makefile").write_text("out:\n\techo made > out\ninclude out.d\n")
    (tmp_path / name).write_text("")

    def make() -> str:
        return subprocess.run(["make"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert "made" in make()
    os.utime(tmp_path / name, (1, 1))
    assert "made" not in make()
    os.utime(tmp_path / name)
    os.utime(tmp_path / "out", (1, 1))
    assert "made" in make()
    if "%" not in name:
        (tmp_path / name).unlink()
        make()


def test_a_name_that_no_depfile_can_hold() -> None:
    with pytest.raises(UsageError, match="line breaks"):
        rules({Path("out"): [Path("a\nb")]})


@pytest.mark.parametrize("flags", [[], ["--cache"]], ids=["", "cache"])
def test_check_writes_nothing_and_tells_whether_the_output_is_right(
    flags: list[str], model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.onnx"
    before = sorted(os.listdir(tmp_path))
    outcome = run(model, "-o", output, "--check", *flags)
    assert outcome.code == 1
    assert "out.onnx: it is missing" in outcome.err
    assert sorted(os.listdir(tmp_path)) == before
    run(model, "-o", output, *flags)
    made, age = output.read_bytes(), output.stat().st_mtime_ns
    assert run(model, "-o", output, "--check", *flags).code == 0
    os.utime(model)
    assert run(model, "-o", output, "--check", *flags).code == 0, "content decides, not time"
    assert run(model, "-o", output, "--check", "-O1", *flags).code == 1
    write(model, CONVOLUTION.replace("-2.0", "-3.0"))
    outcome = run(model, "-o", output, "--check", *flags)
    assert (outcome.code, outcome.out) == (1, "")
    assert "out of date" in outcome.err
    assert (output.read_bytes(), output.stat().st_mtime_ns) == (made, age)


@pytest.mark.parametrize("folder", [".", "out"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_check_of_external_data(folder: str, level: str, external: Path, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    flags = (external, "-o", tmp_path / folder / "out.onnx", level)
    run(*flags)
    assert run(*flags, "--check").code == 0
    write_external(external, "weights.bin", 3.0)
    if (level, folder) == ("-O0", "."):  # it refers to the same file
        assert run(*flags, "--check").code == 0
    else:
        assert run(*flags, "--check").code == 1


def test_quiet_where_a_build_system_reads(model: Path, tmp_path: Path) -> None:
    outcome = run(model, "-o", tmp_path / "out.onnx", "--depfile", tmp_path / "out.d")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_colours_on_a_terminal_only_and_not_where_they_are_unwanted(model: Path, tmp_path: Path) -> None:
    import pty

    def shown(**environment: str) -> str:
        ours, theirs = pty.openpty()
        process = start(
            model, "-o", tmp_path / "out.onnx", stdout=theirs, stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )  # fmt: skip
        os.close(theirs)
        read = b""
        try:
            while chunk := os.read(ours, 65536):
                read += chunk
        except OSError:  # the other side is closed
            pass
        assert process.wait() == 0
        return read.decode().split("pipeline:")[1]

    assert "\x1b[1m" in shown()
    table = shown(NO_COLOR="1").split("nodes")[1]
    assert "\x1b[3" not in table
    assert "\x1b" not in run(model, "-o", tmp_path / "out.onnx").out
