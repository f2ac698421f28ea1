"""The benches of channel padding run from end to end on something small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from odd_widths import NETWORKS
from tools import ROOT


def bench(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench" / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_odd_widths_are_models(name: str) -> None:
    onnx.checker.check_model(NETWORKS[name](5), full_check=True)


def test_every_layer_that_can_be_aligned_is(tmp_path: Path) -> None:
    for name in ("shufflenet", "regnet"):
        onnx.save(NETWORKS[name](5), tmp_path / f"{name}.onnx")
    done = bench("padding.py", tmp_path, "--inputs", "--samples", 1, "--report", tmp_path / "table.md")
    assert done.returncode == 0, done.stderr
    _, _, regnet, shufflenet = (tmp_path / "table.md").read_text().splitlines()
    assert regnet == "| regnet | 12 | 11 | 0 | 11 | 0 | 2 | proven | 1x stride |"
    assert shufflenet == "| shufflenet | 11 | 8 | 0 | 8 | 0 | 2 | proven | 3x groups |"


def test_without_a_gpu_nothing_is_measured(tmp_path: Path) -> None:
    done = bench("gpu_padding.py", "--provider", "NoSuchProvider", "--output", tmp_path / "profile.json")
    assert done.returncode == 0
    assert done.stdout == "skipped: this onnxruntime has no NoSuchProvider\n"
    assert not (tmp_path / "profile.json").exists()


def test_what_it_writes_is_a_profile(tmp_path: Path) -> None:
    from onnx_opt.channels.cost import read_profile

    path = tmp_path / "profile.json"
    done = bench("gpu_padding.py", "--provider", "CPUExecutionProvider", "--quick", "--runs", 2, "--output", path)
    assert done.returncode == 0, done.stderr
    assert {row["op"] for row in json.loads(path.read_text())["rows"]} == {"Conv", "MatMul"}
    assert read_profile(path, None).rate("Conv", "float16", 16, 16, 1e6) > 0
