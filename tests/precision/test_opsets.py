"""The operator set is raised for the sake of dequantized weights, where nothing else changes by that."""

import numpy as np
import onnx
import onnx.checker
import pytest
from onnx import TensorProto

from onnx_opt.ir import load, to_bytes
from onnx_opt.passes import PassContext
from onnx_opt.precision import raise_opset
from onnx_text import parse, reasons

FLOAT16 = int(TensorProto.FLOAT16)
WEIGHT = """<ir_version: 8, opset_import: ["" : OPSET]> g (float[2,4] x) => (float[2,4] y)
    <int8[4,4] q = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float s = {0.1}> { w = DequantizeLinear (q, s) BODY }"""
PLAIN = "y = MatMul (x, w)"


def raised(text: str) -> tuple[onnx.ModelProto, PassContext]:
    graph, context = load(parse(text)), PassContext()
    done = raise_opset(graph, context, FLOAT16)
    model = onnx.ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(model, full_check=True)
    assert done == (model.opset_import[0].version != parse(text).opset_import[0].version)
    return model, context


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize("body", [PLAIN, "t = Transpose (w) y = MatMul (x, t)", "r = Reshape (w, i) y = MatMul (x, r)"])
def test_weights_are_dequantized_into_half_precision(opset, body, lowered):
    text = WEIGHT.replace("OPSET", str(opset)).replace("BODY", body).replace("float s", "int64[2] i = {4, 4}, float s")
    assert raised(text)[0].opset_import[0].version == 19
    model, context = lowered(parse(text))
    assert [node.op_type for node in model.graph.node].count("Cast") == 2
    assert {rewrite.rule for rewrite in context.journal.rewrites} == {"raise-opset", "lower"}


def test_a_split_into_equal_parts_then_says_how_many():
    model, _ = raised(
        WEIGHT.replace("OPSET", "17").replace(
            "BODY", "a, b = Split <axis = 1> (w) c = Concat <axis = 1> (a, b) t = MatMul (x, w) y = MatMul (t, c)"
        )
    )
    (split,) = [node for node in model.graph.node if node.op_type == "Split"]
    assert model.opset_import[0].version == 19 and {a.name: a.i for a in split.attribute}["num_outputs"] == 2


def test_a_node_that_would_mean_something_else_is_in_the_way():
    body = "m = MatMul (x, w) r = ReduceMax <axes = [1]> (m) y = Add (m, r)"
    model, context = raised(WEIGHT.replace("OPSET", "17").replace("BODY", body))
    assert model.opset_import[0].version == 17
    assert any("ReduceMax of operator set 17 may mean something else in 19 ('r')" in each for each in reasons(context))


@pytest.mark.parametrize(
    ("opset", "weight"),
    [(12, "DequantizeLinear (q, s)"), (19, "DequantizeLinear (q, s)"), (17, "Cast <to = 1> (q)")],
    ids=["too old", "new enough", "nothing is dequantized"],
)
def test_models_that_keep_their_operator_set(opset, weight):
    text = WEIGHT.replace("OPSET", str(opset)).replace("DequantizeLinear (q, s)", weight).replace("BODY", PLAIN)
    model, context = raised(text)
    assert model.opset_import[0].version == opset and not reasons(context)


def test_a_graph_that_runs_in_integers_keeps_its_operator_set():
    body = """a = QuantizeLinear (x, s, z) b = DequantizeLinear (a, s, z) m = MatMul (b, w) c = QuantizeLinear (m, s, z)
        y = DequantizeLinear (c, s, z)"""
    text = WEIGHT.replace("OPSET", "17").replace("BODY", body).replace("float s", "int8 z = {0}, float s")
    assert raised(text)[0].opset_import[0].version == 17


def test_the_results_are_the_same(lowered):
    import onnxruntime

    text = WEIGHT.replace("OPSET", "15").replace("BODY", PLAIN)
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32)
    run = lambda model: onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]  # noqa: E731
    assert run(lowered(parse(text))[0]) == pytest.approx(run(parse(text)), rel=5e-3, abs=5e-3)
