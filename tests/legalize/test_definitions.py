"""Operators that TensorRT lacks, or takes in some forms only, are written as the ONNX specification defines them."""

import numpy as np
import onnx
import pytest

from onnx_opt.ir import to_bytes
from onnx_opt.validate import Reference, prove
from onnx_text import expect_unchanged, parse, run

LEGALIZE = "legalize"
ATTENTION = """<ir_version: 10, opset_import: ["" : 23]>
    g ({dtype}[B,2,L,4] q, {dtype}[B,2,S,4] k, {dtype}[B,2,S,{size}] v) => ({dtype}[B,2,L,{size}] y) {{
        y = Attention {attributes} (q, k, v)
    }}"""


def legalized(text, gone):
    """The operators of the legalized model, which is proven to compute the same."""
    source = parse(text)
    graph, _ = run(source, LEGALIZE, "tensorrt")
    result = to_bytes(graph)
    onnx.checker.check_model(onnx.ModelProto.FromString(result), full_check=True)
    verdict = prove(Reference(source.SerializeToString()), result)
    assert verdict.status == "proven", verdict.reason
    found = [node.op for node in graph]
    assert gone not in found
    return found


@pytest.mark.parametrize("attributes", ["", "<scale = 0.5>", "<is_causal = 1>", "<softcap = 2.0>"])
@pytest.mark.parametrize("size", [4, 3])
def test_attention_in_fp32(attributes, size):
    text = ATTENTION.format(dtype="float", size=size, attributes=attributes)
    assert "Softmax" in legalized(text, "Attention")


def test_attention_of_one_value_three_times_would_crash_the_parser():
    text = """<ir_version: 10, opset_import: ["" : 23]>
        g (float[B,2,L,4] x) => (float[B,2,L,4] y) { y = Attention (x, x, x) }"""
    assert "Softmax" in legalized(text, "Attention")


def test_attention_that_a_fused_kernel_covers_stays():
    expect_unchanged(
        ATTENTION.format(dtype="float16", size=4, attributes="<is_causal = 1>"),
        LEGALIZE,
        "a fused kernel covers it",
        target="tensorrt",
    )


def test_losses():
    text = "g (float[N,5,D] x, int64[N,D] t) => (float y) { y = SoftmaxCrossEntropyLoss (x, t) }"
    source = parse(text)
    graph, _ = run(source, LEGALIZE, "tensorrt")
    assert "SoftmaxCrossEntropyLoss" not in {node.op for node in graph}
    rng = np.random.default_rng(3)
    feed = {"x": rng.normal(size=(2, 5, 3)).astype(np.float32), "t": rng.integers(0, 5, (2, 3))}
    reference = Reference(source.SerializeToString(), data=feed)
    assert prove(reference, to_bytes(graph)).status == "proven"


@pytest.mark.parametrize("opset", [17, 18])
def test_the_statistics_of_a_normalization_are_computed_beside_it(opset):
    found = legalized(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[N,3,4] x, float[3,4] s) => (float[N,3,4] y, float[N,1,1] m, float[N,1,1] d) {{
            y, m, d = LayerNormalization <axis = 1> (x, s)
        }}""",
        "",
    )
    assert sorted(found) == sorted(
        ["LayerNormalization", "ReduceMean", "ReduceMean", "Sub", "Mul", "Add", "Sqrt", "Reciprocal"]
    )


def test_statistics_that_nobody_reads_are_not_asked_for():
    found = legalized("g (float[N,4] x, float[4] s) => (float[N,4] y) { y, m, d = LayerNormalization (x, s) }", "")
    assert found == ["LayerNormalization"]


def test_a_definition_with_subgraphs_is_not_used():
    from onnx_opt.rewrite import apply_rules, op, rest, rule
    from onnx_opt.rewrite.definition import definition

    @rule(op.Range(rest("operands")))
    def spelled_out(root):
        return definition(root)

    graph, context = run("g (int64 a, int64 b, int64 c) => (int64[N] y) { y = Range (a, b, c) }", "", "tensorrt")
    assert apply_rules(graph, context, [spelled_out]) == 0
    assert any("subgraphs" in reason for reason in context.journal.reasons())
