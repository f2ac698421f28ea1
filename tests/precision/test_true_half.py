"""The evaluator of half precision, and what is measured with it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnx_opt.ir import load
from onnx_opt.precision import ranges, sensitivity
from onnx_opt.precision.evaluate import true_half
from onnx_opt.precision.formats import FORMATS
from onnx_opt.validate import Source
from onnx_opt.validate.run import Session
from onnx_text import parse

FP16 = FORMATS[TensorProto.FLOAT16]
SUMS = frozenset({"ReduceMean", "ReduceL2", "GlobalAveragePool"})


def source(text: str) -> Source:
    return Source(data=parse(text).SerializeToString())


def outputs(model: Source, **feed) -> list[np.ndarray]:
    with Session(model) as session:
        return session.run({name: np.asarray(value) for name, value in feed.items()})


ROOT_OF_SQUARE = """g (float[2] x) => (float[2] y) {
    h = Cast<to=10>(x)
    s = Mul(h, h)
    r = Sqrt(s)
    y = Cast<to=1>(r)
}"""


def test_square_that_overflows_is_seen_although_onnxruntime_does_not_see_it():
    model = source(ROOT_OF_SQUARE)
    x = np.array([300, 3], np.float32)
    assert outputs(model, x=x)[0].tolist() == [300, 3]
    assert outputs(true_half(model), x=x)[0].tolist() == [np.inf, 3]


def test_bfloat16_rounds_and_does_not_overflow():
    model = source(ROOT_OF_SQUARE.replace("to=10", "to=16"))
    x = np.array([300, 3.14159], np.float32)
    assert outputs(true_half(model), x=x)[0] == pytest.approx([300, 3.14], rel=2**-8)
    assert outputs(true_half(model), x=x)[0][1] != np.float32(3.14159)


def test_subnormal_numbers_are_kept_and_smaller_ones_vanish():
    model = source("g (float[2] x) => (float[2] y) { h = Cast<to=10>(x) y = Cast<to=1>(h) }")
    low, zero = outputs(true_half(model), x=np.array([1e-5, 1e-8], np.float32))[0]
    assert low == np.float32(np.float16(1e-5)) and zero == 0


def test_half_precision_interface_keeps_its_names_and_types():
    model = source("g (float16[2] x) => (float16[2] y, float16[2] z) { y = Mul(x, x) z = Neg(y) }")
    y, z = outputs(true_half(model), x=np.array([300, 2], np.float16))
    assert y.dtype == np.float16 and y.tolist() == [np.inf, 4] and z.tolist() == [-np.inf, -4]


def test_weights_constants_bodies_and_functions_round_too():
    text = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
    g (float[2] x, bool b) => (float[2] y) <float16[2] w = {16384, 16896}> {
        h = Cast<to=10>(x)
        i = If (b) <
            then_branch = t () => (float16[2] p) { c = Constant<value=float16[1] {23728}>() q = Mul(h, c) p = Mul(q, w) },
            else_branch = e () => (float16[2] n) { n = local.Square(h) }
        >
        k = Sqrt(i)
        y = Cast<to=1>(k)
    }
    <domain: "local", opset_import: ["" : 17]> Square (a) => (s) { s = Mul(a, a) }"""
    half = true_half(source(text))
    x = np.array([300, 3], np.float32)
    assert outputs(half, x=x, b=True)[0] == pytest.approx([np.inf, np.sqrt(2700)], rel=1e-3)
    assert outputs(half, x=x, b=False)[0].tolist() == [np.inf, 3]


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("op", ["ReduceMean", "ReduceL2", "GlobalAveragePool"])
def test_sums_that_a_target_keeps_in_half_precision_overflow(op, opset):
    shape = [1, 1, 40, 50]
    axes = (
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])]
        if opset >= 18 and op != "GlobalAveragePool"
        else []
    )
    attrs = {} if axes or op == "GlobalAveragePool" else {"axes": [2, 3]}
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node(op, ["h", *(a.name for a in axes)], ["r"], **attrs),
        helper.make_node("Cast", ["r"], ["y"], to=TensorProto.FLOAT),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, shape)], [value("y", 1, [1, 1, 1, 1])], axes)
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()
    x = np.full(shape, 100, np.float32)
    assert np.isfinite(outputs(true_half(Source(data=data)), x=x)[0]).all()
    assert np.isinf(outputs(true_half(Source(data=data), SUMS), x=x)[0]).all()
    small = outputs(true_half(Source(data=data), SUMS), x=x / 100)[0]
    assert small == pytest.approx(outputs(Source(data=data), x=x / 100)[0], rel=2e-3)


def test_model_without_half_precision_stays_as_it_is():
    model = source("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    assert true_half(model) is model


# -- ranges ------------------------------------------------------------------------------------------------------------


def measured(text: str, **feed) -> tuple[ranges.Ranges, dict[str, str]]:
    model = source(text)
    graph = load(model.data)
    instrumented, names = ranges.instrumented(graph, model)
    with Session(instrumented) as session:
        results = session.run({name: np.asarray(value) for name, value in feed.items()})
    with Session(model) as session:
        for one, two in zip(session.run({n: np.asarray(v) for n, v in feed.items()}), results, strict=False):
            assert np.array_equal(one, two, equal_nan=True)
    found = ranges.Ranges()
    found.add(names, results[-1])
    reasons = ranges.overflowing(graph, found, FP16, SUMS)
    return found, {node.outputs[0].name: reason for node, reason in reasons.items()}


def test_ranges_of_inputs_and_results():
    found, reasons = measured(
        "g (float[2] x) => (float[2] y) { s = Mul(x, x) t = Sqrt(s) y = Neg(t) }", x=np.array([-300, 2], np.float32)
    )
    assert found.largest == {"x": 300, "s": 90000, "t": 300, "y": 300}
    assert reasons == {
        "s": "result 's' reaches 9e+04, which overflows fp16 (65504)",
        "t": "operand 's' reaches 9e+04, which overflows fp16 (65504)",
    }


def test_values_of_which_nothing_is_left_stay_and_infinities_do_not_count():
    _, reasons = measured(
        "g (float[2] x, float[2] m) => (float[2] y, float[2] z) { y = Mul(x, x) z = Add(x, m) }",
        x=np.array([1e-4, 1e-5], np.float32),
        m=np.array([-np.inf, 0], np.float32),
    )
    assert list(reasons) == ["y"] and "keeps next to nothing" in reasons["y"]


def test_sum_inside_of_a_mean():
    _, reasons = measured(
        "g (float[1,1000] x) => (float[1,1] y) { y = ReduceMean<axes=[1]>(x) }", x=np.full((1, 1000), 100, np.float32)
    )
    assert "the sum inside of it reaches 1e+05" in reasons["y"]


def test_empty_scalar_and_unknown_sizes_are_measured():
    text = "g (float[n] x, float s) => (float[n] y, float t) { y = Neg(x) t = Neg(s) }"
    found, _ = measured(text, x=np.zeros(0, np.float32), s=np.float32(7))
    assert found.largest == {"x": 0, "s": 7, "y": 0, "t": 7}


# -- losses ------------------------------------------------------------------------------------------------------------


def losses(text: str, **feed) -> dict[str, float]:
    model = source(text)
    graph = load(model.data)
    instrumented, listed = sensitivity.instrumented(graph, model, FP16, SUMS)
    with Session(instrumented) as session:
        vector = session.run({name: np.asarray(value) for name, value in feed.items()})[-1]
    return {node.outputs[0].name: loss for node, loss in sensitivity.losses(listed, vector).items()}


def test_a_loss_is_charged_to_the_node_that_causes_it():
    found = losses(
        "g (float[2] x, float[2] y) => (float[2] b) { d = Sub(x, y) s = Mul(x, x) a = Add(d, y) b = Sqrt(s) }",
        x=np.array([1.0001, 300], np.float32),
        y=np.array([1, 299.99], np.float32),
    )
    assert found["d"] > 0.5 and np.isinf(found["s"]) and found["a"] < 1e-3
    assert np.isinf(found["b"])  # of an operand that FP16 cannot hold


def test_booleans_bodies_and_random_nodes():
    text = """g (float[2] x, bool c) => (bool[2] g, float[2] i, float[2] r) <float[1] one = {1.0}> {
        g = Greater(x, one)
        i = If (c) <then_branch = t () => (float[2] p) { q = Mul(x, x) p = Mul(q, q) },
                    else_branch = e () => (float[2] n) { n = Neg(x) }>
        r = RandomNormalLike(x)
    }"""
    found = losses(text, x=np.array([1.0001, 20], np.float32), c=True)
    assert found["g"] == 0.5 and np.isinf(found["i"]) and "r" not in found
    assert losses(text, x=np.array([1.0001, 20], np.float32), c=False)["i"] < 1e-3


def test_memory_is_that_of_the_model_itself():
    """Every inner value is handed on only after it was measured: the order in the file is an order of execution."""
    text = "g (float[2] x) => (float[2] y) { a = Sin(x) b = Tanh(a) y = Sin(b) }"
    model = source(text)
    instrumented, _ = ranges.instrumented(load(model.data), model)
    nodes = {n.output[0]: n for n in onnx.ModelProto.FromString(instrumented.data).graph.node}
    for name in "aby":
        reshape = nodes[name]
        assert reshape.op_type == "Reshape"
        waits = {nodes[shape].input[0] for shape in nodes[reshape.input[1]].input}
        assert {nodes[each].op_type for each in waits if each != reshape.input[0]} == {"ReduceMax", "ReduceMin"}
