"""The command from its arguments to its files and its report."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from .conftest import NEGATIONS, run, write


def ops(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


def test_a_model_is_optimized_and_proven(convolution: Path, tmp_path: Path) -> None:
    outcome = run(convolution, "-o", tmp_path / "out.onnx")
    assert outcome.code == 0
    assert ops(tmp_path / "out.onnx") == ["Conv", "Relu"]
    assert "pipeline: repeat(fold,cleanup)" in outcome.out
    assert "BatchNormalization" in outcome.out
    assert "proven" in outcome.out
    assert outcome.err == ""


def test_the_name_of_the_output_follows_from_the_input(convolution: Path) -> None:
    assert run(convolution, "-q").code == 0
    assert ops(convolution.with_name("convolution.opt.onnx")) == ["Conv", "Relu"]


def test_output_may_replace_the_input(convolution: Path) -> None:
    convolution.chmod(0o640)
    assert run(convolution, "-o", convolution).code == 0
    assert ops(convolution) == ["Conv", "Relu"]
    assert stat.S_IMODE(convolution.stat().st_mode) == 0o640
    assert os.listdir(convolution.parent) == [convolution.name]


def test_level_0_copies_every_byte(model: Path, tmp_path: Path) -> None:
    assert run(model, "-o", tmp_path / "out.onnx", "-O0").code == 0
    assert (tmp_path / "out.onnx").read_bytes() == model.read_bytes()


def test_the_same_bytes_every_time(convolution: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run(convolution, "-o", tmp_path / name, "-q").code == 0
    assert run(convolution, "-o", tmp_path / "c", "-q", "--no-validate").code == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_json_is_all_that_stdout_holds(convolution: Path) -> None:
    outcome = run(convolution, "--json", "--print-after", "cleanup", "--time-passes")
    report = json.loads(outcome.out)
    assert report["status"] == "proven"
    assert report["before"]["ops"]["BatchNormalization"] == 1
    assert report["after"]["nodes"] == 2
    assert report["after"]["bytes"] == Path(report["output"]).stat().st_size
    assert {"pass": "fuse-conv-bn-relu", "rule": "fold-batch-normalization", "count": 1} in report["rewrites"]
    assert report["validation"]["outputs"][0]["name"] == "y"
    assert "# after cleanup" in outcome.err


def test_the_report_as_a_file(model: Path, tmp_path: Path) -> None:
    assert run(model, "--report-json", tmp_path / "report.json", "-q").out == ""
    assert json.loads((tmp_path / "report.json").read_text())["target"] == "portable"


def test_what_is_unchanged_needs_no_run(model: Path, tmp_path: Path) -> None:
    outcome = run(model, "-o", tmp_path / "out.onnx")
    assert "nothing was changed" in outcome.out
    assert (tmp_path / "out.onnx").read_bytes() == model.read_bytes()


def test_without_validation_nothing_is_claimed(model: Path) -> None:
    outcome = run(model, "--no-validate")
    assert outcome.code == 0
    assert "unchecked" in outcome.out


def test_times(model: Path) -> None:
    text = run(model, "--time-passes").out
    assert "cleanup" in text
    assert "(validate)" in text


def test_flops_and_symbolic_dims(convolution: Path, tmp_path: Path) -> None:
    report = json.loads(run(convolution, "--json").out)
    assert report["before"]["flops"] == 2 * 3 * 25 * 2
    assert not report["before"]["symbolic"]
    text = "agraph (float[n, 8] x, float[8, 4] w) => (float[n, 4] y) { y = MatMul(x, w) }"
    matmul = write(tmp_path / "matmul.onnx", f'<ir_version: 8, opset_import: ["": 17]> {text}')
    outcome = run("inspect", matmul, "--json")
    assert json.loads(outcome.out)["flops"] == 64
    assert json.loads(outcome.out)["symbolic"]


# -- looking inside


def test_print_after(convolution: Path) -> None:
    text = run(convolution, "--print-after", "fuse-conv-bn-relu").out
    assert text.count("# after fuse-conv-bn-relu") >= 1
    assert "Conv" in text


def test_print_after_change_is_silent_where_nothing_changes(convolution: Path) -> None:
    text = run(convolution, "--print-after-change", "--no-validate").out
    assert text.count("# after fuse-conv-bn-relu") == 1
    assert "# after fold" not in text


def test_explain_a_rewritten_node(convolution: Path) -> None:
    outcome = run(convolution, "--explain", "norm", "--explain", "n")
    assert "node 'norm':\n  rewritten by fold-batch-normalization" in outcome.out
    assert "node 'norm' (computes n):" in outcome.out
    assert not convolution.with_name("convolution.opt.onnx").exists()


def test_explain_a_node_that_was_left_alone(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[1, 1, 3, 3] x, float[1] s) => (float[1, 1, 3, 3] y)
    <float[1, 1, 1, 1] w = {2.0}, float[1] b = {0.0}, float[1] m = {0.0}, float[1] v = {1.0}>
    { [conv] c = Conv(x, w) [norm] y = BatchNormalization(c, s, b, m, v) }"""
    outcome = run(write(tmp_path / "model.onnx", text), "--explain", "norm")
    assert "unchanged" in outcome.out or "left it alone" in outcome.out


def test_explain_an_operator(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[2, 3, 4] x) => (float[2, 4, 3] y, float[2, 3, 4] z)
    { [there] y = Transpose<perm = [0, 2, 1]>(x) [up] u = Exp(y) [back] z = Transpose<perm = [0, 2, 1]>(u) }"""
    outcome = run(write(tmp_path / "model.onnx", text), "--explain", "Transpose")
    assert "operator 'Transpose':\n  1 left\n" in outcome.out
    assert (
        "'there': solve-layout (layout) left it alone: input 'x' gives another layout than graph output" in outcome.out
    )


def test_metadata_tells_where_nodes_come_from(convolution: Path, tmp_path: Path) -> None:
    assert run(convolution, "-o", tmp_path / "out.onnx", "--metadata").code == 0
    found = {entry.key: entry.value for entry in onnx.load(tmp_path / "out.onnx").metadata_props}
    assert found["onnx_opt.pipeline"].startswith("repeat(fold,cleanup)")
    (origin,) = json.loads(found["onnx_opt.origins"]).values()
    assert set(origin["nodes"]) >= {"conv", "norm"}


# -- sizes


def test_dims_are_fixed_in_the_interface(model: Path, tmp_path: Path) -> None:
    assert run(model, "-o", tmp_path / "out.onnx", "--dim", "n=3").code == 0
    graph = onnx.load(tmp_path / "out.onnx").graph
    for value in (graph.input[0], graph.output[0]):
        assert [d.dim_value for d in value.type.tensor_type.shape.dim] == [3, 4]


def test_shapes_fix_the_dims_that_they_meet(model: Path, tmp_path: Path) -> None:
    assert run(model, "-o", tmp_path / "out.onnx", "--shape", "x=2x4").code == 0
    dims = onnx.load(tmp_path / "out.onnx").graph.output[0].type.tensor_type.shape.dim
    assert dims[0].dim_value == 2


def test_bounds_leave_the_interface_alone(idle: Path, tmp_path: Path) -> None:
    outcome = run(idle, "-o", tmp_path / "out.onnx", "--dim", "n=2:5", "--json")
    assert json.loads(outcome.out)["validation"]["sizes"]["n"][0] >= 2
    assert onnx.load(tmp_path / "out.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


# -- data, external and the user's


def test_user_data_is_used(idle: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.ones((2, 4), np.float32))
    report = json.loads(run(idle, "--data", tmp_path / "data.npz", "--json").out)
    assert any("user's" in note for note in report["validation"]["notes"])


def test_external_data_stays_external(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.arange(4096, dtype=np.float32), "w")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4096]) for name in "xy"]
    nodes = [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Neg", ["a"], ["b"])]
    nodes.append(helper.make_node("Identity", ["b"], ["c"]))
    graph = helper.make_graph(
        [*nodes, helper.make_node("Add", ["c", "w"], ["y"])], "g", values[:1], values[1:], [weight]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir(), target.mkdir()
    onnx.save(proto, source / "model.onnx", save_as_external_data=True, location="weights.bin")
    assert run(source / "model.onnx", "-o", target / "out.onnx").code == 0
    assert sorted(p.name for p in target.iterdir()) == ["out.onnx", "out.onnx.data"]
    loaded = onnx.load(target / "out.onnx")
    assert np.array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), np.arange(4096, dtype=np.float32))


# -- the command itself


def test_help_starts_fast() -> None:
    assert min(_seconds("--help") for _ in range(3)) < 0.3


def _seconds(*arguments: str) -> float:
    """Processor time of a run of the command: unlike the clock, it does not depend on what else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "onnx_opt", *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("arguments", [["--help"], ["--list-passes"], ["--version"]])
def test_nothing_heavy_is_imported_to_tell_about_itself(arguments: list[str]) -> None:
    code = f"import sys; from onnx_opt.cli import main; main({arguments}); print(*sys.modules, file=sys.stderr)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"numpy", "onnx", "onnxruntime", "sympy", "rich", "onnx_graphsurgeon"} & set(found.stderr.split())


def test_help_shows_flags_and_commands() -> None:
    text = run("--help").out
    for part in ("Usage: onnx-opt MODEL [-o OUT] [FLAGS]", "--[no-]fold", "--max-fold-growth", "--strip-op", "inspect"):
        assert part in text
    assert run().out == text


def test_version() -> None:
    assert run("--version").out.startswith("onnx-opt ")


def test_passes_and_presets_are_listed() -> None:
    text = run("--list-passes").out
    assert text == run("passes").out
    assert "-O1: repeat(fold,cleanup)" in text
    assert "max-growth" in text


def test_a_model_may_be_called_like_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "inspect", NEGATIONS)
    assert run("optimize", "inspect", "-o", "out.onnx").code == 0
    assert run("./inspect", "-o", "out.onnx").code == 0


def test_liberties_are_granted_and_reported(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[n] x) => (float[n] y) <float z = {0.0}> { p = Mul(x, z) y = Add(x, p) }"""
    path = write(tmp_path / "zero.onnx", text)
    assert "fast-math" not in run(path, "-o", tmp_path / "a.onnx").out
    assert len(onnx.load(tmp_path / "a.onnx").graph.node) == 2
    outcome = run(path, "-o", tmp_path / "b.onnx", "--fast-math")
    assert outcome.code == 0 and "no-nans 1 times by absorbing-constant" in outcome.out
    assert [node.op_type for node in onnx.load(tmp_path / "b.onnx").graph.node] == ["Identity"]
    some = run(path, "-o", tmp_path / "c.onnx", "--fast-math=no-nans,no-infs", "--explain", "p")
    assert "it needs --fast-math=no-signed-zeros" in some.out
    run(path, "--fast-math=no-nan").fails(2, "no liberty 'no-nan'", "no-nans")
    (sub,) = [run(path, "--fast-math", "--no-algebra", "-o", tmp_path / "d.onnx")]
    assert sub.code == 0 and len(onnx.load(tmp_path / "d.onnx").graph.node) == 2
