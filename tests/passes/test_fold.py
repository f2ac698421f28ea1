"""`fold`: what is the same in every run is computed now."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnx_text import expect, expect_unchanged, parse, reasons, run

FOLD = "fold"


def test_constants_are_computed():
    expect(
        """g (float[N,2] x) => (float[N,2] y) {
            a = Constant <value = float[2] {1, 2}> ()
            b = Constant <value_float: float = 3.0> ()
            c = Mul (a, b)
            d = Exp (c)
            y = Add (x, d)
        }""",
        f"""g (float[N,2] x) => (float[N,2] y)
        <float[2] d = {{{np.exp(np.float32(3)):.8f}, {np.exp(np.float32(6)):.6f}}}>
        {{ y = Add (x, d) }}""",
        FOLD,
        exact=True,
    )


def test_a_constant_that_is_an_output_stays_the_result_of_a_node():
    expect(
        """g (float[2] x) => (float[2] y, float[2] c) <float[2] a = {1, 2}, float[2] b = {3, 4}> {
            c = Add (a, b)
            y = Add (x, c)
        }""",
        """g (float[2] x) => (float[2] y, float[2] c) {
            c = Constant <value = float[2] {4, 6}> ()
            y = Add (x, c)
        }""",
        FOLD,
        exact=True,
    )


def test_random_values_are_not_frozen():
    expect_unchanged(
        """g (float[N,2] x) => (float[N,2] y) <int64[2] shape = {1, 2}> {
            r = RandomNormal <shape = [1, 2]> ()
            y = Add (x, r)
        }""",
        FOLD,
    )


def test_unknown_operators_are_left_alone():
    expect_unchanged(
        """<ir_version: 8, opset_import: ["" : 17, "my" : 1]>
        g (float[2] x) => (float[2] y) <float[2] a = {1, 2}> {
            b = my.Secret (a)
            y = Add (x, b)
        }""",
        FOLD,
    )


def test_a_value_that_a_caller_may_feed_is_no_constant():
    expect_unchanged(
        "g (float[2] x, float[2] a) => (float[2] y) <float[2] a = {1, 2}> { b = Exp (a) y = Add (x, b) }", FOLD
    )


def test_quantized_weights_stay_quantized():
    expect_unchanged(
        """g (float[2] x) => (float[2] y) <int8[2] q = {1, 2}, float scale = {0.5}, int8 zero = {0}> {
            w = DequantizeLinear (q, scale, zero)
            y = Add (x, w)
        }""",
        FOLD,
    )


# -- growth ------------------------------------------------------------------------------------------------------------


def test_a_large_result_is_not_stored():
    text = """g (float[1] x) => (float[1000,1000] y) <int64[2] shape = {1000, 1000}> {
        zeros = ConstantOfShape (shape)
        y = Add (x, zeros)
    }"""
    expect_unchanged(text, FOLD, "it would add 3.8 MiB to the model")
    graph, _ = run(text, "fold{max-growth=4MB}")
    assert [node.op for node in graph] == ["Add"]


def test_a_large_intermediate_result_does_not_matter():
    expect(
        """g (float[1] x) => (float[2] y) <int64[2] shape = {1000, 1000}, int64[1] zero = {0}, int64[1] two = {2}> {
            zeros = ConstantOfShape (shape)
            row = ReduceMax <axes = [0], keepdims: int = 0> (zeros)
            c = Slice (row, zero, two)
            y = Add (x, c)
        }""",
        "g (float[1] x) => (float[2] y) <float[2] c = {0, 0}> { y = Add (x, c) }",
        FOLD,
        exact=True,
    )


def test_a_bomb_costs_nothing():
    expect_unchanged(
        """g (float[1] x) => (float[1] y) <int64[3] shape = {100000, 100000, 1000}> {
            zeros = ConstantOfShape (shape)
            most = ReduceMax <keepdims: int = 0> (zeros)
            y = Add (x, most)
        }""",
        FOLD,
        "its result would be",
    )


def test_changing_the_type_of_a_weight_counts_its_growth_only():
    weight = numpy_helper.from_array(np.ones((1000, 300), np.float16), "w")
    model = parse("g (float[N,1000] x) => (float[N,300] y) { c = Cast <to: int = 1> (w) y = MatMul (x, c) }")
    model.graph.initializer.append(weight)
    graph, _ = run(model, "fold{max-growth=600000}")
    assert [node.op for node in graph] == ["MatMul"]
    graph, context = run(model, "fold{max-growth=599999}")
    assert [node.op for node in graph] == ["Cast", "MatMul"]
    assert any("600000 bytes" in reason for reason in reasons(context))


# -- shapes ------------------------------------------------------------------------------------------------------------


def test_static_shapes_are_constants():
    expect(
        """g (float[2,3,4] x) => (float[2,12] y) <int64 zero = {0}, int64[1] axes = {0}, int64[1] rest = {-1}> {
            s = Shape (x)
            n = Gather (s, zero)
            u = Unsqueeze (n, axes)
            shape = Concat <axis: int = 0> (u, rest)
            y = Reshape (x, shape)
        }""",
        "g (float[2,3,4] x) => (float[2,12] y) <int64[2] shape = {2, -1}> { y = Reshape (x, shape) }",
        FOLD,
        exact=True,
    )


def test_shape_chain_under_dynamic_batch_and_sequence():
    """The way exporters split heads: every dim that the operand has already is copied, none is fixed."""
    expect(
        """g (float[B,S,12] x) => (float[B,S,3,4] y)
        <int64 zero = {0}, int64 one = {1}, int64[1] axes = {0}, int64[1] heads = {3}, int64[1] size = {4}> {
            s = Shape (x)
            b = Gather (s, zero)
            n = Gather (s, one)
            b1 = Unsqueeze (b, axes)
            n1 = Unsqueeze (n, axes)
            shape = Concat <axis: int = 0> (b1, n1, heads, size)
            y = Reshape (x, shape)
        }""",
        "g (float[B,S,12] x) => (float[B,S,3,4] y) <int64[4] shape = {0, 0, 3, 4}> { y = Reshape (x, shape) }",
        FOLD,
        exact=True,
    )


def test_shape_of_a_part():
    expect(
        """g (float[B,3,4] x) => (int64[2] y) {
            s = Shape <start: int = 1> (x)
            y = Identity (s)
        }""",
        "g (float[B,3,4] x) => (int64[2] y) { y = Constant <value = int64[2] {3, 4}> () }",
        FOLD,
        exact=True,
    )


def test_a_dim_that_is_inferred_already_stays_so():
    expect(
        """g (float[B,S,12] x) => (float[B,R,4] y) <int64 zero = {0}, int64[1] axes = {0}, int64[2] rest = {-1, 4}> {
            s = Shape (x)
            b = Gather (s, zero)
            b1 = Unsqueeze (b, axes)
            shape = Concat <axis: int = 0> (b1, rest)
            y = Reshape (x, shape)
        }""",
        "g (float[B,S,12] x) => (float[B,R,4] y) <int64[3] shape = {0, -1, 4}> { y = Reshape (x, shape) }",
        FOLD,
        exact=True,
    )


def test_a_dim_that_is_neither_copied_nor_the_only_one_is_computed():
    expect_unchanged(
        """g (float[B,S,12] x) => (float[S,B,12] y) <int64[3] order = {1, 0, 2}> {
            s = Shape (x)
            shape = Gather (s, order)
            y = Reshape (x, shape)
        }""",
        FOLD,
        "two dims are neither constant nor those of the operand",
    )


# -- If ----------------------------------------------------------------------------------------------------------------


def if_model(condition: str) -> str:
    return f"""g (float[2] x{condition}) => (float[2] y) {{
        a = Relu (x)
        z = If (c) <
            then_branch = t () => (float[2] p) {{ b = Neg (a) p = Exp (b) }},
            else_branch = e () => (float[2] q) {{ b = Abs (a) q = Log (b) }}
        >
        y = Add (z, x)
    }}"""


@pytest.mark.parametrize(("value", "ops"), [(1, "Neg Exp"), (0, "Abs Log")])
def test_if_with_a_constant_condition(value, ops):
    first, second = ops.split()
    expect(
        if_model("").replace("{\n        a", f"<bool c = {{{value}}}> {{\n        a", 1),
        f"g (float[2] x) => (float[2] y) {{ a = Relu (x) b = {first} (a) z = {second} (b) y = Add (z, x) }}",
        FOLD,
        exact=True,
    )


def test_if_with_a_condition_known_only_at_run_time():
    expect_unchanged(if_model(", bool c"), FOLD, "only known when the model runs")


def test_names_of_an_inlined_branch_are_made_unique():
    branch = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["t"])], "b", [], [helper.make_tensor_value_info("t", 1, [2])]
    )
    model = parse("g (float[2] x) => (float[2] y) <bool c = {1}> { y = Add (z, w) }")
    for name in ("z", "w"):
        model.graph.node.insert(0, helper.make_node("If", ["c"], [name], then_branch=branch, else_branch=branch))
    graph, _ = run(model, FOLD)
    assert [node.op for node in graph] == ["Neg", "Neg", "Add"]
    assert len({value.name for node in graph for value in node.outputs}) == 3
    onnx.checker.check_model(onnx.ModelProto.FromString(graph.copy().model.buffer))
