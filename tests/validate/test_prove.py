"""Verdicts: what is proven, what fails and why, what stays unproven."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from onnx_opt.validate import Reference, prove

RELU = "g (float[N, L] x) => (float[N, L] y) { y = Relu(x) }"


def test_a_model_does_what_it_does(model):
    verdict = prove(model(RELU), model(RELU), exact=True)
    assert verdict.proven
    assert "equal to the bit on 12 inputs" in verdict.reason
    assert verdict.feeds == 12
    assert verdict.sizes["N"][0] == 1
    assert verdict.outputs[0].figures.bit_equal


def test_a_verdict_is_plain_data(model):
    for candidate in (RELU, RELU.replace("Relu", "Exp"), RELU.replace("y = Relu(x)", "z = Log(x) y = Sqrt(z)")):
        report = json.loads(json.dumps(prove(model(RELU), model(candidate)).to_json(), allow_nan=False))
        assert report["status"] in ("proven", "failed")
        assert report["outputs"][0]["name"] == "y"


def test_rounding_passes_unless_every_bit_counts(model):
    c, d = np.float32(0.1), np.float32(0.3)
    before = model("g (float[N] x) => (float[N] y) { a = Mul(x, c) y = Mul(a, d) }", c=c, d=d)
    after = model("g (float[N] x) => (float[N] y) { y = Mul(x, c) }", c=c * d)
    verdict = prove(before, after)
    assert verdict.proven
    assert "of the tolerance" in verdict.reason
    verdict = prove(before, after, exact=True)
    assert verdict.failed
    assert "ULP" in verdict.reason


def test_a_weight_that_is_one_percent_off(model):
    w = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    other = w.copy()
    other[5, 7] *= 1.01
    text = "g (float[N, 64] x) => (float[N, 64] y) { a = MatMul(x, w) y = Tanh(a) }"
    assert prove(model(text, w=w), model(text, w=other)).failed


def test_an_error_at_some_sizes_only(model):
    before = model("g (float[N, L] x) => (float[N, L] y) { y = Softmax <axis = 1> (x) }")
    right = model("g (float[N, L] x) => (float[N, L] y) { s = Shape(x) a = Softmax <axis = 1> (x) y = Reshape(a, s) }")
    assert prove(before, right).proven
    fixed = model(
        "g (float[N, L] x) => (float[N, L] y) { a = Softmax <axis = 1> (x) y = Reshape(a, shape) }",
        shape=np.array([-1, 5]),
    )
    verdict = prove(before, fixed)
    assert verdict.failed
    assert "N=" in verdict.reason or "L=" in verdict.reason


def test_a_rewrite_that_confuses_two_axes_of_equal_size(model):
    """Where both sizes are the same it even runs."""
    before = model("g (float[N, L] x, float[L] b) => (float[N, L] y) { y = Add(x, b) }")
    after = model(
        "g (float[N, L] x, float[L] b) => (float[N, L] y) { t = Transpose(x) a = Add(t, b) y = Transpose(a) }"
    )
    assert prove(before, after).failed


def test_an_error_in_nan_only(model):
    before = model("g (float[N] x) => (float[N] y) { y = Sqrt(x) }")
    after = model("g (float[N] x) => (float[N] y) { r = Relu(x) y = Sqrt(r) }")
    verdict = prove(before, after)
    assert verdict.failed
    assert "NaN in only one of the two" in verdict.reason


def test_an_error_in_the_sign_of_zero(model):
    before = model("g (float[N] x) => (float[N] y) { y = Add(x, z) }", z=np.float32(0.0))
    after = model("g (float[N] x) => (float[N] y) { y = Identity(x) }")
    assert prove(before, after).proven
    assert prove(before, after, exact=True).failed


def test_an_integer_overflow_that_is_lost(model):
    text = "g (int32[N] x) => (int32[N] y) {{ {} }}"
    before = model(text.format("a = Mul(x, c) y = Div(a, c)"), c=np.int32(1 << 17))
    after = model(text.format("y = Identity(x)"))
    verdict = prove(before, after)
    assert verdict.failed
    assert "elements differ" in verdict.reason


def test_an_output_of_another_type_or_shape(model):
    text = "g (float[N] x) => ({}[{}] y) {{ {} }}"
    before = model(text.format("float", "N", "y = Relu(x)"))
    wide = model(text.format("double", "N", "r = Relu(x) y = Cast <to = 11> (r)"))
    assert "was tensor(float) and became tensor(double)" in prove(before, wide).reason
    flat = model(text.format("float", "1, N", "r = Relu(x) a = Constant <value = int64[1] {0}> () y = Unsqueeze(r, a)"))
    assert "interface differs" in prove(before, flat).reason


def test_a_shape_that_differs_behind_a_loose_declaration(model):
    text = "g (float[N, 1] x) => (float[A, B] y) {{ {} }}"
    before = model(text.format("y = Relu(x)"))
    after = model(text.format("r = Relu(x) y = Transpose(r)"))
    verdict = prove(before, after)
    assert verdict.failed
    assert "shape differs" in verdict.reason


def test_names_and_order_of_inputs_and_outputs(model):
    before = model("g (float[N] a, float[N] b) => (float[N] y) { y = Sub(a, b) }")
    swapped = model("g (float[N] b, float[N] a) => (float[N] y) { y = Sub(a, b) }")
    assert "the inputs a, b became b, a" in prove(before, swapped).reason
    renamed = model("g (float[N] a, float[N] b) => (float[N] z) { z = Sub(a, b) }")
    assert "the outputs y became z" in prove(before, renamed).reason
    fewer = model("g (float[N] a) => (float[N] y) { y = Sub(a, a) }")
    assert "the inputs a, b became a" in prove(before, fewer).reason


def test_an_input_may_not_become_narrower_unless_the_user_fixed_it(model):
    fixed = model("g (float[2, L] x) => (float[2, L] y) { y = Relu(x) }")
    verdict = prove(model(RELU), fixed)
    assert verdict.failed
    assert "'x' was tensor(float)[NxL] and became tensor(float)[2xL]" in verdict.reason
    verdict = prove(model(RELU), fixed, dims={"N": 2})
    assert verdict.proven
    assert verdict.sizes["N"] == [2]
    assert prove(model(RELU), fixed, shapes={"x": [2, 5]}).proven


def test_outputs_may_become_more_precise(model):
    loose = model("g (float[2, 3] x) => (float[A, B] y) { y = Relu(x) }")
    precise = model("g (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }")
    assert prove(loose, precise).proven


def test_an_overridable_initializer_must_stay_so(model):
    text, value = "g (float[N] x, float[1] b = {2.5}) => (float[N] y) { y = Add(x, b) }", np.array([2.5], np.float32)
    after = model("g (float[N] x) => (float[N] y) { y = Add(x, b) }", b=value)
    assert "could be overridden" in prove(model(text), after).reason
    verdict = prove(model(text), model(text.replace("(x, b)", "(x, c)"), c=value))
    assert verdict.failed
    assert "overridden initializers" in verdict.reason


def test_a_candidate_that_does_not_load(model):
    assert "loads the original but not the candidate" in prove(model(RELU), b"garbage").reason
    assert prove(model(RELU), model(RELU.replace("Relu(x)", "Relu(x, x)"))).failed


def test_a_candidate_that_refuses_a_size(model):
    after = model("g (float[N, L] x) => (float[N, L] y) { r = Relu(x) y = Reshape(r, s) }", s=np.array([2, 5]))
    verdict = prove(model(RELU), after)
    assert verdict.failed
    assert "refuses an input that the original accepts" in verdict.reason


def test_a_candidate_with_an_unknown_operator_is_unproven(model):
    header = '<ir_version: 8, opset_import: ["": 17, "acme": 1]>\n'
    verdict = prove(model(RELU), model(header + RELU.replace("Relu", "acme.Fused")))
    assert verdict.status == "unproven"
    assert "acme::Fused" in verdict.reason


def test_an_original_that_runs_nowhere_is_unproven(model):
    data = model(
        "g (float[N] x) => (float[2] y, float[3] z) { y = Reshape(x, two) z = Reshape(x, three) }",
        two=np.array([2]),
        three=np.array([3]),
    )
    verdict = prove(data, data)
    assert verdict.status == "unproven"
    assert "runs on none of" in verdict.reason


def test_agreement_on_nan_alone_proves_nothing(model):
    data = model("g (float[N] x) => (float[N] y, float[N] z) { y = Add(x, c) z = Relu(x) }", c=np.float32(np.nan))
    verdict = prove(data, data)
    assert verdict.status == "unproven"
    assert "1 of 2 outputs proven" in verdict.reason


def test_sequences_and_maps_as_outputs(model):
    header = '<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 3]>\n'
    text = (
        header
        + """g (float[N, 3] x) => (seq(map(int64, float)) y) {
        s = Softmax(x)
        y = ai.onnx.ml.ZipMap <classlabels_int64s = [1, 2, 3]> (s)
    }"""
    )
    assert prove(model(text), model(text)).proven
    assert prove(model(text), model(text.replace("1, 2, 3", "1, 3, 2"))).failed


def test_a_tolerance_of_the_users_own(model):
    before = model("g (float[N] x) => (float[N] y) { y = Mul(x, c) }", c=np.float32(1))
    after = model("g (float[N] x) => (float[N] y) { y = Mul(x, c) }", c=np.float32(1.001))
    assert prove(before, after).failed
    assert prove(before, after, tolerance=0.01).proven
    assert prove(before, after, tolerance={"y": (0.01, 0.0)}).proven


def test_files_and_external_data(model, tmp_path):
    data = model("g (float[N, 100] x) => (float[N, 100] y) { y = Add(x, w) }", w=np.arange(100, dtype=np.float32))
    plain, external = tmp_path / "a.onnx", tmp_path / "b.onnx"
    plain.write_bytes(data)
    onnx.save(onnx.load(plain), external, save_as_external_data=True, location="b.data", size_threshold=0)
    assert prove(plain, external, exact=True).proven
    assert prove(external, external.read_bytes()).proven, "bytes find their data beside the original"


def test_one_reference_serves_many_candidates(model, monkeypatch):
    reference = Reference(model(RELU))
    assert prove(reference, model(RELU)).proven
    records = reference.records
    monkeypatch.setattr(Reference, "_run", lambda self: pytest.fail("the original ran again"))
    assert prove(reference, model(RELU.replace("Relu", "Abs"))).failed
    assert prove(reference, model(RELU)).proven
    assert reference.records is records


def test_quick_meets_the_telling_feed_first(model):
    reference = Reference(model("g (float[N] x) => (float[N] y) { y = Min(x, c) }", c=np.float32(200)))
    wrong = model("g (float[N] x) => (float[N] y) { y = Identity(x) }")
    assert prove(reference, wrong, quick=True).feeds > 1
    verdict = prove(reference, wrong, quick=True)
    assert verdict.failed
    assert verdict.feeds == 1


def test_progress_is_told(model):
    said: list[str] = []
    prove(model(RELU), model(RELU), progress=said.append)
    assert any("original" in text for text in said)
    assert any("comparing" in text for text in said)


HIDDEN = """g (float[N, 64] x) => (float[N, 64] y) {
    a = MatMul(x, w)
    b = Tanh(a)
    c = Mul(b, tiny)
    y = Add(x, c)
}"""


def test_inner_values_show_what_hardly_reaches_the_outputs(model):
    w, tiny = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32), np.float32(1e-7)
    before, after = model(HIDDEN, w=w, tiny=tiny), model(HIDDEN, w=w * np.float32(1.01), tiny=tiny)
    assert prove(before, after).proven
    verdict = prove(before, after, inner=8)
    assert verdict.failed
    assert "inner value 'a'" in verdict.reason
    assert [output.name for output in verdict.outputs] == ["y"]


def test_inner_values_may_change_type_and_shape(model):
    before = model("g (float[N, 4] x) => (float[N, 4] y) { a = Exp(x) b = Neg(a) y = Relu(b) }")
    turned = "t = Transpose(x) a = Exp(t) c = Transpose(a) b = Neg(c) y = Relu(b)"
    after = model("g (float[N, 4] x) => (float[N, 4] y) { " + turned + " }")
    verdict = prove(before, after, inner=8)
    assert verdict.proven
    assert "2 inner values compared" in verdict.notes


NOISY = {"c": np.float32(1e7), "k": np.float32(1e-7), "m": np.float32(200)}


def test_quick_goes_on_where_the_first_difference_is_only_noise(model):
    """`y` is rounding and nothing else, on every feed; `z` is wrong where inputs are large."""
    steps = "s = Sin(x) e = Exp(s) l = Log(e) d = Sub(s, l)"
    before = model("g (float[N] x) => (float[N] y, float[N] z) { " + steps + " y = Mul(d, c) z = Min(x, m) }", **NOISY)
    after = model("g (float[N] x) => (float[N] y, float[N] z) { " + steps + " y = Div(d, k) z = Identity(x) }", **NOISY)
    assert prove(before, after, quick=True).failed
