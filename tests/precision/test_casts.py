"""Where casts go: at the borders, as few bytes as possible, one for all readers, never back to back, never on constants.

Constants of half precision are written as their bits: 16896 is 3.0.
"""

from __future__ import annotations

import onnx
import pytest
from onnx import numpy_helper

from onnx_text import expect_unchanged
from precision_models import casts

HEADER13 = '<ir_version: 8, opset_import: ["" : 13]>\n'


def test_the_interface_keeps_its_types_and_names(half):
    half(
        "g (float[N,2] x) => (float[N,2] y) { y = Sigmoid (x) }",
        "g (float[N,2] x) => (float[N,2] y) { h = Cast <to = 10> (x) e = Sigmoid (h) y = Cast <to = 1> (e) }",
    )


def test_the_interface_may_become_half_precision(half):
    half(
        "g (float[N,2] x, int64[2] s) => (float[N,2] y) { a = Sigmoid (x) y = Reshape (a, s) }",
        "g (float16[N,2] x, int64[2] s) => (float16[N,2] y) { a = Sigmoid (x) y = Reshape (a, s) }",
        "{keep-io=false}",
    )


def test_one_cast_serves_all_readers(half):
    half(
        "g (float[2] x) => (float[2] y) { a = Sigmoid (x) b = Tanh (x) y = Add (a, b) }",
        """g (float[2] x) => (float[2] y) {
            h = Cast <to = 10> (x) a = Sigmoid (h) b = Tanh (h) s = Add (a, b) y = Cast <to = 1> (s)
        }""",
    )


def test_an_output_that_is_read_inside_is_cast_once_for_the_outside(half):
    half(
        "g (float[2] x) => (float[2] y, float[2] z) { y = Sigmoid (x) z = Tanh (y) }",
        """g (float[2] x) => (float[2] y, float[2] z) {
            h = Cast <to = 10> (x) a = Sigmoid (h) y = Cast <to = 1> (a) b = Tanh (a) z = Cast <to = 1> (b)
        }""",
    )


def test_the_cast_goes_where_the_value_is_smallest(half):
    """ReduceMax commutes with rounding, so it may stay in FP32: 8 bytes are cast instead of 8,192."""
    half(
        "g (float[2,1024] x) => (float[2] y) { m = ReduceMax <axes = [1], keepdims = 0> (x) y = Sigmoid (m) }",
        """g (float[2,1024] x) => (float[2] y) {
            m = ReduceMax <axes = [1], keepdims = 0> (x) h = Cast <to = 10> (m) e = Sigmoid (h) y = Cast <to = 1> (e)
        }""",
    )


def test_a_branch_of_moves_is_cast_before_it_parts(half):
    half(
        """g (float[4,4] x) => (float[4,4] y) {
            t = Transpose <perm = [1, 0]> (x) a = Sigmoid (x) b = Sigmoid (t) y = Add (a, b)
        }""",
        """g (float[4,4] x) => (float[4,4] y) {
            h = Cast <to = 10> (x) t = Transpose <perm = [1, 0]> (h)
            a = Sigmoid (h) b = Sigmoid (t) s = Add (a, b) y = Cast <to = 1> (s)
        }""",
    )


def test_what_only_moves_elements_is_not_worth_a_cast():
    expect_unchanged("g (float[2,3] x) => (float[3,2] y) { y = Transpose <perm = [1, 0]> (x) }", "fp16", "casts cost")


def test_constants_are_converted_where_they_are(half):
    half(
        "g (float[2] x) => (float[2] y) <float[2] w = {0.1, 2}> { k = Constant <value_float = 3.0> () a = Mul (x, w) y = Add (a, k) }",
        """g (float[2] x) => (float[2] y) <float16[2] w = {11878, 16384}> {
            h = Cast <to = 10> (x) k = Constant <value = float16 {16896}> ()
            a = Mul (h, w) b = Add (a, k) y = Cast <to = 1> (b)
        }""",
    )


def test_a_constant_that_is_needed_in_both_types_is_stored_in_both(lowered):
    model, _ = lowered(
        "g (float[2] x) => (float[2] y) <float[2] w = {0.1, 2}> { a = Mul (x, w) y = Div (a, w) }", "fp16{block=[Div]}"
    )
    assert sorted(t.data_type for t in model.graph.initializer) == [1, 10]
    assert casts(model) == 2
    stored = {t.data_type: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert (stored[1].astype("float16") == stored[10]).all()


def test_a_constant_node_that_is_needed_in_both_types_is_there_twice(lowered):
    model, _ = lowered(
        "g (float[2] x) => (float[2] y) { w = Constant <value_floats = [0.1, 2.0]> () a = Mul (x, w) y = Div (a, w) }",
        "fp16{block=[Div]}",
    )
    assert [node.op_type for node in model.graph.node].count("Constant") == 2
    assert casts(model) == 2


def test_existing_casts_are_redirected(half):
    """No Cast follows another: the one there is gives the new type, and one that is no longer needed goes."""
    half(
        "g (int32[2] i, float16[2] x) => (float16[2] y) { a = Cast <to = 1> (i) b = Cast <to = 1> (x) c = Mul (a, b) d = Sigmoid (c) y = Cast <to = 10> (d) }",
        "g (int32[2] i, float16[2] x) => (float16[2] y) { a = Cast <to = 10> (i) c = Mul (a, x) y = Sigmoid (c) }",
    )


def test_an_existing_cast_that_is_needed_in_both_types_is_there_twice(half):
    half(
        "g (int32[2] i) => (float[2] y, float[2] z) { y = Cast <to = 1> (i) z = Sigmoid (y) }",
        """g (int32[2] i) => (float[2] y, float[2] z) {
            h = Cast <to = 10> (i) y = Cast <to = 1> (i) e = Sigmoid (h) z = Cast <to = 1> (e)
        }""",
    )


def test_double_and_half_parts_stay(half):
    half(
        """g (double[2] d, float[2] x, float16[2] h) => (double[2] e, float16[2] i, float[2] y) {
            e = Sigmoid (d) i = Sigmoid (h) y = Sigmoid (x)
        }""",
        """g (double[2] d, float[2] x, float16[2] h) => (double[2] e, float16[2] i, float[2] y) {
            c = Cast <to = 10> (x) e = Sigmoid (d) i = Sigmoid (h) z = Sigmoid (c) y = Cast <to = 1> (z)
        }""",
    )


def test_value_info_says_what_is(lowered):
    model, _ = lowered(
        "g (float[2] x) => (float[2] y) <float[2] a, float[2] b> { a = Sigmoid (x) b = Tanh (a) y = Sigmoid (b) }",
        "fp16{block=[Tanh]}",
    )
    types = {info.name: info.type.tensor_type.elem_type for info in model.graph.value_info}
    assert types["a"] == 10 and types["b"] == 1
    assert not set(types) & {"x", "y"}


def test_inputs_with_defaults_stay_inputs(lowered):
    """A weight that callers may feed becomes half precision with the nodes that read it; it can still be fed."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Mul (x, w) }'
    )
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, [2]))
    result, _ = lowered(model)
    assert [i.name for i in result.graph.input] == ["x", "w"]
    assert [i.type.tensor_type.elem_type for i in result.graph.input] == [1, 10]
    assert result.graph.initializer[0].data_type == 10
    assert casts(result) == 2


@pytest.mark.parametrize("keep_io", ["true", "false"])
def test_an_input_that_is_an_output(lowered, keep_io):
    model, _ = lowered("g (float[2] x) => (float[2] x, float[2] y) { y = Sigmoid (x) }", f"fp16{{keep-io={keep_io}}}")
    assert [o.name for o in model.graph.output] == ["x", "y"]
    assert casts(model) == (2 if keep_io == "true" else 0)


def test_the_result_is_deterministic(lowered):
    text = "g (float[2] x) => (float[2] y) { a = Sigmoid (x) b = Sin (a) c = Tanh (a) d = Add (b, c) y = Relu (d) }"
    first, second = (lowered(text, "fp16{block=[Sin]}")[0] for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_lowering_twice_changes_nothing_more(lowered):
    model, _ = lowered("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { a = Sigmoid (x) y = Mul (a, w) }")
    again, _ = lowered(model)
    assert again == model


def test_an_output_that_is_a_constant_in_both_types(lowered):
    model, _ = lowered(
        "g (float[2] x) => (float[2] y, float[2] k) { k = Constant <value_floats = [0.1, 2.0]> () y = Mul (x, k) }",
        "fp16{keep-io=false,block=[Mul]}",
    )
    assert [(o.name, o.type.tensor_type.elem_type) for o in model.graph.output] == [("y", 10), ("k", 10)]
    assert casts(model) == 2
