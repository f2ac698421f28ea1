"""Graphs that protobuf reads and ONNX forbids."""

from __future__ import annotations

import onnx
import pytest
from onnx import AttributeProto, FunctionProto, NodeProto, TensorProto, helper

from .conftest import Trial, model_of

PLAIN = "g (float[2] x) => (float[2] y) {{ {} }}"
LOCAL = '<ir_version: 8, opset_import: ["": 17, "f": 1]>\n'


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ("y = Add(x, nothing)", "it reads 'nothing', which nothing defines"),
        ("z = Neg(x)", "nothing defines the output 'y'"),
        ("y = Relu(b) b = Add(x, nothing)", "'nothing'"),
        ("y = Neg(x) y = Abs(x)", "value 'y' is defined twice"),
        ("x = Neg(y) y = Abs(x)", "value 'x' is defined twice"),
        ("y, y = Split(x)", "value 'y' is defined twice"),
        ("y = Constant <value_float = 1.0> () y = Neg(x)", "value 'y' is defined twice"),
        ("y = Neg(y)", "on a cycle"),
        ("a = Add(x, c) b = Neg(a) c = Abs(b) y = Relu(x)", "on a cycle"),
        ("c = Cast <to = 9> (x) y = If (c) <then_branch = t () => (r) { r = Neg(y) }, else_branch = e () => (s) { s = Neg(x) }>", "on a cycle"),
        ("c = Cast <to = 9> (b) a = If (c) <then_branch = t () => (r) { r = Neg(x) }, else_branch = e () => (s) { s = Neg(x) }> b = Neg(a) y = Neg(x)", "on a cycle"),
    ],
)  # fmt: skip
def test_values(trial: Trial, steps: str, words: str) -> None:
    trial.write(PLAIN.format(steps)).is_refused(words)


def test_a_graph_out_of_order_is_sorted(trial: Trial) -> None:
    model = trial.write(PLAIN.format("y = Relu(a) a = Neg(x)")).passes("-O0")
    assert [node.op_type for node in model.graph.node] == ["Neg", "Relu"]


@pytest.mark.parametrize("field", ["input", "initializer", "functions"])
def test_what_is_listed_twice(trial: Trial, field: str) -> None:
    model = model_of("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }")
    model.functions.add(name="f", domain="d", input=["a"], output=["a"])
    items = getattr(model if field == "functions" else model.graph, field)
    items.append(items[0])
    trial.write(model)
    if field == "initializer":  # the last counts, as in ONNX Runtime
        model.graph.initializer[0].float_data[:] = [5, 6]
        model.graph.node[0].input[0] = "i"
        model.graph.node.insert(0, helper.make_node("Identity", ["x"], ["i"]))
        (kept,) = trial.write(model).passes("-O1").graph.initializer
        assert list(kept.float_data) == [1, 2]
    else:
        trial.is_refused("twice")


def test_duplicate_node_names_pass(trial: Trial) -> None:
    trial.write(PLAIN.format("[n] a = Exp(x) [n] y = Sin(a)")).passes_unharmed("-O2")


def attribute(name: str, kind: int, **value: object) -> AttributeProto:
    return AttributeProto(name=name, type=kind, **value)


@pytest.mark.parametrize(
    ("op", "given", "words"),
    [
        ("Softmax", [attribute("axis", AttributeProto.STRING, s=b"one")], "attribute 'axis' is STRING, Softmax takes INT"),
        ("Softmax", [attribute("axis", AttributeProto.INTS, ints=[1])], "attribute 'axis' is INTS"),
        ("Softmax", [attribute("axis", 0, i=1)], "attribute 'axis' is UNDEFINED"),
        ("Softmax", [attribute("axis", AttributeProto.INT, i=1)] * 2, "attribute 'axis' is given twice"),
        ("Transpose", [attribute("perm", AttributeProto.FLOAT, f=1)], "attribute 'perm' is FLOAT"),
        ("Constant", [attribute("value", AttributeProto.GRAPH)], "attribute 'value' is GRAPH"),
        ("Cast", [], "attribute 'to' of Cast is missing"),
        ("If", [attribute("then_branch", AttributeProto.TENSOR)], "attribute 'then_branch' is TENSOR"),
        ("Loop", [attribute("body", AttributeProto.GRAPHS)], "attribute 'body' is GRAPHS"),
        ("Add", [], "Add with 1 operands: it takes 2"),
        ("Where", [], "Where with 1 operands: it takes 3"),
    ],
)  # fmt: skip
def test_nodes_that_are_not_as_the_schema_asks(trial: Trial, op: str, given: list[AttributeProto], words: str) -> None:
    model = model_of(PLAIN.format("a = Exp(x) y = Neg(a)"))
    model.graph.node[0].op_type = op
    if op == "Constant":
        del model.graph.node[0].input[:]
    model.graph.node[0].attribute.extend(given)
    trial.write(model).is_refused(words)


def test_attributes_that_no_schema_knows_pass(trial: Trial) -> None:
    trial.write(PLAIN.format("a = Exp <nonsense = 3> (x) y = nobody.Knows <axis = [1]> (a)")).run()
    model = model_of(
        '<ir_version: 8, opset_import: ["": 17, "nobody": 1]>' + PLAIN.format('y = nobody.Op <axis = ["a"]> (x)')
    )
    trial.write(model).passes_unharmed("-O2")


@pytest.mark.parametrize(
    "value", [[1 << 62], [1 << 62, 1 << 62], [-1], [-(1 << 63)], [(1 << 63) - 1] * 8, [0, 1 << 62]]
)
def test_dims_of_declarations(trial: Trial, value: list[int]) -> None:
    """Nobody can feed such an input; the model is none the worse for passing through."""
    model = model_of(PLAIN.format("a = Transpose(x) s = Shape(a) r = Reshape(a, s) m = MatMul(r, r) y = Relu(r)"))
    for info in (*model.graph.input, *model.graph.output):
        info.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, value))
    trial.write(model).passes("-O2")


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ([1 << 62], "needs 18446744073709551616"),
        ([1 << 62, 1 << 62], "has 8 bytes of data"),
        ([-2], "negative dimension"),
        ([1] * 100, "100 dimensions"),
        ([(1 << 63) - 1] * 100_000, "100000 dimensions"),
        ([0, 1 << 62, 1 << 62], "has 8 bytes of data"),
    ],
)
def test_dims_of_initializers(trial: Trial, dims: list[int], words: str) -> None:
    model = model_of(PLAIN.format("n = Neg(w) y = Add(x, n)"))
    model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"\0" * 8)
    trial.write(model).is_refused("initializer 'w'", words)


def test_an_empty_initializer_of_dims_beyond_everything(trial: Trial) -> None:
    model = model_of(PLAIN.format("n = Neg(w) y = Add(x, n)"))
    model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[0, 1 << 62, 1 << 62], raw_data=b"")
    trial.write(model).is_refused("initializer 'w' can't be read")


@pytest.mark.parametrize("kind", [0, -1, 77, 1 << 30])
def test_element_types_that_onnx_does_not_define(trial: Trial, kind: int) -> None:
    model = model_of(PLAIN.format("n = Neg(w) y = Add(x, n)"))
    model.graph.initializer.add(name="w", data_type=kind, dims=[2], raw_data=b"\0" * 8)
    trial.write(model).is_refused(f"unknown element type {kind}")
    del model.graph.initializer[:]
    model.graph.node[0].input[0] = "x"
    model.graph.input[0].type.tensor_type.elem_type = kind
    trial.write(model).passes("-O2")
    model.graph.node[0].op_type = "Cast"
    model.graph.node[0].attribute.add(name="to", type=AttributeProto.INT, i=kind)
    trial.write(model).passes("-O2")


def test_opsets_that_nobody_has(trial: Trial) -> None:
    for version in (-1, 0, 999, 1 << 62, -(1 << 63)):
        model = model_of(PLAIN.format("y = Neg(x)"))
        model.opset_import[0].version = version
        trial.write(model).is_refused(f"unknown opset {version}")
    model = model_of(PLAIN.format("y = Neg(x)"))
    model.opset_import.add(domain="theirs", version=1 << 62)
    trial.write(model).passes_unharmed("-O2")


# -- local functions ---------------------------------------------------------------------------------------------------


def function(name: str, *nodes: NodeProto) -> FunctionProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    return helper.make_function("f", name, ["a"], ["b"], list(nodes), opsets)


def call(name: str, operand: str = "a", result: str = "b") -> NodeProto:
    return helper.make_node(name, [operand], [result], domain="f")


def within(node: NodeProto) -> NodeProto:
    """An If with `node` in both branches."""
    graph = helper.make_graph([node], "g", [], [helper.make_empty_tensor_value_info(node.output[0])])
    return helper.make_node("If", ["c"], ["b"], then_branch=graph, else_branch=graph)


RECURSIVE = {
    "direct": [function("f0", call("f0"))],
    "mutual": [function("f0", call("f1")), function("f1", call("f2")), function("f2", call("f0"))],
    "through a subgraph": [
        function("f0", helper.make_node("Cast", ["a"], ["c"], to=9), within(call("f0", result="r"))),
    ],
}


@pytest.mark.parametrize("how", RECURSIVE)
@pytest.mark.parametrize("is_called", [True, False])
def test_functions_that_call_themselves(trial: Trial, how: str, is_called: bool) -> None:
    model = model_of(LOCAL + PLAIN.format("y = f.f0(x)" if is_called else "y = Neg(x)"))
    model.functions.extend(RECURSIVE[how])
    trial.write(model).is_refused("function 'f::f0' calls itself")


def test_calls_that_double(trial: Trial) -> None:
    """2^60 calls when written out: they are not."""
    model = model_of(LOCAL + PLAIN.format("y = f.f60(x)"))
    model.functions.append(function("f0", helper.make_node("Neg", ["a"], ["b"])))
    for i in range(60):
        twice = [call(f"f{i}", "a", "m"), call(f"f{i}", "m", "b")]
        model.functions.append(function(f"f{i + 1}", *twice))
    assert len(trial.write(model).passes("-O2").functions) == 61


def test_a_long_chain_of_calls(trial: Trial) -> None:
    model = model_of(LOCAL + PLAIN.format("y = f.f3000(x)"))
    model.functions.append(function("f0", helper.make_node("Neg", ["a"], ["b"])))
    model.functions.extend(function(f"f{i + 1}", call(f"f{i}")) for i in range(3_000))
    trial.write(model).passes("-O2")


def test_calls_with_too_many_operands_pass(trial: Trial) -> None:
    model = model_of(LOCAL + "g (float[2] x) => (float[2] y) { y = f.f0(x, x, x) }")
    model.functions.append(function("f0", helper.make_node("Neg", ["a"], ["b"])))
    trial.write(model).passes_unharmed("-O2")


def test_branches_and_bodies_that_do_not_fit(trial: Trial) -> None:
    """Too few results, too many, no inputs, no body."""
    empty = onnx.GraphProto(name="empty")
    one = model_of("b (int64 i, bool c) => (bool d) { d = Identity(c) }").graph
    for op, operands, graphs in (
        ("If", ["c"], {"then_branch": empty, "else_branch": empty}),
        ("If", ["c"], {"then_branch": one, "else_branch": empty}),
        ("Loop", ["n", "c", "x"], {"body": empty}),
        ("Loop", ["n", "c", "x"], {"body": one}),
        ("Scan", ["x", "x"], {"body": one, "num_scan_inputs": 1}),
        ("Scan", ["x", "x"], {"body": empty, "num_scan_inputs": 9, "scan_input_axes": [7]}),
    ):
        model = model_of("g (float[2] x, bool c, int64 n) => (float[2] y) { y = Neg(x) }")
        model.graph.node.append(helper.make_node(op, operands, ["r"], **graphs))
        model.graph.node.append(helper.make_node("Relu", ["r"], ["s"]))
        model.graph.output.append(helper.make_empty_tensor_value_info("s"))
        outcome = trial.write(model).run("-O2")
        assert outcome.code in (0, 2), outcome.err
        assert "internal error" not in outcome.err
        assert "failed" not in outcome.err
