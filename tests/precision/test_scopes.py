"""Subgraphs, what they capture, local functions."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as helper
import pytest
from onnx import TensorProto

from onnx_opt.validate import prove
from onnx_text import parse, reasons, run
from precision_models import casts

IF = """g (bool c, float[2] x) => (float[2] y) {
    a = Sigmoid (x)
    b = If (c) <then_branch = t () => (float[2] p) { p = Tanh (a) }, else_branch = e () => (float[2] q) { q = OTHER (a) }>
    y = Sigmoid (b)
}"""


def proven(before: str | onnx.ModelProto, after: onnx.ModelProto) -> None:
    model = parse(before) if isinstance(before, str) else before
    verdict = prove(model.SerializeToString(), after.SerializeToString(), lowered="float16", samples=4)
    assert verdict.proven, verdict.reason


def test_branches_and_what_they_capture_are_half_precision(lowered):
    text = IF.replace("OTHER", "Relu")
    model, _ = lowered(text)
    assert casts(model) == 2
    proven(text, model)


def test_a_branch_that_stays_is_cast_inside(lowered):
    text = IF.replace("OTHER", "Sin")
    model, _ = lowered(text, "fp16{block=[Sin]}")
    branch = next(a.g for node in model.graph.node for a in node.attribute if a.name == "else_branch")
    assert [node.op_type for node in branch.node] == ["Sin", "Cast"]
    assert casts(model) == 4  # x, y, the captured value once where it is computed, the result of Sin
    proven(text, model)


def loop() -> onnx.ModelProto:
    """sum and history of x_{n+1} = tanh(x_n) + w over three iterations."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Tanh", ["state"], ["t"]),
            helper.make_node("Add", ["t", "w"], ["next"]),
            helper.make_node("Mul", ["next", "captured"], ["seen"]),
        ],
        "body",
        [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []), info("state", TensorProto.FLOAT, [2])],
        [
            info("go_on", TensorProto.BOOL, []),
            info("next", TensorProto.FLOAT, [2]),
            info("seen", TensorProto.FLOAT, [2]),
        ],
        [helper.make_tensor("w", TensorProto.FLOAT, [2], [0.1, 0.2])],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Sigmoid", ["x"], ["captured"]),
            helper.make_node("Loop", ["n", "", "x"], ["last", "all"], body=body),
            helper.make_node("Sigmoid", ["last"], ["y"]),
        ],
        "g",
        [info("x", TensorProto.FLOAT, [2])],
        [info("y", TensorProto.FLOAT, [2]), info("all", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor("n", TensorProto.INT64, [], [3])],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_carried_and_scanned_values_of_a_loop(lowered):
    before = loop()
    model, _ = lowered(before)
    body = next(a.g for node in model.graph.node for a in node.attribute if a.name == "body")
    assert [v.type.tensor_type.elem_type for v in body.input] == [7, 9, 10]
    assert [v.type.tensor_type.elem_type for v in body.output] == [9, 10, 10]
    assert body.initializer[0].data_type == 10
    assert not any(node.op_type == "Cast" for node in body.node)
    proven(before, model)


def test_casts_leave_loops(lowered):
    """What a loop reads in FP32 is cast before it, not in each iteration."""
    before = loop()
    model, _ = lowered(before, "fp16{block=[Tanh,Add,Mul]}")
    body = next(a.g for node in model.graph.node for a in node.attribute if a.name == "body")
    assert not any(node.op_type == "Cast" for node in body.node)
    proven(before, model)


def test_the_states_of_a_scan(lowered):
    text = """g (float[2] s, float[5,2] x) => (float[2] t, float[5,2] y) {
        t, y = Scan <num_scan_inputs = 1, body = b (float[2] a, float[2] e) => (float[2] c, float[2] d) {
            f = Tanh (e) c = Add (a, f) d = Sigmoid (c)
        }> (s, x)
    }"""
    model, _ = lowered(text)
    assert casts(model) == 4
    proven(text, model)


CALL = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
    g (float[2] x) => (float[2] y) <float[2] a, float[2] b> { a = Tanh (x) b = local.scaled <by = 3.0> (a) y = local.scaled (b) }
    <opset_import: ["" : OPSET, "local" : 1], domain: "local"> scaled <by : float = 2.0> (a) => (c) {
        k = Constant <value_float : float = @by> () b = Mul (a, k) c = local.bent (b)
    }
    <opset_import: ["" : 17], domain: "local"> bent (a) => (b) { b = BODY }"""


def test_calls_of_local_functions_are_inlined(lowered):
    """Each call gets its own constants and types."""
    text = CALL.replace("OPSET", "17").replace("BODY", "Softsign (a)")
    model, _ = lowered(text, "fp16,cleanup")
    kinds = [node.op_type for node in model.graph.node if node.op_type != "Constant"]
    assert kinds == ["Cast", "Tanh", "Mul", "Softsign", "Mul", "Softsign", "Cast"]
    assert not model.functions
    proven(text, model)


def test_calls_that_cannot_be_inlined_stay_in_fp32(lowered):
    body = "If (z) <then_branch = t () => (float[2] p) { p = Neg (a) }, else_branch = e () => (float[2] q) { q = Abs (a) }>"
    text = CALL.replace("OPSET", "17").replace("b = BODY", f"z = Constant <value = bool {{1}}> () b = {body}")
    model, context = lowered(text)
    assert [node.op_type for node in model.graph.node if node.op_type in ("bent", "Cast")].count("bent") == 2
    proven(text, model)
    assert any("a node with subgraphs (If)" in reason for reason in reasons(context))
    assert any("bent is a local function" in reason for reason in reasons(context))


def test_functions_of_another_operator_set(lowered):
    """Mul and Constant are the same operators in sets 14 and 17."""
    text = CALL.replace("OPSET", "14").replace("BODY", "Softsign (a)")
    model, _ = lowered(text)
    assert not any(node.op_type == "scaled" for node in model.graph.node)
    proven(text, model)


def test_functions_that_mean_another_operator():
    text = (
        CALL.replace("OPSET", "13")
        .replace("BODY", "Softsign (a)")
        .replace("b = Mul (a, k)", "d = Mul (a, k) b = Relu (d)")
    )
    graph, context = run(text, "fp16")
    assert [node.op for node in graph].count("scaled") == 2
    assert any("means Mul of operator set 13, the model imports 17" in reason for reason in reasons(context))


@pytest.mark.parametrize("count", [3000])
def test_depth_is_no_matter(lowered, count):
    nodes = [helper.make_node("Tanh", [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [info("v0", TensorProto.FLOAT, [2])], [info(f"v{count}", TensorProto.FLOAT, [2])]
    )
    model, _ = lowered(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]))
    assert casts(model) == 2
    assert np.all([node.op_type in ("Cast", "Tanh") for node in model.graph.node])


@pytest.mark.parametrize("constant", ["k = Constant <value_floats = [0.5, 0.1]> ()", "k = Identity (w)"])
def test_a_branch_that_gives_a_constant(lowered, constant):
    text = f"""g (bool c, float[2] x) => (float[2] y) <float[2] w = {{0.5, 0.1}}> {{
        a = Tanh (x)
        b = If (c) <then_branch = t () => (float[2] p) {{ p = Tanh (a) }}, else_branch = e () => (float[2] k) {{ {constant} }}>
        y = Sigmoid (b)
    }}"""
    model, _ = lowered(text)
    assert casts(model) == 2
    proven(text, model)


def test_only_what_computes_must_be_allowed(lowered):
    text = IF.replace("OTHER", "Relu")
    model, _ = lowered(text, "fp16{allow=[Sigmoid,Tanh]}")
    assert casts(model) == 2


@pytest.mark.parametrize(("version", "count"), [(15, 5), (16, 2)])
def test_control_flow_got_bf16_later(lowered, version, count):
    text = f'<ir_version: 8, opset_import: ["" : {version}]>' + IF.replace("OTHER", "Tanh")
    model, _ = lowered(text, "bf16")
    assert casts(model) == count
