"""Engines from the command line: what is written and reported, and what goes wrong in one line."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import parser

import onnx_opt
from command import Outcome, run, start
from engine_support import needs_builder, write
from onnx_opt.emit.tensorrt import locate, modules
from onnx_opt.emit.tensorrt.engine import Engine
from onnx_opt.emit.tensorrt.profiles import read_profile

HEAD = '<ir_version: 8, opset_import: ["": 17, "acme": 1]>'
CONVOLUTION = f"""{HEAD} g (float[n, 2, 5, 5] x) => (float[n, 3, 5, 5] y)
<float[3, 2, 1, 1] w = {{1.0, -2.0, 3.0, 0.5, 0.25, -1.0}}, float[3] s = {{1.0, 2.0, 0.5}}, float[3] b = {{0.0, 1.0, -1.0}},
 float[3] m = {{0.5, 0.0, -0.5}}, float[3] v = {{1.0, 4.0, 0.25}}>
{{ [conv] c = Conv(x, w) [norm] n = BatchNormalization(c, s, b, m, v) [act] y = Relu(n) }}"""
PROFILE = "x=1x2x5x5:2x2x5x5:4x2x5x5"
FAST = ("--builder-level", "0")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine too, the node at fault is found."""
    monkeypatch.setattr(locate, "MOST_SECONDS", 1000.0)


@pytest.fixture
def convolution(tmp_path: Path) -> Path:
    return write(tmp_path / "convolution.onnx", CONVOLUTION)


def build(model: Path, *flags: str, target: Sequence[str] = ("--target", "tensorrt")) -> Outcome:
    """`onnx-opt MODEL --target tensorrt -o model.engine FLAGS`"""
    return run(str(model), "-o", str(model.with_name("model.engine")), *target, *FAST, *flags)


def expect_refused(model: Path, outcome: Outcome, *words: str, code: int = 3) -> None:
    """One line on stderr, exit code 3, and no file, hidden ones included."""
    assert outcome.code == code, outcome
    assert outcome.err.startswith("onnx-opt: error: ") and outcome.err.count("\n") == 1
    for word in words:
        assert word in outcome.err
    gc.collect()  # what the error was raised from
    assert {path.suffix for path in model.parent.iterdir() if path.name.startswith((".", "model."))} <= {".onnx"}


# -- what is written ------------------------------------------------------------------------------------------------


@needs_builder
def test_an_engine_and_its_figures(convolution: Path) -> None:
    outcome = build(convolution, "--profile", PROFILE, "--profile", "x=8x2x5x5", "--sm", "8.6,89", "--json")
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)["emitted"]
    assert figures["engine_file_bytes"] == convolution.with_name("model.engine").stat().st_size > 0
    assert len(figures["activation_memory_bytes"]) == 2 and figures["weight_memory_bytes"] > 0
    assert figures["layers_parsed"] == 2 and figures["builder_level"] == 0
    assert figures["compute_capabilities"] == ["8.6", "8.9"]
    assert figures["profiles"] == [PROFILE, "x=8x2x5x5:8x2x5x5:8x2x5x5"]
    (folded,) = figures["origins"].values()
    assert sorted(folded["nodes"]) == ["conv", "norm"]


@needs_builder
def test_the_table_on_the_terminal(convolution: Path) -> None:
    outcome = build(convolution, "--dim", "n=1:4")
    assert "TensorRT engine" in outcome.out and "x=1x2x5x5:4x2x5x5:4x2x5x5" in outcome.out


@needs_builder
def test_the_same_model_gives_the_same_engine(convolution: Path) -> None:
    engines = []
    for _ in range(2):
        assert build(convolution, "--dim", "n=2", "-q").code == 0
        engines.append(convolution.with_name("model.engine").read_bytes())
    assert engines[0] == engines[1]


@needs_builder
def test_half_precision_and_weight_streaming(convolution: Path) -> None:
    assert build(convolution, "--dim", "n=1", "--fp16", "--weight-streaming", "-q").code == 0


@needs_builder
def test_external_data(tmp_path: Path) -> None:
    path = tmp_path / "convolution.onnx"
    onnx.save(parser.parse_model(CONVOLUTION), str(path), save_as_external_data=True, size_threshold=0)
    assert build(path, "--dim", "n=1", "-q").code == 0


@needs_builder
def test_an_input_whose_content_is_a_shape(tmp_path: Path) -> None:
    text = f"{HEAD} g (float[1, 4] x, int64[2] s) => (float[a, b] y) {{ z = Relu(x) y = Expand(z, s) }}"
    model = write(tmp_path / "expand.onnx", text)
    refused = build(model)
    expect_refused(model, refused, "the content of input 's' is a shape", "--profile 's=[..]:[..]:[..]'")
    assert build(model, "--profile", "s=[1,4]:[2,4]:[8,4]", "-q").code == 0


@needs_builder
def test_the_library_and_its_progress(convolution: Path) -> None:
    result = onnx_opt.optimize(convolution, target="tensorrt", validate=False)
    engine = Engine(profiles=[read_profile(PROFILE)], level=0)
    engine.check()
    told: list[tuple[str, int, int]] = []
    figures = engine.emit(result, convolution.with_name("a.engine"), lambda *news: told.append(news))
    assert figures["profiles"] == [PROFILE] and convolution.with_name("a.engine").is_file()
    steps = [(done, total) for what, done, total in told if what == "engine: building engine"]
    assert len(steps) > 1 and steps == sorted(steps)


# -- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_wrong_target(convolution: Path) -> None:
    refused = build(convolution, target=())
    expect_refused(convolution, refused, "an engine is built for the target tensorrt, not for portable")


def test_flags_of_engines_without_an_engine(convolution: Path) -> None:
    refused = run(str(convolution), "-o", str(convolution.with_name("a.onnx")), "--refit")
    expect_refused(convolution, refused, "--refit has no effect: no engine is built", code=2)


def test_a_missing_module(convolution: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "BUILDERS", {"tensorrt": ("no_such_module",), "rtx": ()})
    expect_refused(convolution, build(convolution), "which is not installed", "pip install 'onnx-opt[rtx]'")


def test_a_module_that_cannot_be_loaded(convolution: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(convolution.parent, "broken_builder", "raise ImportError('libnvinfer.so.11: no such file')", monkeypatch)
    refused = build(convolution)
    expect_refused(convolution, refused, "the module 'broken_builder' cannot be loaded: libnvinfer.so.11: no such file")


@needs_builder
def test_a_builder_that_crashes(convolution: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(convolution.parent, "crashing_builder", CRASHING.format(module=modules.find_builder()), monkeypatch)
    expect_refused(convolution, build(convolution, "--dim", "n=1"), "the builder crashed (SIGABRT) while")


@needs_builder
@pytest.mark.skipif(modules.find_builder() == "tensorrt", reason="seen with TensorRT for RTX 1.7")
def test_a_node_that_is_known_to_crash_the_builder(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 23]>
    g (float16[1, 2, 8, 16] x) => (float16[1, 2, 8, 16] y) { [attention] y = Attention(x, x, x) }"""
    model = write(tmp_path / "attention.onnx", text)
    expect_refused(model, build(model, "-O0"), "node 'attention': the builder crashed", "its queries are its keys")


@needs_builder
def test_the_node_that_the_builder_refuses_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A builder that refuses any network with a layer for Tan, and does not say which."""
    install(tmp_path, "refusing_builder", REFUSING.format(module=modules.find_builder()), monkeypatch)
    text = f"{HEAD} g (float[4] x) => (float[4] y) {{ [a] a = Relu(x) [bad] b = Tan(a) [c] c = Exp(b) [d] y = Neg(c) }}"
    model = write(tmp_path / "tan.onnx", text)
    refused = build(model, "-O0", "--no-validate")
    expect_refused(model, refused, "node 'bad': the builder refuses: it gives no reason, at Tan", "--builder-level")


@needs_builder
def test_a_builder_that_takes_too_long(convolution: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(convolution.parent, "slow_builder", SLOW.format(module=modules.find_builder()), monkeypatch)
    refused = build(convolution, "--dim", "n=1", "--no-validate", "--timeout", "4")
    expect_refused(convolution, refused, "not done after 4 s", code=1)


@needs_builder
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_the_builder_too(convolution: Path) -> None:
    folder = convolution.parent / "modules"
    folder.mkdir()
    slow = SLOW.replace("time.sleep", f"open({str(folder / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep")
    (folder / "tensorrt.py").write_text(slow.format(module=modules.find_builder()))
    paths = os.pathsep.join([str(folder), *sys.path])
    line = [convolution, "-o", convolution.with_name("model.engine"), "--target", "tensorrt", "--dim", "n=1"]
    process = start(*line, env={**os.environ, "PYTHONPATH": paths})
    pid = number_in(folder / "pid", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert {path.name for path in convolution.parent.iterdir()} == {convolution.name, "modules"}


def number_in(path: Path, process: subprocess.Popen[str]) -> int:
    """What the file holds once it is there."""
    for _ in range(2400):
        if path.is_file() and path.read_text():
            return int(path.read_text())
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the builder did not start")


@needs_builder
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), ("dim 'n' of input 'x' is dynamic and has no largest size", "--dim n=1:32")),
        (("--profile", "x=1x2x5"), ("input 'x' has 4 dims, the profile has 3",)),
        (("--profile", "z=1x2x5x5"), ("the model has no input 'z'",)),
        (("--dim", "n=1", "--sm", "1"), ("--sm 1: ", "builds for no such compute capability")),
        (("--dim", "n=1", "--sm", "new"), ("'new' is no compute capability",)),
        (("--dim", "n=1", "--workspace", "1"), ("the builder refuses: the workspace is too small",)),
    ],
)
def test_what_the_builder_cannot_do(convolution: Path, flags: tuple[str, ...], words: tuple[str, ...]) -> None:
    expect_refused(convolution, build(convolution, *flags), *words)


@needs_builder
@pytest.mark.skipif(modules.find_builder() == "tensorrt", reason="TensorRT itself can do these")
@pytest.mark.parametrize("flags", [("--version-compatible",), ("--timing-cache", "cache")])
def test_what_only_tensorrt_itself_can_do(convolution: Path, flags: tuple[str, ...]) -> None:
    expect_refused(convolution, build(convolution, "--dim", "n=1", *flags), flags[0], "leave it out")


@needs_builder
def test_a_rejected_node(tmp_path: Path) -> None:
    text = f"{HEAD} g (float[4] x) => (float[4] y) {{ [bad] a = acme.Foo(x) [worse] y = acme.Bar(a) }}"
    model = write(tmp_path / "rejected.onnx", text)
    expect_refused(
        model, build(model), f"{model}: node 'bad': TensorRT rejects acme::Foo: ", "--strip-op acme::Foo", "1 more: "
    )


@needs_builder
def test_a_wrong_type(tmp_path: Path) -> None:
    """The parser would make it float32 without a word."""
    text = f"{HEAD} g (float[4] x) => (double[4] y) {{ [act] a = Relu(x) [cast] y = Cast<to = 11>(a) }}"
    model = write(tmp_path / "double.onnx", text)
    expect_refused(model, build(model), "node 'cast': 'y' is float64 in the model and would silently be float32")


# -- builders that go wrong -----------------------------------------------------------------------------------------

CRASHING = """
import os
from {module} import *
from {module} import __version__

class Builder(Builder):
    def build_serialized_network(self, network, config):
        os.abort()
"""
REFUSING = CRASHING.replace(
    "        os.abort()",
    """        if any("bad" in network.get_layer(i).metadata for i in range(network.num_layers)):
            return None
        return super().build_serialized_network(network, config)""",
)
SLOW = CRASHING.replace("import os", "import os, time").replace("os.abort()", "time.sleep(60)")


def install(folder: Path, name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is taken for the builder."""
    (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(modules, "BUILDERS", {"tensorrt": (), "rtx": (name,)})
