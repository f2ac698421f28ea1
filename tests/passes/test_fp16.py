"""`fp16` and `bf16` from end to end: options, proof, and what is taken back."""

from __future__ import annotations

import onnx
import pytest

import onnx_opt
from onnx_opt.ir import to_bytes
from onnx_opt.pipeline import Pipeline
from onnx_text import parse

MODEL = "g (float[N,4] x) => (float[N,4] y) <float[4,4] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7}> { a = MatMul (x, w) y = Tanh (a) }"


def optimized(text: str, pipeline: str, **how):
    return onnx_opt.optimize(parse(text).SerializeToString(), pipeline, **how)


def model_of(result) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(to_bytes(result.model))


@pytest.mark.parametrize(
    "text",
    [
        "fp16",
        "fp16{keep-io=false}",
        "fp16{block=[Softmax,/decoder/*,'com.microsoft::*'],allow=[MatMul]}",
        "bf16{block=[Exp]}",
    ],
)
def test_pipeline_text_comes_back(text):
    pipeline = Pipeline.parse(text)
    assert Pipeline.parse(str(pipeline)) == pipeline
    assert pipeline.lowers_to == {"fp16": "float16", "bf16": "bfloat16"}[text[:4]]


def test_no_preset_changes_precision():
    assert not any(Pipeline.preset(level).lowers_to for level in range(4))


def test_it_is_proven_and_the_weights_are_half_precision():
    result = optimized(MODEL, "fp16")
    assert result.report.status == "proven"
    assert [t.data_type for t in model_of(result).graph.initializer] == [10]


def test_the_users_tolerance_counts():
    text = "g (float[64] x) => (float[64] y, float[64] z) { y = Tanh (x) z = Sigmoid (y) }"
    result = optimized(text, "fp16{keep-io=false}", tolerance=1e-6)
    assert result.report.status == "proven"
    assert [node.op_type for node in model_of(result).graph.node] == ["Tanh", "Sigmoid"]
    assert any("the model stays in FP32" in warning for warning in result.report.warnings)


def test_a_half_precision_interface_is_fed_and_compared():
    result = optimized(MODEL, "fp16{keep-io=false}")
    assert result.report.status == "proven"
    graph = model_of(result).graph
    assert [v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)] == [10, 10]


def test_reasons_are_explained():
    result = optimized(
        MODEL.replace("Tanh", "Det").replace("[N,4] y", "[] y").replace("[N,4] x", "[4,4] x"), "fp16{block=[Det]}"
    )
    assert any("it is blocked (Det)" in line for line in result.explain("y"))


def test_bf16_is_judged_without_the_runtime_that_has_no_kernels():
    result = optimized(MODEL, "bf16")
    assert result.report.status == "proven"
    assert any("not run in ONNX Runtime" in note for note in result.report.notes)
    assert [t.data_type for t in model_of(result).graph.initializer] == [16]


def test_bf16_is_not_for_the_processor():
    result = optimized(MODEL, "bf16", target="ort-cpu")
    assert [t.data_type for t in model_of(result).graph.initializer] == [1]
    assert any("ort-cpu has no bfloat16" in line for line in result.explain("y"))
