"""The batch: what is returned, what is declined and why, and that one bad node does not stop the others."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from onnx_opt.evaluate import Evaluation, evaluate, onnxruntime_engine
from onnx_opt.ir import Graph, load

pytest.importorskip("onnxruntime")


def graph_of(text: str, opset: int = 17) -> Graph:
    return load(parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}').SerializeToString())


def arrays_of(outcome: Evaluation) -> dict[str, list[Any]]:
    return {value.name: array.tolist() for value, array in outcome.arrays.items()}


def reasons_of(outcome: Evaluation) -> dict[str, str]:
    return {node.outputs[0].name: reason for node, reason in outcome.declined.items()}


CHAIN = """
g (float[2] x) => (float[2] y)
<float[2] a = {1, 4}, float[2] b = {3, 5}>
{ c = Add(a, b) d = Sqrt(c) e = Mul(d, d) y = Add(e, x) }
"""


def test_returns_what_is_read_outside_of_the_batch() -> None:
    nodes = list(graph_of(CHAIN))
    outcome = evaluate(nodes[:3], onnxruntime=False)
    assert arrays_of(outcome) == {"e": [4.0, 9.0]}
    assert not outcome.declined


def test_returns_what_is_wanted() -> None:
    nodes = list(graph_of(CHAIN))
    outcome = evaluate(nodes[:3], wanted=nodes[0].outputs, onnxruntime=False)
    assert arrays_of(outcome) == {"c": [4.0, 9.0]}


def test_an_operand_that_is_not_constant_declines_what_depends_on_it() -> None:
    outcome = evaluate(list(graph_of(CHAIN)))
    assert reasons_of(outcome) == {"y": "an operand was not computed"}
    assert arrays_of(outcome) == {"e": [4.0, 9.0]}


def test_arrays_may_come_from_the_caller() -> None:
    graph = graph_of(CHAIN)
    given = {"x": np.zeros(2, np.float32), "a": np.zeros(2, np.float32), "b": np.ones(2, np.float32)}
    outcome = evaluate(list(graph), known=lambda value: given.get(value.name))
    assert arrays_of(outcome) == {"y": [1.0, 1.0]}


def test_random_and_unknown_operators_are_left_alone() -> None:
    graph = graph_of("""
    g () => (float[2] r, float[2] f, float[2] e)
    <float[2] a = {1, 4}>
    { r = RandomNormalLike(a) f = custom.Foo(a) e = Exp(f) }
    """)
    reason = "not known to be a function of its operands alone"
    assert reasons_of(evaluate(list(graph))) == {"r": reason, "f": reason, "e": "an operand was not computed"}


def test_both_engines_take_turns() -> None:
    """Tanh has no numpy kernel, integer division is never given to ONNX Runtime."""
    graph = graph_of("""
    g () => (int64[2] y)
    <float[2] a = {20, -30}, int64[1] three = {3}>
    { t = Tanh(a) s = Ceil(t) i = Cast <to = 7> (s) q = Div(i, three) f = Cast <to = 1> (q) u = Cosh(f)
      y = Cast <to = 7> (u) }
    """)
    assert arrays_of(evaluate(list(graph))) == {"y": [1, 1]}


def test_integer_division_that_would_trap_is_declined() -> None:
    """ONNX Runtime ends the process on the second one."""
    graph = graph_of("""
    g () => (int32[1] a, int32[1] b, int32[1] c)
    <int32[1] low = {-2147483648}, int32[1] zero = {0}, int32[1] minus = {-1}>
    { a = Div(low, zero) b = Div(low, minus) c = Mod(low, minus) }
    """)
    assert reasons_of(evaluate(list(graph))).keys() == {"a", "b", "c"}


def test_bad_nodes_do_not_stop_the_others() -> None:
    text = "g () => (float[1] y0) <float[3] a = {1, 2, 3}, int64[1] far = {9}> {"
    text += "".join(f"g{i} = Softmax(a) b{i} = GatherND(a, far) c{i} = Tanh(b{i}) " for i in range(40))
    graph = graph_of(text + "y0 = ReduceMean(g0) }")
    outcome = evaluate(list(graph), wanted=[value for node in graph for value in node.outputs])
    assert {value.name for value in outcome.arrays} == {"y0", *(f"g{i}" for i in range(40))}
    reasons = reasons_of(outcome)
    assert reasons["b0"].startswith("ONNX Runtime: ")
    assert reasons["c0"] == "an operand was not computed"
    assert sum(reason.startswith("ONNX Runtime failed on") for reason in reasons.values()) == 8


def test_malformed_operands_are_a_reason_not_an_exception() -> None:
    graph = graph_of("""
    g () => (float[1] r, float[1] p, float[1] e, float[1] c)
    <float[3] a = {1, 2, 3}, int64[2] s = {2, 2}, float[2] b = {1, 2}>
    { r = Reshape(a, s) p = Pad(a, b) e = Expand(a, s) c = Add(a, b) }
    """)
    assert reasons_of(evaluate(list(graph))).keys() == {"r", "p", "e", "c"}
    assert reasons_of(evaluate(list(graph), onnxruntime=False)).keys() == {"r", "p", "e", "c"}


def test_without_onnxruntime_the_rest_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime_engine, "is_installed", lambda: False)
    outcome = evaluate(list(graph_of("g () => (float[2] y) <float[2] a = {1, 4}> { b = Neg(a) y = Tanh(b) }")))
    assert arrays_of(outcome) == {"b": [-1.0, -4.0]}
    assert "ONNX Runtime is not installed" in reasons_of(outcome)["y"]


def test_results_without_dimensions_are_arrays() -> None:
    (array,) = evaluate(list(graph_of("g () => (float y) <float a = {4}> { y = Sqrt(a) }"))).arrays.values()
    assert isinstance(array, np.ndarray) and array.shape == () and array.dtype == np.float32


def test_results_are_contiguous() -> None:
    graph = graph_of("g () => (float[3,2] y) <float[2,3] a = {1,2,3,4,5,6}> { y = Transpose(a) }")
    (array,) = evaluate(list(graph)).arrays.values()
    assert array.flags.c_contiguous and array.tolist() == [[1, 4], [2, 5], [3, 6]]


def test_sequences_pass_inside_a_wave() -> None:
    graph = graph_of("""
    g () => (float[2] y, seq(float[1]) s)
    <float[4] a = {1, 2, 3, 4}, int64 two = {2}, int64 one = {1}>
    { s = SplitToSequence(a, two) y = SequenceAt(s, one) }
    """)
    outcome = evaluate(list(graph))
    assert arrays_of(outcome) == {"y": [3.0, 4.0]}
    assert reasons_of(outcome) == {"s": "a result is no tensor, or of a type that ONNX Runtime can't return"}


def test_half_precision_is_rounded_after_every_node() -> None:
    """ONNX Runtime alone would keep 300 * 300 in single precision and give 300 back."""
    graph = graph_of("g () => (float16[1] y) <float[1] a = {300}> { h = Cast <to = 10> (a) s = Mul(h, h) y = Sqrt(s) }")
    assert arrays_of(evaluate(list(graph))) == {"y": [np.inf]}
    graph = graph_of("g () => (float16[1] y) <float[1] a = {20}> { h = Cast <to = 10> (a) s = Exp(h) y = Log(s) }")
    assert arrays_of(evaluate(list(graph))) == {"y": [np.inf]}


@pytest.mark.parametrize("kind", ["BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"])
def test_types_that_onnxruntime_cannot_return(kind: str) -> None:
    x = np.array([1.1, -3.3, 1e-3, 200.0, 1e30, np.nan], np.float32)
    scale, zero = np.array(1, np.float32), helper.make_tensor("z", getattr(TensorProto, kind), [], [0.0])
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    if kind == "BFLOAT16":  # kept from the numpy kernel by an attribute that no kernel knows
        node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", getattr(TensorProto, kind), [6])])
    graph.initializer.extend([numpy_helper.from_array(x, "x"), numpy_helper.from_array(scale, "s"), zero])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    (found,) = evaluate(list(load(model.SerializeToString()))).arrays.values()
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(getattr(TensorProto, kind)))
    assert found.dtype == dtype
    finite = np.abs(x) < float(ml_dtypes.finfo(dtype).max)
    assert (found[finite].astype(np.float32) == x[finite].astype(dtype).astype(np.float32)).all()


def test_newer_operator_sets_run_where_the_operator_is_the_same() -> None:
    """ONNX Runtime 1.31 stops at operator set 26."""
    graph = graph_of("g () => (float[2] y) <float[2] a = {1, 4}> { y = Tanh(a) }", opset=28)
    assert [node.version for node in graph] == [28]
    assert arrays_of(evaluate(list(graph)))["y"] == pytest.approx(np.tanh([1, 4]))


def test_large_operands_are_fed() -> None:
    a = np.random.default_rng(5).standard_normal((64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "a"], ["b"]), helper.make_node("Tanh", ["b"], ["y"])],
        "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [64, 64])], [numpy_helper.from_array(a, "a")],
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    (found,) = evaluate(list(load(model.SerializeToString()))).arrays.values()
    assert np.allclose(found, np.tanh(a @ a), atol=1e-5)


def test_more_nodes_than_a_wave_holds() -> None:
    count = onnxruntime_engine.MAX_NODES + 50
    steps = "".join(f"v{i + 1} = Sin(v{i}) " for i in range(count))
    graph = graph_of(f"g () => (float[1] y) <float[1] v0 = {{1}}> {{ {steps} y = Cos(v{count}) }}")
    value = np.array([1], np.float32)
    for _ in range(count):
        value = np.sin(value)
    assert arrays_of(evaluate(list(graph)))["y"] == pytest.approx(np.cos(value).tolist(), rel=1e-4)


def test_attributes_of_a_function_call_are_not_known() -> None:
    model = parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
    g () => (float[1] y) <float[1] a = {1}> { y = local.f <alpha = 0.5> (a) }
    <domain: "local", opset_import: ["" : 17]>
    f <alpha> (x) => (y) { c = Constant <value_float: float = @alpha> () y = Add(c, c) }
    """)
    graph = load(model.SerializeToString())
    body = list(graph.model.functions[0])
    assert evaluate(body, wanted=body[-1].outputs).declined[body[0]].startswith("takes attributes")
    assert reasons_of(evaluate(list(graph))) == {"y": "not known to be a function of its operands alone"}
