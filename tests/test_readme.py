"""Every command and every program in README.md runs."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnx_opt
from onnx_text import parse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MODEL = ROOT / "tests" / "models" / "silero_vad.onnx"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands(section: str) -> list[str]:
    """The shell lines of a section, without their comments."""
    text = README.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    return [re.sub(r"\s+#.*", "", line) for line in lines]


def run(command: str, folder: Path) -> str:
    """Run a shell line with this interpreter's onnx-opt and return what it prints."""
    line = re.sub(r"^onnx-opt\b", f'"{sys.executable}" -m onnx_opt', command).replace(
        "python3 -m", f'"{sys.executable}" -m'
    )
    done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def test_the_main_command_does_what_the_readme_shows():
    install, _, main = commands("Two commands")[0].partition(" && ")
    assert install == "python3 -m pip install '.[gpu]'"
    shown = run(main, ROOT)
    (ROOT / "silero_vad.opt.onnx").unlink()
    table = README.split("## What it does to that model")[1].split("```")[1]
    for line in table.splitlines():
        assert " ".join(line.split()) in " ".join(shown.split()) or "..." in line, line


def test_the_test_command_is_marked_for_ci():
    marked = README.split("<!-- test command -->\n```sh\n")[1].split("\n```")[0]
    assert marked == commands("Two commands")[1]
    assert marked.endswith("python3 -m pytest -n auto -q")


MY_RULES = blocks("python")[1]


@pytest.mark.parametrize("command", commands("The command"))
def test_every_line_of_the_command(command, tmp_path):
    foo = "a = devtech.FooOp (x)" if "FooOp" in command else "a = Relu (x)"
    model = parse(f"""<ir_version: 8, opset_import: ["" : 17, "devtech" : 1]>
        m (float[batch,2] x) => (float[batch,2] y) <float[batch,2] a, float[2,2] w = {{1, 2, 3, 4}}> {{
            {foo}
            [node_conv_3] y = MatMul (a, w)
        }}""")
    onnx.save(model, tmp_path / "model.onnx")
    shutil.copy(tmp_path / "model.onnx", tmp_path / "model.opt.onnx")
    (tmp_path / "my_rules.py").write_text(MY_RULES)
    if command.endswith(".engine"):
        pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    assert run(command, tmp_path)


@pytest.mark.parametrize("command", commands("What it ships to"))
def test_every_line_of_what_it_ships_to(command, tmp_path):
    shape = "1,3,64,96" if "tile" in command else "batch,3,height,width"
    model = parse(f"""<ir_version: 8, opset_import: ["" : 17]>
        m (float[{shape}] image) => (float[n,4,h,w] y) {{
            y = Conv <pads = [1, 1, 1, 1]> (image, w)
        }}""")
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "photo.onnx")
    np.save(tmp_path / "wide.npy", np.zeros((1, 3, 64, 96), np.float32))
    if ".engine" in command:
        pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    assert run(command, tmp_path) or (tmp_path / "out.npy").exists()


def test_the_library_in_ten_lines(capsys, monkeypatch, tmp_path):
    program = blocks("python")[0]
    assert len(program.split("\n\n")[1].splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    exec(program, {})
    assert capsys.readouterr().out.startswith("proven 610 255")
    assert (tmp_path / "silero_vad.opt.onnx").exists()


def test_the_rule(tmp_path):
    file = tmp_path / "my_rules.py"
    file.write_text(MY_RULES)
    model = parse("""m (float[n,2] x) => (float[n,2] y) <float[2,2] w = {1, 2, 3, 4}, float[2] b = {1, 2}> {
        a = MatMul (x, w)
        y = Add (b, a)
    }""")
    result = onnx_opt.optimize(model, f"fold,{file},cleanup")
    assert [node.op for node in result.model] == ["Gemm"]
    assert result.report.status == "proven"


def test_the_pass_of_a_package():
    scope: dict = {}
    exec(blocks("python")[2], scope)
    mine = scope["MyPass"]
    assert [option.flag for option in mine.declared_options()] == ["--my-pass-limit"]
    assert mine.summary() == "One line: it is the help text."
    assert "onnx_opt.passes" in tomllib.loads(blocks("toml")[0])["project"]["entry-points"]


def test_the_project_file_is_built_once(tmp_path):
    (tmp_path / "onnx-opt.toml").write_text(blocks("toml")[1])
    (tmp_path / "models").mkdir()
    (tmp_path / "build").mkdir()
    shutil.copy(MODEL, tmp_path / "models" / "detector.onnx")
    assert "detector" in run("onnx-opt build", tmp_path)
    first = (tmp_path / "build" / "detector.onnx").stat().st_mtime_ns
    run("onnx-opt build", tmp_path)
    assert (tmp_path / "build" / "detector.onnx").stat().st_mtime_ns == first


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_makefile_builds_once(tmp_path):
    script = tmp_path / "onnx-opt"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m onnx_opt "$@"\n')
    script.chmod(0o755)
    (tmp_path / "Makefile").write_text(blocks("make")[0])
    shutil.copy(MODEL, tmp_path / "model.onnx")
    build = f'PATH="{tmp_path}:$PATH" make model.opt.onnx'
    assert "onnx-opt model.onnx" in run(build, tmp_path)
    assert "up to date" in run(build, tmp_path)
