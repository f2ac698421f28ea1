"""Dims before and after a rule, proven equal as expressions of the dynamic sizes."""

import numpy as np

from onnx_opt.harness import verify
from onnx_opt.harness.symbolic import unproven_dims
from onnx_opt.rewrite import op, rule
from onnx_text import parse

HEADER = '<ir_version: 10, opset_import: ["" : 18]>\n'


def dims(before: str, after: str) -> str | None:
    one, other = (parse(HEADER + text) for text in (before, after))
    for model in (one, other):
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
    return unproven_dims(one.SerializeToString(), other.SerializeToString())


FLATTENED = "g (float[n, 3, m] x) => (float[] y) <int64[2] s = {0, -1}> { y = Reshape(x, s) }"


def test_equal_dims_are_proven() -> None:
    assert dims(FLATTENED, "g (float[n, 3, m] x) => (float[] y) { y = Flatten <axis = 1> (x) }") == ""


def test_other_dims_are_not() -> None:
    text = dims(FLATTENED, "g (float[n, 3, m] x) => (float[] y) { y = Flatten <axis = 2> (x) }")
    assert text == "y: [n, 3*m] before, [3*n, m] after"
    text = dims(FLATTENED, "g (float[n, 3, m] x) => (float[] y) { y = Identity(x) }")
    assert text is not None and text.startswith("y: [n, 3*m] before, [n, 3, m] after")
    other = dims(FLATTENED, "g (float[n, 3, m] x) => (int64[] y) { y = Shape(x) }")
    assert other == "y: the element types differ"


def test_one_symbol_means_one_thing_in_both() -> None:
    computed = "g (float[n] x) => (int64[] y) { y = NonZero(x) }"
    assert dims(computed, "g (float[n] x) => (int64[] y) { z = NonZero(x) y = Identity(z) }") != ""


def test_what_branches_capture_keeps_its_meaning() -> None:
    before = """g (float[n] x, bool c) => (float[] y)
    { a = Neg(x) y = If (c) <then_branch = t () => (float[n] p) { p = Neg(a) }, else_branch = e () => (float[n] q) { q = Abs(a) }> }"""
    assert dims(before, before) == ""


def test_static_models_prove_nothing() -> None:
    static = "g (float[2, 3] x) => (float[] y) { y = Neg(x) }"
    assert dims(static, static) is None


def test_a_rule_whose_dims_are_proven() -> None:
    @rule(op.Abs(op.Neg("x")), opsets=(13, 22))
    def computed_shape(x):
        return op.Reshape(op.Abs(x), op.Shape(op.Identity(x)))

    report = verify(computed_shape, instances=16)
    assert report.passed and report.symbolic.status == "proven" and report.symbolic.checked > 2


def test_a_rule_whose_dims_agree_on_samples_alone() -> None:
    @rule(op.Abs(op.Neg("x")), opsets=(13, 22))
    def detour(x):
        known = op.Greater(op.Cast(op.Shape(x), to=1), np.float32(-1))  # sizes that the analyses lose
        return op.Reshape(op.Abs(x), op.Mul(op.Shape(x), op.Cast(known, to=7)))

    report = verify(detour, instances=16)
    assert report.passed, [failure.reason for failure in report.failures]
    assert report.symbolic.status == "not provable" and "before" in report.symbolic.reason
