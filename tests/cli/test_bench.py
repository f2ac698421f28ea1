"""``onnx-opt bench``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .conftest import run

FEW = ("--iterations", 8, "--warm-up", 0, "--threads", 1)


def test_a_table_for_one_model(convolution: Path) -> None:
    outcome = run("bench", convolution, *FEW)
    assert outcome.code == 0, outcome.err
    assert "input x: float32[1,2,5,5]" in outcome.out
    for heading in ("mean ms", "p50", "p90", "p99", "runs/s"):
        assert heading in outcome.out
    assert "times as fast" not in outcome.out


def test_two_models_with_ratio_and_interval(convolution: Path, tmp_path: Path) -> None:
    assert run(convolution, "-o", tmp_path / "out.onnx", "-q").code == 0
    outcome = run("bench", convolution, tmp_path / "out.onnx", *FEW)
    assert outcome.code == 0, outcome.err
    assert "times as fast as the first (95% confidence: " in outcome.out


def test_json_holds_everything(convolution: Path, tmp_path: Path) -> None:
    run(convolution, "-o", tmp_path / "out.onnx", "-q", "--metadata")
    found = json.loads(run("bench", convolution, tmp_path / "out.onnx", *FEW, "--profile", "--json").out)
    assert [model["latency_ms"]["runs"] for model in found["models"]] == [8, 8]
    assert {"p50", "p90", "p99", "mean", "throughput"} <= set(found["models"][0]["latency_ms"])
    assert found["speedup"]["low"] <= found["speedup"]["speedup"] <= found["speedup"]["high"]
    assert found["provider"] == "CPUExecutionProvider" and found["threads"] == 1
    optimized = found["profiles"][1]
    assert {"conv", "norm"} <= {name for node in optimized["nodes"] for name in node["origins"]}
    assert {"op", "ms", "share"} <= set(optimized["operators"][0])


def test_the_profile_names_nodes(convolution: Path) -> None:
    out = run("bench", convolution, *FEW, "--profile", "--ort-level", "disabled").out
    for word in ("BatchNormalization", "conv", "norm", "act", "computes", "no origins"):
        assert word in out


def test_sizes_that_were_chosen_are_said(model: Path) -> None:
    assert "sizes chosen: n=" in run("bench", model, *FEW).out
    assert "sizes chosen" not in run("bench", model, *FEW, "--dim", "n=3").out
    assert "input x: float32[9,4]" in run("bench", model, *FEW, "--shape", "x=9x4").out
    assert "input x: float32[9,4]" in run("bench", model, *FEW, "--shape", "x=9x?").out


def test_data_of_the_user(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.ones((5, 4), np.float32))
    assert "float32[5,4]" in run("bench", model, *FEW, "--data", tmp_path / "in.npz").out


def test_what_cannot_be_asked_is_one_line(model: Path) -> None:
    run("bench", model, "--seconds", 0).fails(2, "--seconds")
    run("bench", model, "--provider", "cpuu").fails(2, "did you mean 'cpu'?")
    run("bench", model, "--provider-option", "x=1").fails(2, "has no option 'x'")
    run("bench", model, "missing.onnx").fails(2, "missing.onnx", "no such file")
    run("bench", model, "--shape", "x=?x5").fails(2, "a dim of input 'x' is 4, it cannot be 5")
    run("bench", model, "--dim", "m=2").fails(2, "no input has a dim 'm'")
