"""``--ort-level``: the graph that ONNX Runtime makes of the result, written and held against the original."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from command import run
from onnx_opt.emit import offline
from onnx_opt.emit.offline import settle
from onnx_opt.ir import load, to_bytes

CONVOLUTIONS = """
<ir_version: 8, opset_import: ["": 17]>
convolutions (float[n, 16, 9, 9] x) => (float[n, 16, 7, 7] y)
<float[1] half = {0.5}, int64[4] shape = {16, 16, 3, 3}>
{
  [fill] w = Expand(half, shape)
  [first] a = Conv<pads = [1, 1, 1, 1]>(x, w)
  [act] b = Relu(a)
  [left] c = Conv(b, w)
  [right] d = Conv(b, w)
  [sum] e = Add(c, d)
  [last] y = Tanh(e)
}
"""

# ONNX Runtime moves the padding into the MaxPool, where it counts as minus infinity and no longer as zero.
PADDED_POOL = """
<ir_version: 8, opset_import: ["": 17]>
pool (float[1, 1, 4, 4] x) => (float[1, 1, 3, 3] y) <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}>
{ q = Pad(x, p) y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(q) }
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "model.onnx", CONVOLUTIONS)


def write(path: Path, text: str) -> Path:
    onnx.save(parser.parse_model(text), path)
    return path


def ops(path: Path) -> list[str]:
    return sorted(f"{node.domain}::{node.op_type}" for node in onnx.load(path).graph.node)


def test_level_all_stores_channels_in_blocks_and_warns_of_it(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    outcome = run(model, "-o", out, "--target", "ort-cpu", "--ort-level", "all")
    assert outcome.code == 0, outcome.err
    assert "com.microsoft.nchwc::Conv" in ops(out)
    assert "layouts are tied to this kind of machine and to cpu" in outcome.err
    assert "graph optimized by ONNX Runtime" in outcome.out and "proven: " in outcome.out


def test_level_extended_warns_of_its_operators_and_basic_does_not(model: Path, tmp_path: Path) -> None:
    flags = ("-O0", "--target", "ort-cpu", "--ort-level")
    extended = run(model, "-o", tmp_path / "extended.onnx", *flags, "extended")
    assert "meant for cpu only" in extended.err and "com.microsoft::FusedConv" in ops(tmp_path / "extended.onnx")
    basic = run(model, "-o", tmp_path / "basic.onnx", *flags, "basic")
    assert not basic.err and all(op.startswith("::") for op in ops(tmp_path / "basic.onnx"))
    assert "::Expand" not in ops(tmp_path / "basic.onnx")


def test_what_onnxruntime_gets_wrong_is_not_written(tmp_path: Path) -> None:
    pool, out = write(tmp_path / "pool.onnx", PADDED_POOL), tmp_path / "out.onnx"
    run(pool, "-o", out, "--target", "ort-cpu", "--ort-level", "extended").fails(
        1, "pool.onnx", "what ONNX Runtime makes of it at level 'extended' is wrong", "try --ort-level basic"
    )
    run(pool, "-o", out, "--target", "ort-cpu", "--ort-level", "basic").fails(1, "is wrong", "leave --ort-level out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pool.onnx"]
    assert run(pool, "-o", out, "--target", "ort-cpu", "-q").code == 0


def test_the_same_bytes_each_time(model: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / f"{i}.onnx" for i in range(3)]
    for out in outputs:
        assert run(model, "-o", out, "--target", "ort-cpu", "--ort-level", "all", "-q").code == 0
    assert len({out.read_bytes() for out in outputs}) == 1


def test_names_that_differ_from_run_to_run_are_settled() -> None:
    text = """
    <ir_version: 8, opset_import: ["": 17, "com.microsoft": 1, "ai.onnx.ml": 5]>
    g (float[2] x) => (float[2] y, float[2] z)
    {{ {nodes} }}
    """
    nodes = [
        "[Reorder{i}] a = Neg(x)",
        "[Reorder{j}] b = com.microsoft.Gelu(x)",
        "[Reorder_1] y = Abs(b)",
        "[named] z = Abs(a)",
    ]
    made = []
    for order, i, j in (([0, 1, 2, 3], "", "_token_7"), ([1, 0, 3, 2], "_token_9", "")):
        lines = " ".join(nodes[k].format(i=i, j=j) for k in order)
        graph = load(parser.parse_model(text.format(nodes=lines)).SerializeToString())
        settle(graph)
        made.append(to_bytes(graph))
        onnx.checker.check_model(made[-1], skip_opset_compatibility_check=True)
    assert made[0] == made[1]
    found = onnx.load_from_string(made[0])
    assert [node.name for node in found.graph.node] == ["Reorder_2", "Reorder_1", "Reorder_3", "named"]
    assert [(o.domain, o.version) for o in found.opset_import] == [("", 17), ("com.microsoft", 1)]


def test_a_model_with_external_data_keeps_its_weights_beside_it(model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    proto.graph.node.remove(proto.graph.node[0])
    weights = np.random.default_rng(0).standard_normal((16, 16, 3, 3)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    big, out = tmp_path / "big.onnx", tmp_path / "out.onnx"
    onnx.save(proto, big, save_as_external_data=True, location="big.bin", size_threshold=1024)
    assert run(big, "-o", out, "--target", "ort-cpu", "--ort-level", "all", "-q").code == 0
    assert (tmp_path / "out.onnx.data").stat().st_size >= weights.nbytes > out.stat().st_size
    names = {"big.bin", "big.onnx", "model.onnx", "out.onnx", "out.onnx.data"}
    assert {p.name for p in tmp_path.iterdir()} == names
    feed = {"x": np.ones((1, 16, 9, 9), np.float32)}
    one, two = (onnxruntime.InferenceSession(path).run(None, feed)[0] for path in (big, out))
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_the_inputs_external_data_is_not_overwritten(model: Path, tmp_path: Path) -> None:
    proto = onnx.load(model)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((16, 16, 3, 3), np.float32), "w"))
    proto.graph.node.remove(proto.graph.node[0])
    big = tmp_path / "big.onnx"
    onnx.save(proto, big, save_as_external_data=True, location="out.onnx.data", size_threshold=1024)
    before = (tmp_path / "out.onnx.data").read_bytes()
    flags = ("--target", "ort-cpu", "--ort-level", "all")
    for name in ("out.onnx.data", "out.onnx"):
        run(big, "-o", tmp_path / name, *flags).fails(2, "external data of the input", "choose another name")
    assert (tmp_path / "out.onnx.data").read_bytes() == before and not (tmp_path / "out.onnx").exists()


def test_a_model_may_take_its_own_place(model: Path, tmp_path: Path) -> None:
    assert run(model, "-o", model, "--target", "ort-cpu", "--ort-level", "all", "-q").code == 0
    assert "com.microsoft.nchwc::Conv" in ops(model)


def test_large_weights_go_to_a_file_of_their_own(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "LARGE", 1000)
    assert run(model, "-o", tmp_path / "out.onnx", "--target", "ort-cpu", "--ort-level", "all", "-q").code == 0
    assert (tmp_path / "out.onnx.data").exists()


def test_figures_in_the_report(model: Path, tmp_path: Path) -> None:
    flags = ("--target", "ort-cpu", "--ort-level", "all", "--json")
    emitted = json.loads(run(model, "-o", tmp_path / "out.onnx", *flags).out)["emitted"]
    assert emitted["level"] == "all" and emitted["provider"] == "CPUExecutionProvider"
    assert emitted["file_bytes"] == (tmp_path / "out.onnx").stat().st_size
    assert any("com.microsoft.nchwc::Conv" in text for text in emitted["vendor_operators"])


def test_each_node_still_leads_to_the_original(model: Path, tmp_path: Path) -> None:
    flags = ("--target", "ort-cpu", "--ort-level", "all", "--metadata", "-q")
    assert run(model, "-o", tmp_path / "out.onnx", *flags).code == 0
    arguments = ("--iterations", 2, "--warm-up", 0, "--profile", "--json")
    (profile,) = json.loads(run("bench", tmp_path / "out.onnx", *arguments).out)["profiles"]
    nodes = {frozenset(node["origins"]): node for node in profile["nodes"]}
    assert "com.microsoft.nchwc" in str(ops(tmp_path / "out.onnx"))
    found = {name for names in nodes for name in names}
    assert {"first", "act", "left", "sum", "last"} <= found <= {"first", "act", "left", "right", "sum", "last"}
    assert "onnxruntime-all" in nodes[frozenset({"first", "act"})]["rules"]


def test_without_validation_it_is_unchecked(model: Path, tmp_path: Path) -> None:
    flags = ("--target", "ort-cpu", "--ort-level", "all", "--no-validate", "--json")
    assert json.loads(run(model, "-o", tmp_path / "out.onnx", *flags).out)["status"] == "unchecked"


def test_session_options_reach_the_optimizer(model: Path, tmp_path: Path) -> None:
    off = "optimization.disable_specified_optimizers=ConvActivationFusion"
    flags = ("-O0", "--target", "ort-cpu", "--ort-level", "extended", "--session-option", off)
    assert run(model, "-o", tmp_path / "out.onnx", *flags, "-q").code == 0
    assert "com.microsoft::FusedConv" not in ops(tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--ort-level", "all"], 2, ["target portable is none of ONNX Runtime", "add --target ort-cpu"]),
        (["--ort-level", "all", "--target", "tensorrt"], 2, ["target tensorrt is none of ONNX Runtime"]),
        (["--ort-level", "most", "--target", "ort-cpu"], 2, ["most"]),
        (["--ort-level", "all", "--target", "ort-cuda", "--provider", "cpu"], 2, ["made by cuda", "--provider cuda"]),
        (["--provider", "cpuu"], 2, ["unknown provider", "did you mean 'cpu'?"]),
        (["--provider-option", "a=1"], 2, ["CPUExecutionProvider has no option 'a'"]),
        (["--session-option", "intra_op_num_threads=x"], 2, ["'x' is not a whole number"]),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    model: Path, tmp_path: Path, flags: list[str], code: int, words: list[str]
) -> None:
    run(model, "-o", tmp_path / "out.onnx", *flags).fails(code, *words)
    assert not (tmp_path / "out.onnx").exists()


def test_a_provider_that_is_not_here_is_the_targets_no(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    flags = ("-o", tmp_path / "out.onnx", "--target", "ort-dml", "--ort-level", "basic")
    run(model, *flags).fails(3, "no DmlExecutionProvider", "available here: cpu")
    run(model, "--provider", "cuda").fails(3, "no CUDAExecutionProvider", "available here: cpu")


def test_the_proof_runs_with_the_options_that_are_given(model: Path, tmp_path: Path) -> None:
    flags = ("--provider", "cpu", "--session-option", "session.set_denormal_as_zero=1")
    outcome = run(model, "-o", tmp_path / "out.onnx", *flags)
    assert outcome.code == 0 and "proven" in outcome.out


def test_an_option_that_may_be_misspelt_is_warned_of_once(model: Path, tmp_path: Path) -> None:
    flags = ("--target", "ort-cpu", "--ort-level", "basic", "--session-option", "session.disable_prepackin=1")
    outcome = run(model, "-o", tmp_path / "out.onnx", *flags)
    assert outcome.code == 0 and outcome.err.count("did you mean 'session.disable_prepacking'?") == 1


def test_an_operator_that_the_runtime_lacks_names_the_users_file(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["": 17, "mine": 1]> g (float[2] x) => (float[2] y) { y = mine.Foo(x) }'
    model = write(tmp_path / "foo.onnx", text)
    flags = ("-o", tmp_path / "out.onnx", "--target", "ort-cpu", "--ort-level", "basic")
    run(model, *flags).fails(3, "foo.onnx", "no operator mine::Foo")
