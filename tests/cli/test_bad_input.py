"""What a user can get wrong: one clear line, exit code 2, no traceback, no output file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from .conftest import Outcome, run, write

ONE_NODE = """
<ir_version: 8, opset_import: ["": {opset}]>
g (float[2] x) => (float[2] y)
{{ {nodes} }}
"""


def truncated(path: Path, model: Path) -> None:
    data = model.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def text(path: Path, model: Path) -> None:
    path.write_text("This is no model.\n" * 40)


def empty(path: Path, model: Path) -> None:
    path.touch()


def missing(path: Path, model: Path) -> None: ...


def folder(path: Path, model: Path) -> None:
    path.mkdir()


def no_graph(path: Path, model: Path) -> None:
    path.write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())


def noise(path: Path, model: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def cyclic(path: Path, model: Path) -> None:
    write(path, ONE_NODE.format(opset=17, nodes="a = Add(x, b) b = Neg(a) y = Neg(b)"))


def undefined_value(path: Path, model: Path) -> None:
    write(path, ONE_NODE.format(opset=17, nodes="y = Add(x, nothing)"))


def unknown_opset(path: Path, model: Path) -> None:
    write(path, ONE_NODE.format(opset=999, nodes="y = Neg(x)"))


def no_opset(path: Path, model: Path) -> None:
    proto = onnx.load(model)
    del proto.opset_import[:]
    path.write_bytes(proto.SerializeToString())


def _external(path: Path) -> Path:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="weights.bin")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path.with_name("weights.bin")


def missing_external_data(path: Path, model: Path) -> None:
    _external(path)


def short_external_data(path: Path, model: Path) -> None:
    _external(path).write_bytes(b"1234")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (truncated, ""),
        (text, ""),
        (empty, "empty"),
        (missing, "no such file"),
        (folder, "directory"),
        (no_graph, "0 graphs"),
        (noise, ""),
        (cyclic, "cycle"),
        (undefined_value, "'nothing', which nothing defines"),
        (unknown_opset, "unknown opset 999"),
        (no_opset, "no opset is imported"),
        (missing_external_data, "weights.bin"),
        (short_external_data, "too short"),
    ],
)
@pytest.mark.parametrize("command", [[], ["inspect"], ["diff"]])
def test_bad_models(
    make: Callable[[Path, Path], None], words: str, command: list[str], model: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.onnx"
    make(bad, model)
    before = sorted(tmp_path.iterdir())
    more: list[object] = [model] if command == ["diff"] else [] if command else ["-o", tmp_path / "out.onnx"]
    outcome = run(*command, bad, *more)
    outcome.fails(2, str(bad), words)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            "--passes fuze-conv-bn-relu",
            "column 1: unknown pass 'fuze-conv-bn-relu' (did you mean 'fuse-conv-bn-relu'?)",
        ),
        ("--passes fold,", "column 6"),
        ("--fuse-conv-bn", "--fuse-conv-bn-relu"),
        ("--explain secnd", "no node or value 'secnd' (did you mean 'second'"),
        ("--print-after fuse", "no pass 'fuse' (did you mean 'fuse-conv-bn-relu'?)"),
        ("-O9", "-O"),
        ("--dim n", "--dim n: not a dim and its size"),
        ("--dim n=x", "--dim n=x"),
        ("--dim n=1:0", "upper limit is below"),
        ("--dim n=-1", "--dim n=-1"),
        ("--dim m=1", "no input has a dim 'm'"),
        ("--dim n=1,n=2", "given twice"),
        ("--shape x", "not an input and its shape"),
        ("--shape x=1xb", "not an input and its shape"),
        ("--shape z=1x4", "no input 'z' (it has x)"),
        ("--shape x=1x4x2", "has 2 dims"),
        ("--shape x=1x5", "is 4, it cannot be 5"),
        ("--shape x=1x4 --dim n=2", "'n' is 1 in one option and 2 in another"),
        ("--target tpu", "tpu"),
        ("--tolerance x", "is no error bound"),
        ("--samples 0", "--samples"),
        ("--data missing.npz", "missing.npz"),
        ("-o missing/out.onnx", "there is no folder"),
        ("--passes missing.py:f", "no such Python file"),
        ("--strip-op", "--strip-op"),
    ],
)
def test_bad_usage(flags: str, words: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    run(model, *flags.split()).fails(2, words)
    assert sorted(tmp_path.iterdir()) == before


def test_no_runtime_is_one_clear_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    run(model).fails(2, "pip install 'onnx-opt[gpu]' or 'onnx-opt[cpu]'", "--no-validate")


def test_a_target_that_lacks_an_operator(tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.onnx", ONE_NODE.format(opset=18, nodes="[u] y, i, j, k = Unique(x)"))
    run(bad, "--target", "tensorrt").fails(3, "node 'u': tensorrt has no operator Unique")
    assert list(tmp_path.iterdir()) == [bad]


def test_a_failing_pass_is_one_line(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def fail(graph):\n    graph.nodes.clear()\n    raise ValueError('two\\nlines')\n"
    )
    outcome: Outcome = run(model, "--passes", f"{tmp_path}/mine.py:fail")
    outcome.fails(1, "failed and was undone: ValueError: two lines")


def test_a_traceback_only_when_asked_for(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def fail(graph):\n    raise ValueError('no')\n")
    outcome = run(model, "--passes", f"{tmp_path}/mine.py:fail", "--traceback")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
