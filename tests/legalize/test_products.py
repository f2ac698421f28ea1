"""Products of quantized numbers become products in FP32 that are exact."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnx_opt.ir import load, to_bytes
from onnx_opt.passes import PassContext
from onnx_opt.pipeline import Pipeline
from onnx_opt.target import find_target
from onnx_opt.validate import Reference, prove
from onnx_text import expect, expect_unchanged, parse, run

LEGALIZE = "legalize"


def ops(graph):
    return [node.op for node in graph]


def expect_exact(model):
    """The legalized model gives the same to the bit; its operators."""
    graph = load(model)
    Pipeline.parse(LEGALIZE).run(graph, PassContext(target=find_target("tensorrt")))
    verdict = prove(Reference(model.SerializeToString()), to_bytes(graph), exact=True)
    assert verdict.status == "proven", verdict.reason
    onnx.checker.check_model(onnx.ModelProto.FromString(to_bytes(graph)), full_check=True)
    return ops(graph)


def test_integers_that_become_floats_are_multiplied_as_floats():
    expect(
        """g (uint8[N,3] a, uint8 za) => (float[N,2] y) <int8[3,2] b = {1, -2, 3, 4, -5, 6}> {
            p = MatMulInteger (a, b, za)
            y = Cast <to = 1> (p)
        }""",
        """g (uint8[N,3] a, uint8 za) => (float[N,2] y) <float[3,2] b = {1, -2, 3, 4, -5, 6}> {
            f = Cast <to = 1> (a)
            z = Cast <to = 1> (za)
            c = Sub (f, z)
            y = MatMul (c, b)
        }""",
        LEGALIZE,
        target="tensorrt",
        exact=True,
    )


def test_a_zero_point_per_column():
    expect(
        """g (int8[3,2] a) => (int32[3,2] y)
        <int8 za = {1}, int8[2,2] b = {1, -2, 3, 4}, int8[2] zb = {0, 5}> {
            y = MatMulInteger (a, b, za, zb)
        }""",
        """g (int8[3,2] a) => (int32[3,2] y) <float za = {1}, float[2,2] b = {1, -7, 3, -1}> {
            f = Cast <to = 1> (a)
            c = Sub (f, za)
            p = MatMul (c, b)
            y = Cast <to = 6> (p)
        }""",
        LEGALIZE,
        target="tensorrt",
        exact=True,
    )


@pytest.mark.parametrize(("depth", "products"), [(256, 1), (700, 3)])
def test_long_sums_are_cut_into_exact_ones(depth, products):
    model = parse(f"g (uint8[2,{depth}] a, uint8[{depth},3] b) => (int32[2,3] y) {{ y = MatMulInteger (a, b) }}")
    assert expect_exact(model).count("MatMul") == products


def test_a_sum_whose_weights_are_small_is_not_cut():
    depth = 2000
    model = parse(f"g (uint8[2,{depth}] a, int8[{depth},3] b) => (int32[2,3] y) {{ y = MatMulInteger (a, b) }}")
    weights = np.random.default_rng(5).integers(-8, 9, (depth, 3)).astype(np.int8)
    model.graph.initializer.append(numpy_helper.from_array(weights, "b"))
    del model.graph.input[1]
    assert expect_exact(model).count("MatMul") == 1


def test_an_inner_dimension_that_is_not_known():
    expect_unchanged(
        "g (uint8[2,K] a, uint8[K,3] b) => (int32[2,3] y) { y = MatMulInteger (a, b) }",
        LEGALIZE,
        "inner dimension",
        target="tensorrt",
    )


def test_convolutions_of_integers_pad_with_the_zero_point():
    model = parse(
        """g (uint8[N,2,5,5] x) => (int32[N,3,5,5] y) <uint8 z = {7}, uint8 v = {100}> {
            y = ConvInteger <pads = [1, 1, 1, 1]> (x, w, z, v)
        }"""
    )
    weights = np.random.default_rng(6).integers(0, 256, (3, 2, 3, 3)).astype(np.uint8)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    assert expect_exact(model) == ["Cast", "Sub", "Conv", "Cast"]


def test_a_convolution_of_many_channels_is_cut():
    model = parse("g (uint8[1,300,2,2] x) => (int32[1,2,2,2] y) { y = ConvInteger (x, w) }")
    model.graph.initializer.append(numpy_helper.from_array(np.full((2, 300, 1, 1), 255, np.uint8), "w"))
    assert expect_exact(model).count("Conv") == 2


def test_quantizing_by_the_range_of_the_operand():
    before = "g (float[N,3] x) => (uint8[N,3] y, float s, uint8 z) { y, s, z = DynamicQuantizeLinear (x) }"
    graph, _ = run(before, LEGALIZE, "tensorrt")
    assert "DynamicQuantizeLinear" not in ops(graph)
    session = Reference(parse(before).SerializeToString(), data={"x": np.zeros((2, 3), np.float32)})
    assert prove(session, to_bytes(graph), exact=True).status == "proven"


@pytest.mark.parametrize("elements", [0, 1, 6])
def test_the_range_of_few_elements(elements):
    model = parse(
        f"g (float[{elements}] x) => (uint8[{elements}] y, float s, uint8 z) {{ y, s, z = DynamicQuantizeLinear (x) }}"
    )
    assert "DynamicQuantizeLinear" not in expect_exact(model)


def test_a_dynamically_quantized_layer_has_no_bytes_left():
    graph, _ = run(
        """g (float[N,3] x) => (float[N,2] y) <int8[3,2] b = {1, -2, 3, 4, -5, 6}, int8 zb = {0}, float t = {0.5}> {
            q, s, z = DynamicQuantizeLinear (x)
            p = MatMulInteger (q, b, z, zb)
            f = Cast <to = 1> (p)
            k = Mul (s, t)
            y = Mul (f, k)
        }""",
        LEGALIZE,
        "tensorrt",
    )
    assert not {"Cast", "MatMulInteger", "DynamicQuantizeLinear"} & set(ops(graph))


def test_quantized_matmul_and_conv():
    matmul = """g (uint8[N,3] a) => (uint8[N,2] y)
        <float s = {0.5}, uint8 z = {3}, int8[3,2] b = {1, -2, 3, 4, -5, 6}, float t = {0.25}, int8 n = {0},
         float u = {2}, uint8 m = {9}> { y = QLinearMatMul (a, s, z, b, t, n, u, m) }"""
    assert expect_exact(parse(matmul)) == ["Cast", "Sub", "MatMul", "Mul", "Round", "Add", "Clip", "Cast"]
    conv = """g (uint8[N,2,4,4] x) => (uint8[N,2,4,4] y)
        <float s = {0.5}, uint8 z = {3}, int8[2,2,1,1] w = {1, -2, 3, 4}, float[2] t = {0.25, 0.125}, int8[2] n = {0, 0},
         float u = {2}, uint8 m = {9}, int32[2] b = {100, -7}> {
            y = QLinearConv <kernel_shape = [1, 1]> (x, s, z, w, t, n, u, m, b)
        }"""
    assert expect_exact(parse(conv)) == ["Cast", "Sub", "Conv", "Mul", "Round", "Add", "Clip", "Cast"]


def test_sums_that_are_too_large_for_fp32():
    bias = helper.make_tensor("b", onnx.TensorProto.INT32, [1], [1 << 25])
    model = parse(
        """g (uint8[1,1,2,2] x) => (uint8[1,1,2,2] y)
        <float s = {0.5}, uint8 z = {3}, int8[1,1,1,1] w = {1}, int8 n = {0}> {
            y = QLinearConv (x, s, z, w, s, n, s, z, b)
        }"""
    )
    model.graph.initializer.append(bias)
    expect_unchanged(onnx.printer.to_text(model), LEGALIZE, "FP32", target="tensorrt")
