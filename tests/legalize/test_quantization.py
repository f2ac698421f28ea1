"""Quantization that TensorRT does not know is written with what it knows, and computes the same."""

import pytest

from onnx_opt.pipeline import Pipeline, for_level
from onnx_opt.target import find_target
from onnx_text import expect, expect_unchanged, parse, reasons, run

LEGALIZE = "legalize"


def test_asymmetric_activations_are_rounded_and_clipped_in_float():
    expect(
        """g (float[2,3] x) => (float[2,3] y) <float s = {0.5}, uint8 z = {3}> {
            q = QuantizeLinear (x, s, z)
            y = DequantizeLinear (q, s, z)
        }""",
        """g (float[2,3] x) => (float[2,3] y) <float s = {0.5}, float z = {3}, float l = {0}, float h = {255}> {
            a = Div (x, s)
            b = Round (a)
            c = Add (b, z)
            d = Clip (c, l, h)
            e = Sub (d, z)
            y = Mul (e, s)
        }""",
        LEGALIZE,
        target="tensorrt",
    )


def test_a_zero_point_of_0_is_added_because_there_is_no_negative_zero_in_integers():
    expect(
        """g (float[2,3] x) => (float[2,3] y) <float s = {0.5}, uint8 z = {0}> {
            q = QuantizeLinear (x, s, z)
            y = DequantizeLinear (q, s, z)
        }""",
        """g (float[2,3] x) => (float[2,3] y) <float s = {0.5}, float z = {0}, float h = {255}> {
            a = Div (x, s)
            b = Round (a)
            c = Add (b, z)
            d = Clip (c, z, h)
            y = Mul (d, s)
        }""",
        LEGALIZE,
        target="tensorrt",
    )


def test_unsigned_bytes_around_128_are_signed_bytes_around_0():
    expect(
        """g (float[2,3] x) => (float[2,3] y) <float s = {0.5}, uint8 z = {128}> {
            q = QuantizeLinear (x, s, z)
            y = DequantizeLinear (q, s, z)
        }""",
        """g (float[2,3] x) => (float[2,3] y) <float s = {0.5}, int8 z = {0}> {
            q = QuantizeLinear (x, s, z)
            y = DequantizeLinear (q, s, z)
        }""",
        LEGALIZE,
        target="tensorrt",
    )


def test_biases_in_int32_are_floats_and_weights_in_int8_stay():
    expect(
        """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
        <int8[2,2,1,1] w = {1, 2, 3, 4}, float[2] s = {0.5, 0.25}, int8[2] z = {0, 0},
         int32[2] b = {10, 20}, float[2] t = {0.125, 0.5}, int32[2] n = {0, 0}> {
            v = DequantizeLinear <axis = 0> (w, s, z)
            c = DequantizeLinear <axis = 0> (b, t, n)
            y = Conv (x, v, c)
        }""",
        """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
        <int8[2,2,1,1] w = {1, 2, 3, 4}, float[2] s = {0.5, 0.25}, int8[2] z = {0, 0}, float[2] c = {1.25, 10}> {
            v = DequantizeLinear <axis = 0> (w, s, z)
            y = Conv (x, v, c)
        }""",
        LEGALIZE,
        target="tensorrt",
    )


@pytest.mark.parametrize(("dtype", "count", "stays"), [(22, 4, True), (22, 3, False), (21, 4, False)])
def test_weights_of_4_bits_stay_where_they_are_signed_and_fill_bytes(dtype, count, stays):
    from onnx import helper

    model = parse(
        f"""<ir_version: 10, opset_import: ["" : 21]>
        g (float[N,{count}] x) => (float[N,{count}] y) <float s = {{0.5}}> {{ d = DequantizeLinear (w, s) y = Mul (x, d) }}"""
    )
    model.graph.initializer.append(helper.make_tensor("w", dtype, [count], [1, 2, 3, 4][:count]))
    graph, _ = run(model, LEGALIZE, "tensorrt")
    assert ("DequantizeLinear" in {node.op for node in graph}) == stays
    constants = [constant for constant in graph.constants if constant.name != "w"]
    assert stays or any(constant.values.tolist() == [0.5, 1, 1.5, 2][:count] for constant in constants)


def test_scales_along_an_axis():
    expect(
        """g (uint8[2,3,4] x) => (float[2,3,4] y) <float[3] s = {0.5, 1, 2}, uint8[3] z = {3, 0, 5}> {
            y = DequantizeLinear <axis = -2> (x, s, z)
        }""",
        """g (uint8[2,3,4] x) => (float[2,3,4] y) <float[1,3,1] s = {0.5, 1, 2}, float[1,3,1] z = {3, 0, 5}> {
            a = Cast <to = 1> (x)
            b = Sub (a, z)
            y = Mul (b, s)
        }""",
        LEGALIZE,
        target="tensorrt",
    )


def test_quantized_outputs_and_inputs_keep_their_types():
    expect(
        """g (int8[N,3] x) => (int8[N,3] y) <float s = {0.5}, int8 z = {3}> {
            a = DequantizeLinear (x, s, z)
            b = Relu (a)
            y = QuantizeLinear (b, s, z)
        }""",
        """g (int8[N,3] x) => (int8[N,3] y) <float s = {0.5}, float z = {3}, float low = {-128}, float high = {127}> {
            a = Cast <to = 1> (x)
            b = Sub (a, z)
            c = Mul (b, s)
            d = Relu (c)
            e = Div (d, s)
            f = Round (e)
            g = Add (f, z)
            h = Clip (g, low, high)
            y = Cast <to = 3> (h)
        }""",
        LEGALIZE,
        target="tensorrt",
    )


def test_scales_that_the_model_computes():
    expect_unchanged(
        "g (float[2,3] x, float s, uint8 z) => (uint8[2,3] y) { y = QuantizeLinear (x, s, z) }",
        LEGALIZE,
        "it may be 0",
        target="tensorrt",
    )
    graph, _ = run(
        "g (uint8[2,3] x, float s, uint8 z) => (float[2,3] y) { y = DequantizeLinear (x, s, z) }", LEGALIZE, "tensorrt"
    )
    assert [node.op for node in graph] == ["Cast", "Cast", "Sub", "Mul"]


def test_half_precision_is_quantized_in_fp32():
    before = """<ir_version: 9, opset_import: ["" : 19]>
        g (float16[2,3] x) => (float16[2,3] y) <float16 s = {14336}, uint8 z = {3}> {
            q = QuantizeLinear (x, s, z)
            y = DequantizeLinear (q, s, z)
        }"""
    graph, _ = run(before, LEGALIZE, "tensorrt")
    assert [node.op for node in graph] == ["Cast", "Div", "Round", "Add", "Clip", "Sub", "Mul", "Cast"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<float s = {0.5}, int8 z = {0}> { q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }", "around"),
        ("<float s = {0.5}> { q = QuantizeLinear (x, s) a = Cast <to = 6> (q) y = Cast <to = 1> (a) }", ""),
    ],
)
def test_what_the_target_takes_stays(body, reason):
    text = f"g (float[2,3] x) => (float[2,3] y) {body}"
    graph, context = run(text, LEGALIZE, "tensorrt")
    if reason:
        expect_unchanged(text, LEGALIZE, reason, target="tensorrt")
    else:
        assert "QuantizeLinear" not in {node.op for node in graph}, reasons(context)


def test_blocks_are_left_to_the_target():
    expect_unchanged(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (uint8[4,4] x, float[2,4] s, uint8[2,4] z) => (float[4,4] y) {
            y = DequantizeLinear <axis = 0, block_size = 2> (x, s, z)
        }""",
        LEGALIZE,
        "blocks",
        target="tensorrt",
    )


def test_operator_sets_without_round():
    before = """<ir_version: 5, opset_import: ["" : 10]>
        g (float[2,3] x) => (uint8[2,3] y) <float s = {0.5}, uint8 z = {3}> { y = QuantizeLinear (x, s, z) }"""
    expect_unchanged(before, LEGALIZE, target="tensorrt")


def test_portable_models_stay_as_they_are():
    expect_unchanged(
        """g (float[2,3] x) => (float[2,3] y) <float s = {0.5}, uint8 z = {3}> {
            q = QuantizeLinear (x, s, z)
            y = DequantizeLinear (q, s, z)
        }""",
        LEGALIZE,
    )


def test_a_cast_to_bytes_that_may_not_hold_the_numbers_stays():
    expect_unchanged(
        """g (float[2,3] x) => (float[2,3] y) {
            a = Round (x)
            b = Cast <to = 2> (a)
            y = Cast <to = 1> (b)
        }""",
        LEGALIZE,
        "may not hold",
        target="tensorrt",
    )


# -- where it runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 2, 3])
def test_it_joins_the_presets_of_targets_that_need_it(level):
    passes = [p.name for p in for_level(level, (), find_target("tensorrt")).passes()]
    assert "legalize" in passes
    assert "legalize" not in [p.name for p in for_level(level).passes()]


def test_nothing_is_done_at_level_0():
    assert not for_level(0, (), find_target("tensorrt")).items


def test_its_text_reads_back():
    assert str(Pipeline.parse("legalize")) == "legalize"


def test_limits_in_attributes_may_be_no_whole_numbers():
    expect_unchanged(
        """<ir_version: 6, opset_import: ["" : 10]>
        g (uint8[N] x) => (float[N] y) {
            a = Cast <to = 1> (x)
            b = Clip <min = 0.5, max = 9.0> (a)
            c = Cast <to = 2> (b)
            y = Cast <to = 1> (c)
        }""",
        LEGALIZE,
        target="tensorrt",
    )
