"""Instability of the original as the measure of what a candidate may differ by."""

from __future__ import annotations

import numpy as np

from onnx_opt.validate import prove
from onnx_opt.validate.compare import Difference
from onnx_opt.validate.noise import explain

RNG = np.random.default_rng(5)


def test_an_argmax_over_ties_may_flip_as_in_the_original(model):
    """Every row of scores is many times the same number but for rounding: which is the largest is chance."""
    text = "g (float[N, 64] x) => (int64[N] y) {{ p = MatMul(x, v) {} y = ArgMax <axis = 1, keepdims = 0> (s) }}"
    v = np.ones((64, 256), np.float32) + RNG.uniform(-1e-7, 1e-7, (64, 256)).astype(np.float32)
    c = np.float32(0.3)
    verdict = prove(model(text.format("s = Mul(p, c)"), v=v, c=c), model(text.format("s = Identity(p)"), v=v * c))
    assert verdict.proven
    assert verdict.outputs[0].figures.mismatches > 0
    assert verdict.outputs[0].noise > 0
    assert "the original's own noise" in verdict.reason


def test_an_argmax_that_stands_still_may_not_flip(model):
    text = "g (float[N, 64] x) => (int64[N] y) { p = MatMul(x, v) y = ArgMax <axis = 1, keepdims = 0> (p) }"
    v = RNG.standard_normal((64, 10)).astype(np.float32)
    moved = v + np.float32(0.5) * RNG.standard_normal(v.shape).astype(np.float32)
    verdict = prove(model(text, v=v), model(text, v=moved))
    assert verdict.failed
    assert "elements differ" in verdict.reason


CHAOS = """g (float[N, 8] x) => (float[N, 8] y) {
    n = Constant <value = int64 {40}> ()
    yes = Constant <value = bool {1}> ()
    t = Sin(x)
    s = Abs(t)
    y = Loop (n, yes, s) <body = b (int64 i, bool c, float[N, 8] v) => (bool d, float[N, 8] w) {
        d = Identity(c)
        one = Constant <value = float {1.0}> ()
        four = Constant <value = float {3.99}> ()
        STEP
    }>
}"""


def test_a_chaotic_model_may_be_computed_in_another_order(model):
    """The logistic map doubles every rounding difference at every step."""
    before = model(CHAOS.replace("STEP", "r = Sub(one, v) p = Mul(v, r) w = Mul(four, p)"))
    after = model(CHAOS.replace("STEP", "r = Sub(one, v) q = Mul(four, v) w = Mul(q, r)"))
    verdict = prove(before, after)
    assert verdict.proven, verdict.reason
    assert verdict.outputs[0].figures.worst > 100
    assert verdict.outputs[0].noise > 100


def test_exactness_has_no_use_for_noise(model):
    before = model(CHAOS.replace("STEP", "r = Sub(one, v) p = Mul(v, r) w = Mul(four, p)"))
    after = model(CHAOS.replace("STEP", "r = Sub(one, v) q = Mul(four, v) w = Mul(q, r)"))
    assert prove(before, after, exact=True).failed


def test_a_wrong_constant_in_a_stable_model_is_not_excused(model):
    text = "g (float[N, 8] x) => (float[N, 8] y) { a = Mul(x, c) y = Tanh(a) }"
    verdict = prove(model(text, c=np.float32(1)), model(text, c=np.float32(1.0001)))
    assert verdict.failed
    assert verdict.outputs[0].noise < 1


def test_a_shape_that_hangs_on_rounding_is_unproven(model):
    """How many of many numbers come out larger by rounding alone."""
    text = "g (float[N, 512] x) => (int64[2, K] y) {{ s = Sin(x) e = Exp(s) l = Log(e) m = {} y = NonZero(m) }}"
    before, after = model(text.format("Greater(s, l)")), model(text.format("Greater(s, s)"))
    verdict = prove(before, after)
    assert verdict.status == "unproven"
    assert "hangs on rounding" in verdict.reason


def test_the_order_statistics_that_excuse_errors():
    def excused(errors, own) -> bool:
        reference = np.ones(1000, np.float32)
        trial = reference.copy()
        trial[: len(own)] += np.array(own, np.float32) * np.float32(2e-5 + 2e-6)
        return explain(Difference(ratios=np.array(errors, float)), "y", reference, [trial], None)[0]

    assert excused([3.9] * 4, [1.0])
    assert not excused([3.9] * 5, [1.0])
    assert not excused([4.1], [1.0])
    assert excused([390.0] * 4 + [3.9] * 4, [100.0, 1.0])
    assert not excused([390.0] * 5 + [3.9] * 3, [100.0, 1.0])
    assert not excused([1.1], [])
