"""NaN and infinities among the inputs: fed where it is defined what becomes of them, and where something does."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_opt.validate import Reference, prove


def origins(reference: Reference) -> list[str]:
    return [record.origin for record in reference.records if record.origin != "random"]


SPECIAL = ["random with NaN", "random with infinities"]


def test_both_are_fed(model):
    reference = Reference(model("g (float[N, 8] x) => (float[N, 8] y) { y = Relu(x) }"))
    assert origins(reference) == SPECIAL
    assert len(reference.records) == 12
    with_nan, with_infinities = reference.records[1:3]
    assert np.isnan(with_nan.feed["x"]).sum() == 1
    assert np.isinf(with_infinities.feed["x"]).any() and not np.isnan(with_infinities.feed["x"]).any()


@pytest.mark.parametrize(
    "body",
    [
        "y = ReduceMax <keepdims = 0> (x)",  # NaN only where it comes first
        "h = MaxPool <kernel_shape = [2]> (x) y = ReduceSum <keepdims = 0> (h)",
        "n = Constant <value_int = 2> () t = Constant <value = bool {1}> () y = Loop (n, t, x) <body = b (int64 i, bool c, float[A, B, C] s) => (bool d, float[A, B, C] r) { d = Identity(c) r = Neg(s) }>",
    ],
)
def test_nothing_is_fed_where_the_outcome_is_not_defined(model, body):
    assert origins(Reference(model(f"g (float[2, 3, 8] x) => (float[] y) {{ {body} }}"))) == []


def test_nothing_is_fed_that_leaves_nothing_to_compare(model):
    assert origins(Reference(model("g (float[8] x) => (float y) { y = ReduceSum <keepdims = 0> (x) }"))) == []
    assert origins(Reference(model("g (float[8] x) => (float y) { y = ReduceL1 <keepdims = 0> (x) }"))) == SPECIAL[1:]


def test_sizes_masks_and_single_numbers_are_spared(model):
    data = model(
        "g (float[4] scales, float[8] mask, float threshold, float[8] x) => (float[8] y) { a = Add(x, mask) b = Mul(a, threshold) s = ReduceSum(scales) y = Mul(b, s) }"
    )
    for record in Reference(data).records:
        assert all(np.isfinite(record.feed[name]).all() for name in ("scales", "mask", "threshold"))


def test_few_samples_and_stated_liberties_leave_them_out(model):
    data = model("g (float[N, 8] x) => (float[N, 8] y) { y = Relu(x) }")
    assert origins(Reference(data, samples=3)) == []
    assert origins(Reference(data, absent=frozenset({"NaN"}))) == []
    assert origins(Reference(data, absent=frozenset({"infinities"}))) == SPECIAL[:1]


def test_where_the_user_says_that_nothing_is_nan_nothing_is_compared(model):
    form = "g (float[N, 8] x) => (float[N, 8] y) { %s }"
    before, after = (
        model(form % "y = Div(x, x)"),
        model(form % "o = Constant <value = float {1}> () z = Sub(x, x) y = Add(z, o)"),
    )
    assert prove(before, after).failed
    assert prove(Reference(before, absent=frozenset({"NaN"})), after).proven
    assert prove(Reference(before, absent=frozenset({"NaN"})), model(form % "y = Identity(x)")).failed


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (
            "y = Sub(x, x)",
            "a = Abs(x) z = Constant <value = float {0}> () b = Min(a, z) y = Abs(b)",
            "random with infinities",
        ),
        ("y = Clip(x)", "y = Identity(x)", "random with infinities"),
        ("e = Equal(x, x) y = Cast <to = 1> (e)", "l = Less(x, x) n = Not(l) y = Cast <to = 1> (n)", "random with NaN"),
    ],
)
def test_what_differs_there_alone_is_found(model, before, after, reason):
    form = "g (float[N, 8] x) => (float[N, 8] y) { %s }"
    one, other = model(form % before), model(form % after)
    assert prove(one, other, samples=3).proven and prove(one, one).proven
    verdict = prove(one, other)
    assert verdict.failed and reason in verdict.reason
