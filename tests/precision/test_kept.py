"""What stays in FP32 without being measured, and the reasons that the user reads."""

from __future__ import annotations

import onnx
import pytest

from onnx_opt.ir import load, to_bytes
from onnx_opt.journal import Journal, Key
from onnx_opt.passes import PassContext
from onnx_opt.pipeline import Pipeline
from onnx_text import expect_unchanged, parse, reasons
from precision_models import casts

RANGE = "g (int64 n, float[N] x) => (float[N] y) { f = Cast <to = 1> (n) BODY }"


def kept(model) -> list[str]:
    """The operators that still work in FP32 alone."""
    graph = model.graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    return [n.op_type for n in graph.node if n.op_type != "Cast" and any(types.get(name) == 1 for name in n.output)]


@pytest.mark.parametrize(
    ("constant", "reason"),
    [("1e6", "overflows float16"), ("-1e-12", "too small for float16"), ("-3.4e38", "overflows")],
)
def test_a_constant_that_half_precision_does_not_hold(lowered, constant, reason):
    model, context = lowered(
        f"g (float[2] x) => (float[2] y) <float[2] b> {{ k = Constant <value_float = {constant}> () "
        "a = Sigmoid (x) b = Add (a, k) y = Tanh (b) }"
    )
    assert kept(model) == ["Constant", "Add"] or kept(model) == ["Add"]
    assert any(reason in text for text in reasons(context))
    assert casts(model) == 4


def test_infinities_do_not_overflow(lowered):
    model, _ = lowered(
        "g (float[2] x, bool[2] c) => (float[2] y) { k = Constant <value_float = -inf> () m = Where (c, x, k) y = Softmax (m) }"
    )
    assert kept(model) == []


def test_bounds_of_clip_may_overflow(lowered):
    """Half precision holds nothing between its largest number and infinity, so clipping at either is the same."""
    model, _ = lowered(
        """g (float[2] x) => (float[2] y) {
            low = Constant <value_float = 0.0> () high = Constant <value_float = 3.4e38> ()
            a = Sigmoid (x) b = Clip (a, low, high) y = Sigmoid (b)
        }"""
    )
    assert kept(model) == []


def test_sizes_are_computed_exactly(lowered):
    """2049 is no half precision number: scales and sizes for Resize stay in FP32, the image does not."""
    model, context = lowered(
        """g (float[1,3,H,W] x) => (float[1,3,A,B] y) <int64[1] two = {2}, int64[1] four = {4}, float[2] ones = {1, 1}, float[2] f = {2.0, 1.5}> {
            s = Shape (x) hw = Slice (s, two, four) a = Cast <to = 1> (hw) b = Mul (a, f) c = Div (b, a)
            scales = Concat <axis = 0> (ones, c) r = Sigmoid (x) y = Resize <mode = "linear"> (r, , scales)
        }"""
    )
    assert [node.op_type for node in model.graph.node if node.op_type == "Cast"] == ["Cast"] * 3
    assert any("sizes, positions or angles" in text for text in reasons(context))
    ops = {node.output[0]: node for node in model.graph.node}
    assert ops["a"].attribute[0].i == 1  # FLOAT


def test_rotary_angles_are_computed_exactly(lowered):
    model, _ = lowered(
        """g (int64[S,1] positions, float[S,4] x) => (float[S,4] y) <float[1,4] w = {1.0, 0.1, 0.01, 0.001}> {
            p = Cast <to = 1> (positions) angle = MatMul (p, w) c = Cos (angle) y = Mul (x, c)
        }"""
    )
    assert [node.op_type for node in model.graph.node] == ["Cast", "Cast", "MatMul", "Cos", "Cast", "Mul", "Cast"]


def test_a_mask_of_integers_is_no_position(lowered):
    model, _ = lowered(
        """g (int64[S] mask, float[S] x) => (float[S] y) {
            one = Constant <value_float = 1.0> () big = Constant <value_float = -10000.0> ()
            m = Cast <to = 1> (mask) n = Sub (one, m) b = Mul (n, big) s = Add (x, b) y = Softmax (s)
        }"""
    )
    assert kept(model) == [] and casts(model) == 3


def test_sums_of_integer_products_are_scaled_before_they_are_rounded(lowered):
    model, _ = lowered(
        """g (uint8[2,300] a, uint8[300,2] b, float s) => (float[2,2] y) {
            m = MatMulInteger (a, b) f = Cast <to = 1> (m) z = Mul (f, s) y = Tanh (z)
        }"""
    )
    assert [n.op_type for n in model.graph.node] == ["MatMulInteger", "Cast", "Mul", "Cast", "Tanh", "Cast"]


def test_blocked_by_operator_name_and_domain(lowered):
    text = """<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
    g (float[2,2] x) => (float[2,2] y) { [first] a = Tanh (x) [last] b = Tanh (a) c = com.microsoft.Gelu (b) y = Sigmoid (c) }"""
    for pattern, cast_count in {"Tanh": 2, "first": 2, "com.microsoft::*": 4, "l?st": 4, "'*'": 0}.items():
        model, context = lowered(text, f"fp16{{block=[{pattern}]}}")
        assert casts(model) == cast_count, pattern
        assert any("it is blocked" in reason for reason in reasons(context))


def test_allowed_by_operator(lowered):
    text = "g (float[2,2] x, float[2,2] w) => (float[2,2] y) { a = Tanh (x) b = MatMul (a, w) y = Tanh (b) }"
    model, context = lowered(text, "fp16{allow=[MatMul]}")
    assert casts(model) == 3
    assert any("not on the list" in reason for reason in reasons(context))


@pytest.mark.parametrize("op", ["Foo", "Bar"])
def test_custom_operators_are_left_alone(op):
    header = '<ir_version: 8, opset_import: ["" : 17, "my" : 1]>'
    expect_unchanged(
        f"{header} g (float[2] x) => (float[2] y) {{ y = my.{op} (x) }}",
        "fp16",
        f"nothing is known of the types of my.{op}",
    )


def test_bf16_needs_operator_set_13():
    text = '<ir_version: 6, opset_import: ["" : 12]> g (float[2] x) => (float[2] y) { y = Tanh (x) }'
    expect_unchanged(text, "bf16", "operator set 12 has no bfloat16: raise it to 13")


def test_an_operator_that_got_bf16_later():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,1,4,4] x, float[1,1,3,3] w) => (float[1,1,2,2] y) { y = Conv (x, w) }"""
    expect_unchanged(text, "bf16", "Conv of operator set 17 has no bfloat16 (that came with 22)")


def test_what_a_target_lacks():
    text = """<ir_version: 10, opset_import: ["" : 22]>
    g (float[1,1,4,4] x, float[1,1,3,3] w) => (float[1,1,6,6] y) { y = ConvTranspose (x, w) }"""
    expect_unchanged(text, "bf16", "tensorrt has no ConvTranspose in bfloat16", target="tensorrt")


def test_trees_keep_their_type():
    text = """<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
    g (float[2,2] x) => (float[2,2] y) { y = ai.onnx.ml.Scaler <offset = [1.0, 2.0], scale = [2.0, 2.0]> (x) }"""
    expect_unchanged(text, "fp16", "Scaler takes or gives FP32 here")


def test_sequences_keep_their_type():
    text = "g (float[2] x) => (float[2] y) <int64 i = {0}> { s = SequenceConstruct (x) y = SequenceAt (s, i) }"
    expect_unchanged(text, "fp16", "sequences, optionals and sparse tensors keep their type")


def test_each_node_can_be_taken_back(lowered):
    """Validation that finds one lowered node at fault undoes that one."""
    text = "g (float[2] x) => (float[2] y) { a = Tanh (x) b = Sigmoid (a) y = Tanh (b) }"
    context = PassContext(journal=Journal(excluded=frozenset({Key("fp16", "lower", "b")})))
    graph = load(parse(text))
    Pipeline.parse("fp16").run(graph, context)
    assert [node.op for node in graph] == ["Cast", "Tanh", "Cast", "Sigmoid", "Cast", "Tanh", "Cast"]


def test_what_training_names_keeps_its_type(lowered):
    """Training reads and writes the FP32 weight by its name."""
    model = parse("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Mul (x, w) }")
    update = model.training_info.add()
    update.algorithm.CopyFrom(
        onnx.parser.parse_graph("t (float[2] g) => (float[2] v) { v = Sub (w, g) }"),
    )
    update.update_binding.add(key="w", value="v")
    graph = load(model)
    Pipeline.parse("fp16").run(graph, PassContext())
    result = onnx.ModelProto.FromString(to_bytes(graph))
    assert {t.name: t.data_type for t in result.graph.initializer} == {"w": 1}
    assert casts(result) == 3


def test_old_operator_sets_are_left_alone():
    text = '<ir_version: 3, opset_import: ["" : 5]> g (float[2] x) => (float[2] y) { y = Tanh (x) }'
    expect_unchanged(text, "fp16", "older than 7")


@pytest.mark.parametrize(("reduction", "stays"), [("add", True), ("none", False)])
def test_what_a_target_lacks_in_some_nodes(lowered, reduction, stays):
    model, context = lowered(
        f"""g (float[4] x, int64[2,1] i) => (float[4] y) <float[2] u = {{1, 2}}> {{
            a = Tanh (x) b = ScatterND <reduction = "{reduction}"> (a, i, u) y = Tanh (b)
        }}"""
    )
    assert casts(model) == (4 if stays else 2)
    assert stays == any("ort-cpu has no ScatterND in float16" in reason for reason in reasons(context))
