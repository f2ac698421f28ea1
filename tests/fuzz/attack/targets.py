"""What is fuzzed. Each takes bytes and raises nothing but for a bug: errors that a user is meant to see are caught."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from onnx_opt.checks import check_model
from onnx_opt.cli import costs, inspect
from onnx_opt.errors import OnnxOptError, PassError
from onnx_opt.evaluate import evaluate
from onnx_opt.ir import Graph, load, to_bytes
from onnx_opt.passes import PassContext
from onnx_opt.pipeline import Pipeline
from onnx_opt.report import measure
from onnx_opt.target import find_target
from onnx_opt.text import format_graph
from onnx_opt_passes.steps import constants


def load_model(data: bytes, level: int = 1) -> None:
    """A model is refused in one line, or loaded, shown, optimized, written, and then it is still a model."""
    try:
        graph = load(data)
        assert to_bytes(graph) == data, "saved without a change, and yet different"
        check_model(graph.model)
        _show(graph)
        measure(graph)
    except OnnxOptError as error:
        _check_line(error)
        return
    optimize(graph, level)


def optimize(graph: Graph, level: int) -> None:
    """The passes of a preset leave a model that can be read, whatever it was before."""
    try:
        with _numpy_alone():
            Pipeline.preset(level).run(graph, PassContext(target=find_target("portable")))
    except PassError:
        raise
    except OnnxOptError as error:
        _check_line(error)
        return
    measure(graph)
    try:
        check_model(load(to_bytes(graph)).model)
    except OnnxOptError as error:
        raise AssertionError("the optimized model can't be read") from error


def parse_pipeline(data: bytes) -> None:
    """A pipeline text is refused in one line, or read, and means the same once written."""
    text = data.decode(errors="surrogateescape")
    try:
        pipeline = Pipeline.parse(text)
    except OnnxOptError as error:
        _check_line(error)
        return
    assert str(Pipeline.parse(str(pipeline))) == str(pipeline)


TARGETS = {"load": load_model, "optimize": partial(load_model, level=3), "pipeline": parse_pipeline}


def _show(graph: Graph) -> None:
    "\n".join(inspect.lines("model", inspect.describe(graph) | costs.describe(graph, 10)))
    format_graph(graph)


def _check_line(error: OnnxOptError) -> None:
    text = str(error)
    assert text and text.isprintable(), repr(text)
    assert len(text) < 2000, f"{len(text)} characters"


@contextmanager
def _numpy_alone() -> Iterator[None]:
    """Folding without ONNX Runtime: what that does to hostile operands is not under test here."""
    constants.evaluate = partial(evaluate, onnxruntime=False)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        constants.evaluate = evaluate  # type: ignore[attr-defined]
