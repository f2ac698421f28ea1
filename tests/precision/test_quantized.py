"""Quantized graphs: what runs in integers stays as it is, the rest becomes half precision around it."""

from __future__ import annotations

from onnx_text import expect_unchanged, reasons
from precision_models import casts

QDQ = """<ir_version: 9, opset_import: ["" : VERSION]>
g (float[1,2,4,4] x) => (float[1,2,2,2] y)
<float s = {0.1}, int8 z = {0}, int8[2,2,3,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}> {
    BEFORE
    a = QuantizeLinear (v, s, z) b = DequantizeLinear (a, s, z) k = DequantizeLinear (w, s, z)
    c = Conv (b, k) r = Relu (c) q = QuantizeLinear (r, s, z) d = DequantizeLinear (q, s, z)
    AFTER
}"""


def test_integer_kernels_stay():
    text = QDQ.replace("VERSION", "19").replace("BEFORE", "v = Identity (x)").replace("AFTER", "y = Identity (d)")
    expect_unchanged(text, "fp16", "it is computed in integers")


def test_the_rest_is_lowered_and_scales_too_where_the_operator_set_has_it(lowered):
    text = QDQ.replace("VERSION", "19").replace("BEFORE", "v = Tanh (x)").replace("AFTER", "y = Tanh (d)")
    model, _ = lowered(text)
    assert casts(model) == 2
    assert sum(tensor.data_type == 10 for tensor in model.graph.initializer) == 1


def test_before_that_the_pairs_stay_in_fp32(lowered):
    text = QDQ.replace("VERSION", "17").replace("BEFORE", "v = Tanh (x)").replace("AFTER", "y = Tanh (d)")
    model, context = lowered(text)
    assert [node.op_type for node in model.graph.node if node.op_type in ("Cast", "Tanh", "Conv")] == [
        "Cast", "Tanh", "Cast", "Conv", "Cast", "Tanh", "Cast",
    ]  # fmt: skip
    assert any("DequantizeLinear of operator set 17 has no float16 (that came with 19)" in r for r in reasons(context))


def test_weights_only(lowered):
    """A weight that is stored in integers is dequantized to half precision."""
    model, _ = lowered("""<ir_version: 9, opset_import: ["" : 19]>
    g (float[2,2] x) => (float[2,2] y) <float s = {0.1}, int8[2,2] w = {1, 2, 3, 4}> {
        k = DequantizeLinear (w, s) y = MatMul (x, k)
    }""")
    assert casts(model) == 2
    assert {t.name: t.data_type for t in model.graph.initializer} == {"s": 10, "w": 3}
