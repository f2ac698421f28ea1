"""Models that ONNX Runtime does not run as they are: custom operators, random ones, versions that are too new."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_opt.validate import prove

CUSTOM = '<ir_version: 8, opset_import: ["": 17, "acme": 1]>\n'
AROUND = CUSTOM + "g (float[N, 4] x) => (float[N, 4] y) {{ a = Add(x, c) f = acme.Foo(a) y = {} }}"


def test_what_is_around_a_custom_operator_is_proven(model):
    before = model(AROUND.format("Relu(f)"), c=np.float32(1.5))
    verdict = prove(before, before)
    assert verdict.proven
    assert "acme::Foo given the same stand-in in both models" in verdict.notes[0]
    assert "acme::Foo" in verdict.reason


@pytest.mark.parametrize(("before", "after"), [("Relu(f)", "Identity(f)"), ("Relu(f)", "Relu(a)")])
def test_what_is_wrong_around_a_custom_operator_is_found(model, before, after):
    c = np.float32(1.5)
    assert prove(model(AROUND.format(before), c=c), model(AROUND.format(after), c=c)).failed


def test_what_is_wrong_before_a_custom_operator_is_found(model):
    text = AROUND.format("Relu(f)")
    assert prove(model(text, c=np.float32(1.5)), model(text, c=np.float32(1))).failed


def test_a_removed_operator_is_the_identity(model):
    before = model(AROUND.format("Relu(f)"), c=np.float32(1.5))
    after = model("g (float[N, 4] x) => (float[N, 4] y) { a = Add(x, c) y = Relu(a) }", c=np.float32(1.5))
    verdict = prove(before, after)
    assert verdict.proven
    assert "acme::Foo taken as the identity, as removing it does" in verdict.notes


def test_a_removed_operator_may_stand_for_another_input(model):
    before = model(CUSTOM + "g (float[N] x, float[N] z) => (float[N] y) { f = acme.Pick(x, z) y = Relu(f) }")
    after = model("g (float[N] x, float[N] z) => (float[N] y) { y = Relu(z) }")
    assert prove(before, after, removed={"acme::Pick": 1}).proven
    assert prove(before, after).failed


def test_a_model_is_cut_where_no_stand_in_fits(model):
    """A decoder makes an image from bytes: nothing of the right shape could stand in."""
    text = CUSTOM + "g (uint8[N] file) => (float[H, W, 1] y) {{ image = acme.Decode(file) y = MatMul(image, {}) }}"
    w = np.array([[1], [2], [3]], np.float32)
    before = model(text.format("w"), w=w)
    verdict = prove(before, before)
    assert verdict.proven
    assert "acme::Decode cut out of both models" in verdict.notes[0]
    assert prove(before, model(text.format("w"), w=w[::-1].copy())).failed


def test_custom_operators_inside_subgraphs(model):
    text = """g (bool c, float[N] x) => (float[N] y) {
        y = If (c) <
            then_branch = t () => (float[N] a) { f = acme.Foo(x) a = ACT(f) },
            else_branch = e () => (float[N] b) { b = Identity(x) }
        >
    }"""
    before = model(CUSTOM + text.replace("ACT", "Neg"))
    assert prove(before, before).proven
    assert prove(before, model(CUSTOM + text.replace("ACT", "Abs"))).failed


def test_a_standard_operator_without_a_kernel_is_no_custom_one(model):
    data = model("g (int16[N] x) => (int16[N] y) { y = Max(x, x) }")
    verdict = prove(data, data)
    assert verdict.status == "unproven"
    assert "no kernel for Max" in verdict.reason


RANDOM = """g (float[N, L] x) => (float[N, L] y) {
    r = RandomNormalLike <mean = 1.0, scale = 2.0> (x)
    a = Add(r, x)
    y = REST
}"""


def test_random_operators_are_stilled_alike(model):
    before = model(RANDOM.replace("REST", "Relu(a)"))
    verdict = prove(before, before)
    assert verdict.proven
    assert "1 random operators replaced" in verdict.notes[0]
    assert prove(before, model(RANDOM.replace("REST", "Abs(a)"))).failed


@pytest.mark.parametrize(
    "make",
    [
        "RandomUniform <shape = [3], low = -1.0, high = 2.0> ()",
        "RandomNormal <shape = [3]> ()",
        "RandomUniformLike <dtype = 1> (x)",
        "Bernoulli <dtype = 1> (p)",
    ],
)
def test_every_random_operator(model, make):
    data = model(f"g (float[3] x) => (float[3] y) {{ p = Sigmoid(x) r = {make} y = Mul(r, x) }}")
    verdict = prove(data, data)
    assert verdict.proven, verdict.reason
    assert "replaced" in verdict.notes[0]


def test_merging_two_random_operators_is_wrong(model):
    text = "g (float[N] x) => (float[N] y) {{ a = RandomNormalLike(x) {} y = Sub(a, b) }}"
    before = model(text.format("b = RandomNormalLike(x)"))
    assert prove(before, model(text.format("b = Identity(a)"))).failed


def test_other_random_outputs_are_compared_by_kind(model):
    text = """g (float[N] x) => (float[N] y, float[N] z) {
        yes = Constant <value = bool {1}> ()
        half = Constant <value = float {0.5}> ()
        y = Dropout(x, half, yes)
        z = Relu(x)
    }"""
    verdict = prove(model(text), model(text))
    assert verdict.status == "unproven"
    assert "1 of 2 outputs proven; output 'y': it is random" in verdict.reason
    assert prove(model(text), model(text.replace("Relu", "Neg"))).failed


def test_dropout_at_inference_is_not_random(model):
    data = model("g (float[N] x) => (float[N] y) { y = Dropout(x) }")
    verdict = prove(data, data, exact=True)
    assert verdict.proven
    assert not verdict.notes


def test_versions_that_are_too_new_are_lowered(model):
    text = '<ir_version: 99, opset_import: ["": 28]>\ng (float[N] x) => (float[N] y) {{ a = Relu(x) y = {}(a) }}'
    verdict = prove(model(text.format("Neg")), model(text.format("Neg")))
    assert verdict.proven, verdict.reason
    assert any("read as IR version" in note for note in verdict.notes)
    assert prove(model(text.format("Neg")), model(text.format("Abs"))).failed
