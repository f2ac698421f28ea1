"""`fuse-conv-bn-relu`: scales and shifts go into the weights of the linear operator beside them."""

import numpy as np
import pytest
from onnx.numpy_helper import from_array

from onnx_text import expect, expect_unchanged, parse, reasons, run

FUSE = "fuse-conv-bn-relu"
BN = "gamma, beta, mean, var"
STATISTICS = "float[2] gamma = {2, 1}, float[2] beta = {1, 0}, float[2] mean = {3, 4}, float[2] var = {3, 0}"


def test_batch_normalization_after_conv():
    # gamma / sqrt(var + 1) = 1, 1; beta - mean * scale = -2, -4
    expect(
        f"""g (float[N,1,3,3] x) => (float[N,2,3,3] y)
        <float[2,1,1,1] w = {{5, 6}}, {STATISTICS}>
        {{
            c = Conv (x, w)
            y = BatchNormalization <epsilon: float = 1.0> (c, {BN})
        }}""",
        """g (float[N,1,3,3] x) => (float[N,2,3,3] y)
        <float[2,1,1,1] w = {5, 6}, float[2] b = {-2, -4}>
        { y = Conv (x, w, b) }""",
        FUSE,
    )


def test_batch_normalization_after_conv_with_bias_and_relu():
    expect(
        f"""g (float[N,1,3,3] x) => (float[N,2,3,3] y)
        <float[2,1,1,1] w = {{5, 6}}, float[2] b = {{1, 1}}, {STATISTICS}>
        {{
            c = Conv (x, w, b)
            n = BatchNormalization <epsilon: float = 1.0> (c, {BN})
            y = Relu (n)
        }}""",
        """g (float[N,1,3,3] x) => (float[N,2,3,3] y)
        <float[2,1,1,1] w = {5, 6}, float[2] b = {-1, -3}>
        {
            c = Conv (x, w, b)
            y = Relu (c)
        }""",
        FUSE,
    )


def test_batch_normalization_after_grouped_conv_transpose():
    # Two groups of one input and one output channel each: the output channels lie along axis 1 within a group.
    expect(
        """g (float[N,2,2,2] x) => (float[N,2,2,2] y)
        <float[2,1,1,1] w = {1, 1}, float[2] gamma = {2, 3}, float[2] beta = {0, 1}, float[2] mean = {0, 0}, float[2] var = {0, 0}>
        {
            c = ConvTranspose <group: int = 2> (x, w)
            y = BatchNormalization <epsilon: float = 1.0> (c, gamma, beta, mean, var)
        }""",
        """g (float[N,2,2,2] x) => (float[N,2,2,2] y)
        <float[2,1,1,1] w = {2, 3}, float[2] b = {0, 1}>
        { y = ConvTranspose <group: int = 2> (x, w, b) }""",
        FUSE,
    )


def test_batch_normalization_after_gemm_with_alpha_and_beta():
    expect(
        """g (float[N,1] x) => (float[N,2] y)
        <float[2,1] w = {1, 2}, float[2] c = {1, 1}, float[2] gamma = {2, 2}, float[2] beta = {1, 1}, float[2] mean = {0, 0}, float[2] var = {0, 0}>
        {
            m = Gemm <alpha: float = 0.5, beta: float = 3.0, transB: int = 1> (x, w, c)
            y = BatchNormalization <epsilon: float = 1.0> (m, gamma, beta, mean, var)
        }""",
        """g (float[N,1] x) => (float[N,2] y)
        <float[2,1] w = {2, 4}, float[2] c = {7, 7}>
        { y = Gemm <alpha: float = 0.5, transB: int = 1> (x, w, c) }""",
        FUSE,
    )


def test_batch_normalization_after_matmul_and_add():
    expect(
        """g (float[N,1] x) => (float[N,2] y)
        <float[1,2] w = {1, 2}, float[2] b = {1, 1}, float[2] gamma = {2, 3}, float[2] beta = {1, 1}, float[2] mean = {0, 0}, float[2] var = {0, 0}>
        {
            m = MatMul (x, w)
            a = Add (b, m)
            y = BatchNormalization <epsilon: float = 1.0> (a, gamma, beta, mean, var)
        }""",
        """g (float[N,1] x) => (float[N,2] y)
        <float[1,2] w = {2, 6}, float[2] b = {3, 4}>
        {
            m = MatMul (x, w)
            y = Add (m, b)
        }""",
        FUSE,
    )


def test_batch_normalization_written_out():
    expect(
        """g (float[N,1,2,2] x) => (float[N,2,2,2] y)
        <float[2,1,1,1] w = {4, 6}, float[1,2,1,1] mean = {1, 2}, float[2,1,1] std = {2, 2}, float[1,2,1,1] gamma = {3, 1}, float[1] beta = {5}>
        {
            c = Conv (x, w)
            centred = Sub (c, mean)
            unit = Div (centred, std)
            scaled = Mul (gamma, unit)
            y = Add (scaled, beta)
        }""",
        """g (float[N,1,2,2] x) => (float[N,2,2,2] y)
        <float[2,1,1,1] w = {6, 3}, float[2] b = {3.5, 4}>
        { y = Conv (x, w, b) }""",
        FUSE,
    )


def test_constant_minus_result():
    expect(
        """g (float[N,1,2,2] x) => (float[N,1,2,2] y)
        <float[1,1,1,1] w = {4}, float one = {1}>
        {
            c = Conv (x, w)
            y = Sub (one, c)
        }""",
        """g (float[N,1,2,2] x) => (float[N,1,2,2] y)
        <float[1,1,1,1] w = {-4}, float[1] b = {1}>
        { y = Conv (x, w, b) }""",
        FUSE,
    )


def test_scale_and_shift_before_conv():
    expect(
        """g (float[N,2,2,2] x) => (float[N,1,2,2] y)
        <float[1,2,1,1] w = {1, 10}, float[1,2,1,1] s = {2, 3}, float[2,1,1] t = {1, 1}>
        {
            a = Mul (x, s)
            b = Add (a, t)
            y = Conv (b, w)
        }""",
        """g (float[N,2,2,2] x) => (float[N,1,2,2] y)
        <float[1,2,1,1] w = {2, 30}, float[1] b = {11}>
        { y = Conv (x, w, b) }""",
        FUSE,
    )


def test_scale_before_padded_conv_but_not_shift():
    # The zeros of the padding are scaled to zeros; a shift would not reach them.
    expect(
        """g (float[N,1,2,2] x) => (float[N,1,2,2] y)
        <float[1,1,3,3] w = {1, 1, 1, 1, 1, 1, 1, 1, 1}, float two = {2}>
        {
            a = Mul (x, two)
            y = Conv <pads = [1, 1, 1, 1]> (a, w)
        }""",
        """g (float[N,1,2,2] x) => (float[N,1,2,2] y)
        <float[1,1,3,3] w = {2, 2, 2, 2, 2, 2, 2, 2, 2}>
        { y = Conv <pads = [1, 1, 1, 1]> (x, w) }""",
        FUSE,
    )
    expect_unchanged(
        """g (float[N,1,2,2] x) => (float[N,1,2,2] y)
        <float[1,1,3,3] w = {1, 1, 1, 1, 1, 1, 1, 1, 1}, float two = {2}>
        {
            a = Add (x, two)
            y = Conv <pads = [1, 1, 1, 1]> (a, w)
        }""",
        FUSE,
        "padding is not shifted",
    )


def test_pad_becomes_padding_of_conv():
    expect(
        """g (float[N,1,2,2] x) => (float[N,1,M,K] y)
        <float[1,1,2,2] w = {1, 2, 3, 4}, int64[8] pads = {0, 0, 1, 0, 0, 0, 0, 2}>
        {
            p = Pad (x, pads)
            y = Conv <pads = [1, 0, 1, 0]> (p, w)
        }""",
        """g (float[N,1,2,2] x) => (float[N,1,M,K] y)
        <float[1,1,2,2] w = {1, 2, 3, 4}>
        { y = Conv <pads = [2, 0, 1, 2]> (x, w) }""",
        FUSE,
    )


@pytest.mark.parametrize(
    ("pads", "value", "reason"),
    [
        ("0, 0, 1, 1, 0, 0, 1, 1", "1", "not zero"),
        ("0, 1, 1, 1, 0, 0, 1, 1", "0", "channels are padded"),
        ("0, 0, -1, 1, 0, 0, 1, 1", "0", "negative"),
    ],
)
def test_pad_that_conv_cannot_do(pads, value, reason):
    expect_unchanged(
        f"""g (float[N,C,4,4] x) => (float[N,1,H,W] y)
        <float[1,2,2,2] w = {{1, 2, 3, 4, 5, 6, 7, 8}}, int64[8] pads = {{{pads}}}, float value = {{{value}}}>
        {{
            p = Pad (x, pads, value)
            y = Conv (p, w)
        }}""",
        FUSE,
        reason,
    )


def test_activation_joins_where_the_target_has_the_operator():
    before = """g (float[N,1,2,2] x) => (float[N,1,2,2] y)
        <float[1,1,1,1] w = {4}, float low = {0}, float high = {6}>
        {
            c = Conv (x, w)
            y = Clip (c, low, high)
        }"""
    expect(
        before,
        """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[N,1,2,2] x) => (float[N,1,2,2] y)
        <float[1,1,1,1] w = {4}>
        { y = com.microsoft.FusedConv <activation: string = "Clip", activation_params: floats = [0.0, 6.0]> (x, w) }""",
        FUSE,
        target="ort-cpu",
    )
    expect_unchanged(before, FUSE, "portable has no FusedConv")
    expect_unchanged(before, FUSE, "FusedConv on CUDA has no Clip", target="ort-cuda")


def test_activation_stays_where_runtimes_compute_in_integers():
    expect_unchanged(
        """g (uint8[N,1,2,2] q) => (uint8[N,1,2,2] y)
        <float s = {0.5}, uint8 z = {0}, int8[1,1,1,1] w = {4}, float ws = {0.25}, int8 wz = {0}>
        {
            x = DequantizeLinear (q, s, z)
            f = DequantizeLinear (w, ws, wz)
            c = Conv (x, f)
            r = Relu (c)
            y = QuantizeLinear (r, s, z)
        }""",
        FUSE,
        "compute it in integers",
        target="ort-cpu",
    )


def test_result_with_other_users_stays():
    expect_unchanged(
        """g (float[N,1,2,2] x) => (float[N,1,2,2] y, float[N,1,2,2] c)
        <float[1,1,1,1] w = {4}, float two = {2}>
        {
            c = Conv (x, w)
            y = Mul (c, two)
        }""",
        FUSE,
        "is a graph output",
    )


def test_constant_along_the_last_axis_is_not_per_channel():
    # The sizes match by chance: 2 channels, width 2.
    expect_unchanged(
        """g (float[N,1,2,2] x) => (float[N,2,2,2] y)
        <float[2,1,1,1] w = {4, 5}, float[2] s = {2, 3}>
        {
            c = Conv (x, w)
            y = Mul (c, s)
        }""",
        FUSE,
        "not per channel",
    )


def test_constant_that_widens_the_operand():
    # x has one channel, the product two: the Conv can't read x itself.
    expect_unchanged(
        """g (float[N,1,2,2] x) => (float[N,1,2,2] y)
        <float[1,2,1,1] w = {1, 1}, float[1,2,1,1] s = {2, 3}>
        {
            a = Mul (x, s)
            y = Conv (a, w)
        }""",
        FUSE,
        "widen",
    )


def test_batch_normalization_in_training_mode():
    expect_unchanged(
        f"""g (float[N,1,3,3] x) => (float[N,2,3,3] y, float[2] m)
        <float[2,1,1,1] w = {{5, 6}}, {STATISTICS}>
        {{
            c = Conv (x, w)
            y, m, v = BatchNormalization <training_mode: int = 1> (c, {BN})
        }}""",
        FUSE,
        "training mode",
    )


def test_weights_that_a_caller_may_feed():
    expect_unchanged(
        """g (float[N,1,2,2] x, float[1,1,1,1] w) => (float[N,1,2,2] y)
        <float[1,1,1,1] w = {4}, float two = {2}>
        {
            c = Conv (x, w)
            y = Mul (c, two)
        }""",
        FUSE,
    )


def test_scale_that_overflows_the_weights():
    expect_unchanged(
        """g (float[N,1,2,2] x) => (float[N,1,2,2] y)
        <float[1,1,1,1] w = {1e30}, float huge = {1e30}>
        {
            c = Conv (x, w)
            y = Mul (c, huge)
        }""",
        FUSE,
        "not be finite",
    )


def test_scale_that_underflows_half_precision():
    """A layer scale of 1e-6 would leave the weights a single bit each."""
    model = parse("g (float16[N,2] x) => (float16[N,1] y) { m = MatMul (x, w) a = Add (m, b) y = Mul (a, tiny) }")
    weights = {"w": [[0.03], [0.05]], "b": [0.5], "tiny": [1e-6]}
    model.graph.initializer.extend(from_array(np.array(value, np.float16), name) for name, value in weights.items())
    graph, context = run(model, FUSE)
    assert [node.op for node in graph] == ["MatMul", "Add", "Mul"]
    assert "the folded weights would lose precision" in reasons(context)
