"""Forms of operators that TensorRT rejects are written so that it takes them."""

import numpy as np
import pytest

from onnx_opt.ir import to_bytes
from onnx_opt.validate import Reference, prove
from onnx_text import expect, expect_unchanged, parse, run

LEGALIZE = "legalize"


def check(before, after, exact=True):
    expect(before, after, LEGALIZE, target="tensorrt", exact=exact)


def prove_legalized(text, exact=True, data=None):
    """The operators of the legalized model, which gives the same."""
    source = parse(text)
    graph, _ = run(source, LEGALIZE, "tensorrt")
    verdict = prove(Reference(source.SerializeToString(), data=data), to_bytes(graph), exact=exact)
    assert verdict.status == "proven", verdict.reason
    return [node.op for node in graph]


def test_a_vector_times_a_stack_of_matrices():
    check(
        "g (float[3] a, float[2,3,4] b) => (float[2,4] y) { y = MatMul (a, b) }",
        """g (float[3] a, float[2,3,4] b) => (float[2,4] y) <int64[1] z = {0}, int64[1] r = {-2}> {
            c = Unsqueeze (a, z)
            d = MatMul (c, b)
            y = Squeeze (d, r)
        }""",
        exact=False,
    )


def test_a_product_of_integers():
    text = "g (int32[B,M,3] a, int32[3,N] b) => (int32[B,M,N] y) { y = MatMul (a, b) }"
    found = prove_legalized(text)
    assert found.count("Mul") == 3 and found.count("Add") == 2 and "MatMul" not in found


@pytest.mark.parametrize("inner", ["K", "200"])
def test_a_long_product_of_integers_stays(inner):
    expect_unchanged(
        f"g (int32[2,{inner}] a, int32[{inner},2] b) => (int32[2,2] y) {{ y = MatMul (a, b) }}",
        LEGALIZE,
        "inner dimension",
        target="tensorrt",
    )


def test_relu_of_integers():
    check(
        "g (int32[N] x) => (int32[N] y) { y = Relu (x) }",
        "g (int32[N] x) => (int32[N] y) <int32 z = {0}> { y = Max (x, z) }",
    )


def test_reductions_of_bools():
    header = '<ir_version: 9, opset_import: ["" : 20]>\n'
    check(
        header + "g (bool[N,3] x) => (bool[N,1] y) <int64[1] a = {1}> { y = ReduceMax (x, a) }",
        header
        + """g (bool[N,3] x) => (bool[N,1] y) <int64[1] a = {1}> {
            b = Cast <to = 6> (x)
            c = ReduceMax (b, a)
            y = Cast <to = 9> (c)
        }""",
    )


def test_slices_say_their_axes():
    check(
        "g (float[4,N] x) => (float[2,N] y) <int64[1] s = {1}, int64[1] e = {3}> { y = Slice (x, s, e) }",
        """g (float[4,N] x) => (float[2,N] y) <int64[1] s = {1}, int64[1] e = {3}, int64[1] a = {0}> {
            y = Slice (x, s, e, a)
        }""",
    )


def test_slices_of_all_axes_stay():
    expect_unchanged(
        "g (float[4,5] x) => (float[2,2] y) <int64[2] s = {1, 1}, int64[2] e = {3, 3}> { y = Slice (x, s, e) }",
        LEGALIZE,
        "every axis",
        target="tensorrt",
    )


@pytest.mark.parametrize(
    "more", ["", ", strides = [2, 1]", ", pads = [1, 0, 2, 1]", ", strides = [2, 2], pads = [1, 1, 1, 1]"]
)
def test_pools_with_gaps(more):
    text = f"""g (float[N,2,9,8] x) => (float[N,2,H,W] y) {{
        y = MaxPool <kernel_shape = [3, 2], dilations = [2, 3]{more}> (x)
    }}"""
    assert "MaxPool" not in prove_legalized(text, exact=False)  # of 0 and -0 either is the greater


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("dilations = [2, 2], ceil_mode = 1", "beyond"),
        ('dilations = [2, 2], auto_pad = "SAME_UPPER"', "depends on the size"),
    ],
)
def test_pools_with_gaps_that_stay(attributes, reason):
    text = f"g (float[1,2,9,9] x) => (float[1,2,H,W] y) {{ y = MaxPool <kernel_shape = [2, 2], {attributes}> (x) }}"
    expect_unchanged(text, LEGALIZE, reason, target="tensorrt")


# -- bits --------------------------------------------------------------------------------------------------------------

BITS = '<ir_version: 8, opset_import: ["" : 18]>\n'


def test_the_lowest_bits_are_a_remainder():
    check(
        BITS + "g (int64[N] x) => (int64[N] y) <int64 m = {7}> { y = BitwiseAnd (x, m) }",
        BITS + "g (int64[N] x) => (int64[N] y) <int64 m = {8}> { y = Mod (x, m) }",
    )


@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "uint16"])
def test_digits_of_whole_types(op, dtype):
    rng = np.random.default_rng(11)
    limits = np.iinfo(dtype)
    feed = {name: rng.integers(limits.min, limits.max, (3, 4), dtype, endpoint=True) for name in "ab"}
    feed["a"][0] = [limits.min, limits.max, 0, 1]
    found = prove_legalized(
        f"{BITS}g ({dtype}[N,4] a, {dtype}[N,4] b) => ({dtype}[N,4] y) {{ y = {op} (a, b) }}", data=feed
    )
    assert op not in found


def test_numbers_of_64_bits_stay():
    expect_unchanged(
        BITS + "g (int64[N] a, int64[N] b) => (int64[N] y) { y = BitwiseXor (a, b) }",
        LEGALIZE,
        "more than 32 bits",
        target="tensorrt",
    )


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_all_bits_are_turned(dtype):
    assert "BitwiseNot" not in prove_legalized(f"{BITS}g ({dtype}[N] x) => ({dtype}[N] y) {{ y = BitwiseNot (x) }}")


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", ["uint8", "uint32"])
def test_shifts(direction, dtype):
    feed = {"x": np.random.default_rng(12).integers(0, np.iinfo(dtype).max, (5, 3), dtype, endpoint=True)}
    text = f"""g ({dtype}[N,3] x) => ({dtype}[N,3] y) <{dtype}[3] s = {{0, 3, 7}}> {{
        y = BitShift <direction = "{direction}"> (x, s)
    }}"""
    assert "BitShift" not in prove_legalized(text, data=feed)


def test_shifts_by_what_the_model_computes_stay():
    expect_unchanged(
        'g (uint8[N] x, uint8[N] s) => (uint8[N] y) { y = BitShift <direction = "LEFT"> (x, s) }',
        LEGALIZE,
        target="tensorrt",
    )
