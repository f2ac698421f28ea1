"""What the tests of the lowering to half precision share: they lower all that can be, whatever it costs."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import onnx.checker
import pytest

from onnx_opt.ir import Graph, to_bytes
from onnx_opt.passes import PassContext
from onnx_text import expect, run

Half = Callable[..., PassContext]


def unmeasured(pipeline: str) -> str:
    """The pipeline with its lowering by itself: what measuring finds is tested in test_choice."""
    head, _, rest = pipeline.partition(",") if "{" not in pipeline else (pipeline, "", "")
    name, _, options = head.partition("{")
    inner = options.removesuffix("}")
    return f"{name}{{{inner}{',' if inner else ''}measure=false}}{',' if rest else ''}{rest}"


@pytest.fixture
def half() -> Half:
    """`half(before, after)`: `fp16` turns one model into the other, which is valid and right up to rounding."""

    def check(before: str, after: str, options: str = "", **how: str) -> PassContext:
        return expect(before, after, unmeasured(f"fp16{options}"), lowered="float16", **how)

    return check


@pytest.fixture
def lowered() -> Callable[..., tuple[onnx.ModelProto, PassContext]]:
    """`lowered(before)`: the model after `fp16`, checked in full."""

    def check(before: str | onnx.ModelProto, pipeline: str = "fp16", target: str = "portable"):
        graph, context = run(before, unmeasured(pipeline), target)
        return checked(graph), context

    return check


def checked(graph: Graph) -> onnx.ModelProto:
    result = onnx.ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(result, full_check=True)
    return result
