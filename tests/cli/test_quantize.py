"""`--quantize` on the command line."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from command import run
from quantize_models import CNN, WEIGHTS, feeds, model


@pytest.fixture
def paths(tmp_path):
    proto = model(CNN, **WEIGHTS)
    onnx.save(proto, tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", x=np.stack([feed["x"] for feed in feeds(proto, 16)]))
    return tmp_path / "m.onnx", tmp_path / "data.npz", tmp_path / "out.onnx"


def test_flags_and_report(paths):
    source, data, result = paths
    outcome = run(source, "-o", result, "--quantize", "int8", "--quantize-data", data, "--json", "--tolerance", "0.3")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    measured = report["measured"]["quantize"]
    assert (measured["samples"], measured["held_out"], measured["method"]) == (12, 4, "min-max")
    assert report["status"] == "proven" and result.stat().st_size < source.stat().st_size * 4


def test_the_table_gives_both_errors_and_every_layer(paths):
    source, data, result = paths
    outcome = run(source, "-o", result, "--quantize", "--quantize-data", data)
    assert "error on calibration data" in outcome.out and "error on held-out data" in outcome.out
    assert "loss alone" in outcome.out


def test_a_target_without_the_form(paths):
    source, data, result = paths
    outcome = run(source, "-o", result, "--quantize", "fp8", "--quantize-data", data, "--target", "ort-cpu")
    outcome.fails(3, "ort-cpu does not compute in fp8", "--quantize int4 or int8")
    assert not result.exists()


def test_data_that_are_not_there(paths):
    source, data, result = paths
    run(source, "-o", result, "--quantize", "--quantize-data", data.with_name("no.npz")).fails(2, "no.npz", "no such")


def test_data_that_do_not_fit(paths):
    source, data, result = paths
    np.savez(data, x=np.zeros((4, 1, 7, 7), np.float32))
    run(source, "-o", result, "--quantize", "--quantize-data", data).fails(2, "data.npz")


@pytest.mark.parametrize("flags", [["--quantize", "int3"], ["--quantize", "--quantize-percentile", "0"]])
def test_values_that_make_no_sense(paths, flags):
    source, _, result = paths
    run(source, "-o", result, *flags).fails(2)
