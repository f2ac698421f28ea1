"""FP64 is computed in FP32 where the target has no FP64; the model's inputs and outputs keep their types."""

import onnx_opt
from onnx_opt.ir import to_bytes
from onnx_text import expect, expect_unchanged, parse, run

LEGALIZE = "legalize,repeat(fold,cleanup)"


def ops(graph):
    return [node.op for node in graph]


def test_a_chain_in_fp64_between_values_in_fp32():
    expect(
        """g (float[N,3] x) => (float[N,3] y) <double k = {2.5}> {
            a = Cast <to = 11> (x)
            b = Mul (a, k)
            c = Exp (b)
            y = Cast <to = 1> (c)
        }""",
        "g (float[N,3] x) => (float[N,3] y) <float k = {2.5}> { b = Mul (x, k) y = Exp (b) }",
        LEGALIZE,
        target="tensorrt",
    )


def test_inputs_and_outputs_keep_their_types():
    graph, _ = run(
        "g (double[N] x, double[N] z) => (double[N] y) { a = Add (x, z) y = Sqrt (a) }", LEGALIZE, "tensorrt"
    )
    assert ops(graph) == ["Cast", "Cast", "Add", "Sqrt", "Cast"]
    assert [value.elem_type for value in (*graph.inputs, *graph.outputs)] == [11, 11, 11]


def test_the_result_is_held_to_the_tolerance_of_fp32():
    model = parse("g (double[N,4] x) => (double[N,4] y) { a = Sin (x) y = Softmax (a) }")
    result = onnx_opt.optimize(model, target="tensorrt")
    assert result.report.status == "proven"
    assert ops(result.model) == ["Cast", "Sin", "Softmax", "Cast"]


def test_integers_that_fp64_holds_become_fp32_at_once():
    graph, _ = run(
        "g (int32[N] x) => (float[N] y) <double k = {0.5}> { a = Cast <to = 11> (x) b = Mul (a, k) y = Cast <to = 1> (b) }",
        LEGALIZE,
        "tensorrt",
    )
    assert ops(graph) == ["Cast", "Mul"]


def test_results_of_other_types_and_several_results():
    graph, _ = run(
        """g (double[N,4] x) => (int64[N,1] i, bool[N,4] l) <int64[1] k = {1}, double z = {0}> {
            v, i = TopK (x, k)
            l = Less (x, z)
        }""",
        LEGALIZE,
        "tensorrt",
    )
    assert ops(graph) == ["Cast", "TopK", "Less"]


def test_a_constant_that_is_too_large_for_fp32():
    expect_unchanged(
        "g (double[N] x) => (double[N] y) <double k = {1e300}> { y = Mul (x, k) }",
        "legalize",
        "larger than FP32 can be",
        target="tensorrt",
    )


def test_a_tensor_filled_with_fp64():
    graph, _ = run(
        """g (float[N] x) => (float[N] y) {
            s = Shape (x)
            c = ConstantOfShape <value = double[1] {3}> (s)
            d = Cast <to = 11> (x)
            e = Add (c, d)
            y = Cast <to = 1> (e)
        }""",
        LEGALIZE,
        "tensorrt",
    )
    assert "Cast" not in ops(graph)


def test_inside_of_branches():
    graph, _ = run(
        """g (bool c, double[2] x) => (double[2] y) {
            y = If (c) <
                then_branch = t () => (double[2] p) { p = Exp (x) },
                else_branch = e () => (double[2] q) { q = Neg (x) }
            >
        }""",
        LEGALIZE,
        "tensorrt",
    )
    assert [ops(body) for node in graph for _, _, body in node.bodies] == [
        ["Cast", "Exp", "Cast"],
        ["Cast", "Neg", "Cast"],
    ]


def test_targets_with_fp64_keep_it():
    for target in ("portable", "ort-cpu"):
        expect_unchanged("g (double[N] x) => (double[N] y) { y = Exp (x) }", LEGALIZE, target=target)


def test_fp32_stays_as_it_is():
    text = "g (float[N] x) => (float[N] y) { y = Exp (x) }"
    graph, _ = run(text, LEGALIZE, "tensorrt")
    assert to_bytes(graph) == parse(text).SerializeToString()


# -- an interface in FP32 ----------------------------------------------------------------------------------------------


def test_inputs_and_outputs_become_fp32_where_that_is_asked_for():
    graph, _ = run(
        "g (double[N,3] x, int64[N] i) => (double[N,3] y) { a = Exp (x) y = Gather (a, i) }",
        "fp32-io,legalize,repeat(fold,cleanup)",
        "tensorrt",
    )
    assert ops(graph) == ["Exp", "Gather"]
    assert [(value.name, value.elem_type) for value in (*graph.inputs, *graph.outputs)] == [
        ("x", 1),
        ("i", 7),
        ("y", 1),
    ]


def test_the_rest_is_proven_against_the_model_with_the_other_interface():
    from onnx_opt.passes import find_pass
    from onnx_opt.pipeline import compose

    model = parse("g (double[N,4] x) => (double[N,4] y) { a = Sin (x) y = Softmax (a) }")
    pipeline = compose(1, [find_pass("fp32-io")(), find_pass("legalize")()])
    result = onnx_opt.optimize(model, pipeline, target="tensorrt")
    assert result.report.status == "proven"
    assert ops(result.model) == ["Sin", "Softmax"]


def test_an_interface_without_fp64_stays():
    expect_unchanged("g (float[N] x) => (float[N] y) { y = Exp (x) }", "fp32-io")


def test_a_default_that_callers_may_override_stays():
    graph, _ = run(
        "g (double[2] x, double[2] k) => (double[2] y) <double[2] k = {1, 2}> { y = Add (x, k) }", "fp32-io", "tensorrt"
    )
    assert [(value.name, value.elem_type) for value in graph.inputs] == [("x", 1), ("k", 11)]
