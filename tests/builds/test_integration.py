"""A project with three models under each build system: it builds, does nothing, and makes again what was touched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from command import run
from onnx_opt.builds.external import external_locations
from onnx_opt.cli.integration import FILES

from .conftest import write_external

NAMES = ("one", "two", "three")
FLAGS = ("-O1", "--no-validate")


class Project:
    """Three models with external data, and an `onnx-opt` on the path that counts its runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "runs.log"
        for value, name in enumerate(NAMES, 1):
            write_external(folder / f"{name}.onnx", f"{name} weights.bin", value)
        programs = folder / "programs"
        programs.mkdir()
        script = programs / "onnx-opt"
        script.write_text(f'#!/bin/sh\necho "$@" >> "{self.log}"\nexec "{sys.executable}" -m onnx_opt "$@"\n')
        script.chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def integrate(self, name: str, path: str, *replaced: tuple[str, str]) -> None:
        """Write what ``onnx-opt integration`` prints."""
        text = run("integration", name).out
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        (self.folder / path).write_text(text)

    def call(self, *line: str) -> str:
        """Run a command of the project; it has to succeed. Returns what it printed."""
        done = subprocess.run(line, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def runs(self) -> list[str]:
        """The models that were optimized since this was asked last."""
        found = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return sorted(match[1] for line in found if (match := re.search(r"(\w+)\.onnx", line)))

    def touch(self, name: str) -> None:
        later = time.time() + 2
        os.utime(self.folder / name, (later, later))

    def builds_as_it_should(self, *line: str) -> None:
        """First all, then nothing, then what depends on what was touched."""
        self.call(*line)
        assert self.runs() == sorted(NAMES)
        self.call(*line)
        assert self.runs() == []
        self.touch("two weights.bin")
        self.call(*line)
        assert self.runs() == ["two"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@needs("make")
def test_make(project: Project) -> None:
    project.integrate("make", "onnx-opt.mk")
    (project.folder / "Makefile").write_text(
        f"all: one.opt.onnx two.opt.onnx build/three.opt.onnx\ninclude onnx-opt.mk\nONNX_OPT_FLAGS = {' '.join(FLAGS)}\n"
        "two.opt.onnx: ONNX_OPT_FLAGS += --metadata\nbuild/three.opt.onnx: three.onnx\n"
    )
    project.builds_as_it_should("make", "-j2")
    assert external_locations(project.folder / "build" / "three.opt.onnx") == ["three.opt.onnx.data"]
    (project.folder / "two weights.bin").rename(project.folder / "elsewhere.bin")
    done = subprocess.run(["make"], cwd=project.folder, env=project.environment, capture_output=True, text=True)
    assert "is missing" in done.stderr, "a file that is gone is the compiler's error, not Make's"


@needs("cmake")
@pytest.mark.parametrize("generator", ["Ninja", "Unix Makefiles"])
def test_cmake(generator: str, project: Project) -> None:
    if shutil.which("ninja" if generator == "Ninja" else "make") is None:
        pytest.skip(f"the program for {generator} is not installed")
    project.integrate("cmake", "OnnxOpt.cmake")
    (project.folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(models NONE)\ninclude(OnnxOpt.cmake)\n"
        + "".join(f"onnx_opt({name} MODEL {name}.onnx FLAGS {' '.join(FLAGS)})\n" for name in NAMES[:2])
        + f"onnx_opt(three MODEL three.onnx OUTPUT deep/3.onnx FLAGS {' '.join(FLAGS)})\n"
    )
    project.call("cmake", "-S", ".", "-B", "build", "-G", generator)
    project.builds_as_it_should("cmake", "--build", "build")
    assert (project.folder / "build" / "deep" / "3.onnx").exists()
    assert (project.folder / "build" / "one.opt.onnx").exists()


@needs("meson")
@needs("ninja")
def test_meson(project: Project) -> None:
    words = ", ".join(f"'{flag}'" for flag in FLAGS)
    models = "".join(f"  '{name}': ['{name}.onnx', {words}],\n" for name in NAMES)
    example = "  'detector': ['detector.onnx', '--fp16'],\n  'classifier': ['classifier.onnx'],\n"
    project.integrate("meson", "meson.build", (example, models))
    build = project.folder / "meson.build"
    build.write_text("project('models')\n" + build.read_text())
    project.call("meson", "setup", "build")
    project.builds_as_it_should("ninja", "-C", "build")
    assert (project.folder / "build" / "one.opt.onnx").exists()


def write_config(project: Project) -> None:
    flags = "level = 1\nno-validate = true\n"
    models = "".join(f'[models.{name}]\nmodel = "{name}.onnx"\noutput = "out/{name}.onnx"\n{flags}' for name in NAMES)
    (project.folder / "onnx-opt.toml").write_text(models)


def test_continuous_integration(project: Project) -> None:
    """The commands of the workflow, run as they stand."""
    write_config(project)
    commands = [line for line in re.findall(r"run: (.*)", run("integration", "ci").out) if line.startswith("onnx-opt")]
    assert len(commands) == 2
    for command in commands:
        project.call("sh", "-c", command)
    assert "nothing to do: 3 outputs up to date" in project.call("sh", "-c", commands[0])


@needs("git")
@needs("pre-commit")
def test_pre_commit(project: Project) -> None:
    write_config(project)
    project.integrate("pre-commit", ".pre-commit-config.yaml")
    project.call("git", "init", "-q")
    project.call("git", "add", ".")
    hook = ("pre-commit", "run", "--all-files")
    refused = subprocess.run(hook, cwd=project.folder, env=project.environment, capture_output=True, text=True)
    assert refused.returncode == 1, refused.stdout
    assert "one: out/one.onnx: out of date" in refused.stdout
    project.call("onnx-opt", "build")
    assert "Passed" in project.call(*hook)


def test_the_hook_of_the_repository_is_the_one_that_is_printed() -> None:
    root = Path(__file__).parents[2]
    hooks = (root / ".pre-commit-hooks.yaml").read_text()
    printed = run("integration", "pre-commit").out
    for key in ("name", "entry", "files", "pass_filenames", "require_serial"):
        (ours,) = re.findall(rf"^ +{key}: (.*)$", hooks, re.MULTILINE)
        assert f"{key}: {ours}" in printed


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_part_of_the_package(name: str) -> None:
    assert "onnx-opt" in run("integration", name).out
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert settings["tool"]["setuptools"]["package-data"]["onnx_opt.builds"] == ["integration/*"]
