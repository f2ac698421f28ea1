"""Masks and epsilons that half precision does not hold: another number that means the same, or FP32 and the reason."""

import numpy as np
import onnx
import onnx.checker
import pytest
from onnx import TensorProto, numpy_helper

import onnx_opt
from onnx_opt.ir import load, to_bytes
from onnx_opt.passes import PassContext
from onnx_opt.precision import lower
from onnx_text import parse, reasons

FLOAT16, BFLOAT16 = int(TensorProto.FLOAT16), int(TensorProto.BFLOAT16)


def lowered(text, magnitudes=None, elem_type=FLOAT16, **how):
    """The model in half precision, its scalars by value, and why nodes stayed."""
    graph, context = load(parse(text)), PassContext()
    done = lower(graph, context, elem_type, magnitudes=magnitudes, **how)
    model = onnx.ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(model, full_check=True)
    numbers = {i.name: numpy_helper.to_array(i).tolist() for i in model.graph.initializer}
    return model, numbers, done, reasons(context)


def casts(model):
    return [node.op_type for node in model.graph.node].count("Cast")


# -- masks -------------------------------------------------------------------------------------------------------------

SELECTED = "g (bool[4] m, float[2,4] s) => (float[2,4] y) <float f = {-3.4e38}> { w = Where (m, f, s) y = Softmax (w) }"
ADDED = """g (bool[2,4] m, float[2,4] s) => (float[2,4] y) <float f = {-1e9}, float z = {0}> {
    mask = Where (m, f, z) wide = Unsqueeze (mask, a) tall = Expand (wide, b) flat = Squeeze (tall, a)
    masked = Add (s, flat) y = Softmax (masked) }""".replace(
    "float z = {0}>", "float z = {0}, int64[1] a = {0}, int64[3] b = {1, 2, 4}>"
)
SWITCHED = """g (int64[1,4] m, float[2,4] s) => (float[2,4] y) <float f = {-3.4028235e38}, float one = {1}> {
    shown = Cast <to = 1> (m) hidden = Sub (one, shown) mask = Mul (hidden, f) masked = Add (s, mask) y = Softmax (masked) }"""


@pytest.mark.parametrize(
    ("text", "magnitudes"),
    [(SELECTED, {"s": 30000.0}), (ADDED, {"s": 7.5}), (SWITCHED, {"s": 7.5, "hidden": 1.0})],
    ids=["selected", "added", "switched"],
)
def test_a_mask_becomes_the_lowest_half_number(text, magnitudes):
    model, numbers, done, _ = lowered(text, magnitudes)
    assert numbers["f"] == -65504.0 and casts(model) == parse(text).graph.node[0].op_type.count("Cast") + 2
    assert not [node.op for node in done.kept if node.op != "Cast"]


@pytest.mark.parametrize(
    ("text", "magnitudes", "reason"),
    [
        (SELECTED, {"s": 40000.0}, "'s' beside the mask reaches 4e+04, more than 32752"),
        (SELECTED, None, "how large 's' becomes beside the mask was not measured"),
        (SELECTED.replace("y = Softmax (w)", "y = LogSoftmax (w)"), {"s": 1.0}, "means the same to 'y' (LogSoftmax)"),
        (SELECTED.replace("y = Softmax (w)", "y = Identity (w)"), {"s": 1.0}, "'y' shows a mask"),
        (ADDED, {"s": 9.0}, "'s' beside the mask reaches 9, more than 8"),
        (ADDED.replace("-1e9", "-1e8"), {"s": 3.0}, "more than 2"),  # FP32 itself does not absorb it
        (ADDED.replace("Add (s, flat)", "Add (flat, flat)"), {"s": 1.0}, "'masked' adds two masks"),
        (SWITCHED, {"s": 1.0, "hidden": 2.0}, "is not known to be 0 or 1"),
        (SWITCHED.replace("int64[1,4] m", "float16[1,4] m"), {"s": 1.0, "hidden": 1.0}, "is not known to be 0 or 1"),
        (SWITCHED.replace("Mul (hidden, f)", "Mul (f, f)"), {"s": 1.0}, "scales a mask"),
    ],
)
def test_masks_that_stay_in_fp32_and_why(text, magnitudes, reason):
    _, numbers, done, why = lowered(text, magnitudes)
    assert numbers["f"] == pytest.approx(numpy_helper.to_array(parse(text).graph.initializer[0]))
    assert any("overflows float16" in each and reason in each for each in why), why
    assert {"Where", "Softmax", "Add", "Mul"} & {node.op for node in done.kept}


def test_a_mask_stays_as_a_whole_with_what_carries_it():
    """In FP32, -65504 + s is not -65504: rows that are hidden altogether would not be uniform."""
    graph, context = load(parse(ADDED)), PassContext()
    add = next(node for node in graph if node.op == "Add")
    done = lower(graph, context, FLOAT16, keep={add: "it is blocked"}, magnitudes={"s": 1.0})
    assert {"Where", "Add", "Softmax"} <= {node.op for node in done.kept}
    assert any("'masked' stays in FP32" in reason for reason in reasons(context))


def test_a_softmax_at_the_end_of_a_mask_may_stay_in_fp32():
    graph = load(parse(ADDED))
    softmax = next(node for node in graph if node.op == "Softmax")
    done = lower(graph, PassContext(), FLOAT16, keep={softmax: "it is blocked"}, magnitudes={"s": 1.0})
    assert [node.op for node in done.kept] == ["Softmax"]


def test_a_softmax_of_a_mask_alone():
    text = "g (float[2] x) => (float[2] y) <float[2] f = {-1e9, 0}> { a = Softmax (f) y = Mul (x, a) }"
    _, numbers, done, _ = lowered(text)
    assert numbers["f"] == [-65504.0, 0.0] and not done.kept


def test_what_else_reads_the_constant_keeps_the_constant():
    text = SELECTED.replace("=> (float[2,4] y)", "=> (float[2,4] y, bool[2,4] k)").replace("y =", "k = Less (s, f) y =")
    _, numbers, _, why = lowered(text, {"s": 1.0})
    assert list(numbers.values()) == [pytest.approx(-3.4e38)]
    assert any("means the same to 'k' (Less)" in reason for reason in why)


def test_bf16_holds_most_masks_but_not_the_lowest_fp32_number():
    text = SELECTED.replace("-3.4e38", "-3.4028235e38")
    _, numbers, _, _ = lowered(text, {"s": 1.0}, BFLOAT16)
    assert -3.4e38 < numbers["f"] < -3.3e38
    _, numbers, done, _ = lowered(SELECTED.replace("-3.4e38", "-1e9"), None, BFLOAT16)
    assert numbers["f"] == pytest.approx(-1e9, rel=1e-2) and not done.kept


HIDDEN, SHOWN = [[1, 1, 1, 1], [0, 0, 1, 1]], [[0, 0, 0, 1], [1, 0, 1, 1]]


def measured(text, rows):
    """The report on the model in half precision where the mask hides these elements."""
    data = [{"m": np.array(rows, bool), "s": np.array([[1, -2, 3, -4], [4, 3, 2, 1]], np.float32)}]
    return onnx_opt.optimize(parse(text), "fp16", data=data, samples=0).report


@pytest.mark.parametrize("rows", [HIDDEN, SHOWN], ids=["hidden", "shown"])
def test_rows_that_are_hidden_altogether_stay_uniform(rows):
    report = measured(SELECTED.replace("bool[4] m", "bool[2,4] m"), rows)
    assert report.rewrites["fp16", "clamp-mask"] == 1 and report.status == "proven"
    assert report.proof["half"]["true_half_precision"] < 2e-3
    assert report.measured["fp16"]["by_range"] == report.measured["fp16"]["by_search"] == 0


def test_rows_that_are_hidden_by_adding_are_uniform_in_true_half_precision_alone():
    """ONNX Runtime adds in FP32 here, where -65504 absorbs nothing: what it makes of such rows is seen, and undone."""
    assert measured(ADDED, SHOWN).rewrites["fp16", "clamp-mask"] == 1
    report = measured(ADDED, HIDDEN)
    assert report.measured["fp16"]["error"] < 2e-3
    (fault,) = report.faults
    assert fault.rule == "clamp-mask" and report.status == "proven"


# -- epsilons ----------------------------------------------------------------------------------------------------------

NORM = "g (float[2,4] x) => (float[2,4] y) <float e = {1e-12}> { a = Sigmoid (x) BODY y = Div (a, r) }"
LEAST = 2.0**-24


@pytest.mark.parametrize(
    "body",
    ["r = Add (a, e)", "r = Add (e, a)", "r = Max (a, e)", "r = Clip (a, e)", "b = Add (a, e) r = Sqrt (b)"],
)
def test_an_epsilon_becomes_the_least_half_number(body):
    model, numbers, done, _ = lowered(NORM.replace("BODY", body))
    assert numbers["e"] == LEAST and casts(model) == 2 and not done.kept


@pytest.mark.parametrize(("epsilon", "expected"), [("1e-7", 2 * LEAST), ("1e-5", 168 * LEAST), ("1e-9", LEAST)])
def test_the_nearest_number_that_is_not_zero(epsilon, expected):
    _, numbers, _, _ = lowered(NORM.replace("1e-12", epsilon).replace("BODY", "r = Add (a, e)"))
    assert numbers["e"] == expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("b = Add (a, e) r = Log (b)", "'r' is a logarithm"),
        ("b = Add (a, e) c = Identity (b) r = Log (c)", "'r' is a logarithm"),
        ("r = Mul (a, e)", "Mul does more than add it"),
        ("r = Clip (a, , e)", "Clip does more than add it"),
        ("b = Greater (a, e) r = Cast <to = 1> (b)", "Greater does more than add it"),
        ("r = Sub (a, e)", "Sub does more than add it"),
    ],
)
def test_epsilons_that_stay_in_fp32_and_why(body, reason):
    _, numbers, done, why = lowered(NORM.replace("BODY", body))
    assert numbers["e"] == pytest.approx(1e-12)
    assert done.kept and any("too small for float16" in each and reason in each for each in why), why


def test_tiny_numbers_that_are_no_epsilon_stay():
    text = NORM.replace("BODY", "r = Add (a, e)").replace("float e = {1e-12}", "float[4] e = {1e-9, -1e-9, 0, 1e-9}")
    _, numbers, done, _ = lowered(text)
    assert np.abs(numbers["e"]).max() == pytest.approx(1e-9) and [node.op for node in done.kept] == ["Add"]


def test_each_reader_of_an_epsilon_has_the_number_it_needs():
    text = NORM.replace("BODY", "b = Mul (a, e) c = Add (b, e) r = Sqrt (c)")
    _, numbers, done, _ = lowered(text)
    assert sorted(numbers.values()) == [pytest.approx(1e-12), LEAST]
    assert [node.op for node in done.kept] == ["Mul"]


def test_division_by_zero_stays_guarded():
    """A norm of zeros: FP32 gives 0, half precision with an epsilon of 0 would give NaN."""
    text = """g (float[2,4] x) => (float[2,4] y) <float e = {1e-12}> {
        n = ReduceL2 <axes = [-1]> (x) d = Add (n, e) y = Div (x, d) }"""
    data = [{"x": np.array([[0, 0, 0, 0], [1, 2, 3, 4]], np.float32)}]
    result = onnx_opt.optimize(parse(text), "fp16", data=data, samples=0)
    assert result.report.rewrites["fp16", "lift-epsilon"] == 1
    assert result.report.status == "proven" and result.report.measured["fp16"]["by_loss"] == 0
    assert result.report.proof["half"]["true_half_precision"] < 2e-3


def test_sums_with_an_epsilon_may_be_negative():
    text = "g (float[8] x) => (float[8] y) <float e = {1e-12}> { a = Tanh (x) b = Add (a, e) y = Tanh (b) }"
    data = [{"x": np.linspace(-2, 2, 8, dtype=np.float32)}]
    report = onnx_opt.optimize(parse(text), "fp16", data=data, samples=0).report
    assert report.rewrites["fp16", "lift-epsilon"] == 1 and report.measured["fp16"]["by_loss"] == 0
    assert report.proof["half"]["true_half_precision"] < 2e-3


def test_a_rewrite_that_is_taken_back_leaves_the_rest_in_half_precision():
    graph, context = load(parse(NORM.replace("BODY", "r = Add (a, e)"))), PassContext()
    context.journal.excluded = {("", "lift-epsilon", "r")}
    done = lower(graph, context, FLOAT16)
    assert [(node.op, reason) for node, reason in done.kept.items()] == [("Add", "it was taken back")]
