"""``onnx-opt run``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from .conftest import run, write

STATEFUL = """
<ir_version: 8, opset_import: ["": 17]>
stateful (float[batch, 4] x, int64[batch] index) => (float[batch, 4] y, int64[batch] next, string[2] words)
<float[5, 4] table = {0,1,2,3, 4,5,6,7, 8,9,10,11, 12,13,14,15, 16,17,18,19}, int64[1] one = {1}, string[2] w = {"a", "b"}>
{ row = Gather(table, index) y = Add(x, row) next = Add(index, one) words = Identity(w) }
"""


@pytest.fixture
def stateful(tmp_path: Path) -> Path:
    return write(tmp_path / "stateful.onnx", STATEFUL)


def test_random_inputs_that_the_model_takes(stateful: Path) -> None:
    outcome = run("run", stateful, "--dim", "batch=3")
    assert outcome.code == 0
    assert "input x: float32[3,4]" in outcome.out and "input index: int64[3]" in outcome.out
    assert "sizes chosen" not in outcome.out  # it was given


def test_the_sizes_that_were_chosen_are_said(stateful: Path) -> None:
    assert "sizes chosen: batch=" in run("run", stateful).out


def test_the_same_seed_gives_the_same_figures(stateful: Path) -> None:
    one, two, three = (json.loads(run("run", stateful, "--json", "--seed", seed).out) for seed in (5, 5, 6))
    assert one == two
    assert one["samples"][0]["outputs"]["y"] != three["samples"][0]["outputs"]["y"]


def test_outputs_are_written_and_summed_up(stateful: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.array([[np.nan, 1, 2, np.inf]], np.float32), index=np.array([4]))
    outcome = run("run", stateful, "--data", tmp_path / "in.npz", "-o", tmp_path / "out.npz", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)["samples"][0]["outputs"]
    assert found["y"] == {
        "type": "float32", "shape": [1, 4], "nan": 1, "inf": 1, "min": 18.0, "max": 20.0, "mean": 19.0
    }  # fmt: skip
    assert found["words"] == {"type": "string", "shape": [2]}
    written = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(written["y"], np.array([[np.nan, 18, 20, np.inf]], np.float32))
    assert written["next"].tolist() == [5] and written["words"].tolist() == ["a", "b"]


def test_several_samples_are_stacked_or_a_file_each(stateful: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.ones((3, 2, 4), np.float32), index=np.zeros((3, 2), np.int64))
    assert run("run", stateful, "--data", tmp_path / "in.npz", "-o", tmp_path / "out.npz").code == 0
    assert np.load(tmp_path / "out.npz")["y"].shape == (3, 2, 4)
    assert run("run", stateful, "--data", tmp_path / "in.npz", "-o", tmp_path / "each").code == 0
    assert sorted(p.name for p in (tmp_path / "each").iterdir()) == [f"sample_{i}.npz" for i in range(3)]


def test_samples_of_several_sizes_need_a_folder(stateful: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for size in (1, 2):
        np.savez(data / f"{size}.npz", x=np.ones((size, 4), np.float32), index=np.zeros(size, np.int64))
    run("run", stateful, "--data", data, "-o", tmp_path / "out.npz").fails(2, "differ in shape", "give a folder")
    assert not (tmp_path / "out.npz").exists()


def test_the_level_and_session_options_change_nothing_of_a_small_model(stateful: Path) -> None:
    options = ("--ort-level", "disabled", "--session-option", "session.disable_prepacking=1", "--threads", 1)
    one, two = (json.loads(run("run", stateful, "--json", *given).out)["samples"] for given in ((), options))
    assert one == two


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--provider", "cudda"], 2, ["unknown provider 'cudda'", "did you mean 'cuda'?"]),
        (["--provider-option", "a=1"], 2, ["CPUExecutionProvider has no option 'a'"]),
        (["--provider-option", "a"], 2, ["write --provider-option KEY=VALUE"]),
        (["--session-option", "intra_op_num_threads=x"], 2, ["not a whole number"]),
        (["--ort-level", "most"], 2, ["most"]),
        (["--data", "missing.npz"], 2, ["missing.npz", "no such file"]),
        (["-o", "no/where/out.npz"], 2, ["no folder"]),
        (["--dim", "batch=-1"], 2, ["not a dim and its size"]),
        (["--custom-ops", "missing.so"], 2, ["missing.so", "no such file"]),
    ],
)
def test_what_cannot_be_asked_is_one_line(stateful: Path, flags: list[str], code: int, words: list[str]) -> None:
    run("run", stateful, *flags).fails(code, *words)


def test_a_provider_that_is_not_here_is_the_targets_no(stateful: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    run("run", stateful, "--provider", "dml").fails(3, "no DmlExecutionProvider", "available here: cpu")


def test_an_operator_that_the_runtime_lacks_is_the_targets_no(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 17, "mine": 1]> g (float[2] x) => (float[2] y) { y = mine.Foo(x) }'
    run("run", write(tmp_path / "foo.onnx", text)).fails(3, "foo.onnx", "no operator mine::Foo")


def test_a_model_that_refuses_the_users_sample(stateful: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.ones((1, 4), np.float32), index=np.array([99]))
    run("run", stateful, "--data", tmp_path / "in.npz").fails(2, "does not run on sample 0")


def test_a_sequence_is_written_part_by_part(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    split (float[4] x) => (seq(float[2]) parts) { two = Constant<value_int: int = 2>() parts = SplitToSequence(x, two) }"""
    model = write(tmp_path / "split.onnx", text)
    assert run("run", model, "-o", tmp_path / "out.npz").code == 0
    assert sorted(np.load(tmp_path / "out.npz").files) == ["parts[0]", "parts[1]"]


def test_no_such_model(tmp_path: Path) -> None:
    run("run", tmp_path / "none.onnx").fails(2, "none.onnx", "no such file")


@pytest.mark.parametrize("command", ["run", "bench"])
def test_a_damaged_or_hostile_model_never_gets_to_the_runtime(stateful: Path, tmp_path: Path, command: str) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(stateful.read_bytes()[:100])
    run(command, damaged).fails(2, "damaged.onnx")
    run(command, tmp_path).fails(2)
    reaching = onnx.load(stateful)
    tensor = reaching.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../../../etc/hostname")
    (tmp_path / "reaching.onnx").write_bytes(reaching.SerializeToString())
    run(command, tmp_path / "reaching.onnx").fails(2, "reaching.onnx")
    run(command, stateful, "--dim", "btch=1").fails(2, "no input has a dim 'btch'", "did you mean 'batch'?")
