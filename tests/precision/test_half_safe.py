"""Rewrites that keep FP16 from overflowing; that they hold for every input, tests/rules tries."""

import numpy as np
import pytest

import onnx_opt
from onnx_opt.ir import load, to_bytes
from onnx_opt.passes import PassContext
from onnx_opt.rewrite import apply_rules
from onnx_opt_rules import half_safe
from onnx_text import describe, parse


def rewritten(text: str, rules):
    import onnx

    graph = load(parse(text))
    count = apply_rules(graph, PassContext(), rules)
    return onnx.ModelProto.FromString(to_bytes(graph)), count


def test_scores_are_scaled_before_the_product():
    model, _ = rewritten(
        "g (float[2,4] q, float[4,3] k) => (float[2,3] y) <float d = {8.0}> { s = MatMul(q, k) y = Div(s, d) }",
        [half_safe.scale_before_product],
    )
    wanted = "g (float[2,4] q, float[4,3] k) => (float[2,3] y) <float d = {8.0}> { s = Div(q, d) y = MatMul(s, k) }"
    assert describe(model) == describe(parse(wanted))


def test_scores_that_are_scaled_up_or_come_from_weights_stay():
    up = "g (float[2,4] q, float[4,3] k) => (float[2,3] y) <float d = {8.0}> { s = MatMul(q, k) y = Mul(s, d) }"
    weights = """g (float[2,4] q) => (float[2,1] y) <float d = {8.0}, float[4,1] k = {1, 2, 3, 4}> {
        s = MatMul(q, k) y = Div(s, d) }"""
    for text in (up, weights):
        assert rewritten(text, [half_safe.scale_before_product])[1] == 0


@pytest.mark.parametrize("size", [100, 4000])
def test_mean_of_many_is_divided_first_where_the_sum_would_overflow(size):
    source = parse(f"g (float[1,{size}] x) => (float[1,1] y) {{ y = ReduceMean<axes=[1]>(x) }}")
    data = [{"x": np.full((1, size), 30, np.float32)}]
    result = onnx_opt.optimize(source, "fp16", data=data, samples=0)
    assert result.report.rewrites["fp16", "divide-before-sum"] == (size > 1000)
    assert result.report.proof["half"]["true_half_precision"] < 2e-3
    assert result.report.measured["fp16"]["by_range"] == 0


def test_nothing_is_rewritten_where_nothing_overflows():
    source = parse(
        "g (float[2,4] x) => (float[2,1] y) { s = Mul(x, x) r = ReduceSum<keepdims=1>(s, a) y = Sqrt(r) }".replace(
            "=> (float[2,1] y)", "=> (float[2,1] y) <int64[1] a = {1}>"
        )
    )
    result = onnx_opt.optimize(source, "fp16", data=[{"x": np.ones((2, 4), np.float32)}], samples=0)
    assert {rule for _, rule in result.report.rewrites} == {"lower"}
