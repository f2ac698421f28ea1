"""Models in the browser."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from command import start

from .conftest import run, write

CHAIN = "g (float[4] x) => (float[4] y) {a = Exp(x)\n y = Neg(a)}"


def test_without_netron_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "netron", None)
    run("view", write(tmp_path / "m.onnx", CHAIN)).fails(2, "Netron", "onnx-opt[view]")


def test_a_file_that_is_not_there_is_told_first(tmp_path: Path) -> None:
    run("view", tmp_path / "no.onnx").fails(2, "no.onnx", "no such file")


def test_two_models_are_served_on_this_machine_alone(tmp_path: Path) -> None:
    pytest.importorskip("netron", reason="the extra 'view' is not installed")
    models = [write(tmp_path / f"{name}.onnx", CHAIN) for name in "ab"]
    serving = start("view", *models, "--no-browser", bufsize=1)
    try:
        assert serving.stdout is not None
        for model in models:
            said, _, address = serving.stdout.readline().strip().partition(": ")
            assert said == str(model)
            assert address.startswith("http://localhost:")
            with urlopen(address, timeout=20) as page:
                assert b"Netron" in page.read()
    finally:
        serving.terminate()
        serving.wait(20)
