"""Facts while the model is edited: kept, sharpened, forgotten, taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnx_opt.analysis import FactConflict
from onnx_opt.ir import load
from onnx_opt.types import TensorType

Know = Callable[[str], Any]

CHAIN = """g (float[N,4] x, float[L] loose) => (float[?] y) {
    a = Relu(x)
    b = Abs(loose)
    c = Neg(b)
    y = Add(c, c)
}"""


def test_facts_survive_edits_around_them(know: Know) -> None:
    known = know(CHAIN)
    assert known.dims("y") == "L"
    before = known["y"].dims
    neg = known["c"].producer
    known.graph.set_input(neg, 0, known["loose"])
    known.facts.refresh()
    assert known["y"].dims == before


def test_refresh_sharpens_what_is_downstream(know: Know) -> None:
    known = know("""g (float[L] loose, float[6] x) => (float[?] y) { b = Abs(loose)  c = Neg(b)  y = Add(c, c) }""")
    assert known.dims("y") == "L"
    known.graph.set_input(known["b"].producer, 0, known["x"])
    assert known.dims("y") == "L"
    known.facts.refresh()
    assert known.dims("b") == known.dims("c") == known.dims("y") == "6"


def test_refresh_sharpens_contents(know: Know) -> None:
    known = know("""g (float[?,?] loose, float[5,7] x, float[?] z) => (float[?] y) {
        s = Shape(loose)
        y = ConstantOfShape(s)
    }""")
    assert known.dims("y") == "?loose.0, ?loose.1"
    known.facts.forget(known["s"])
    known.graph.set_input(known["s"].producer, 0, known["x"])
    known.facts.refresh()
    assert known.content("s") == [5, 7]
    assert known.dims("y") == "5, 7"


def test_refresh_reaches_the_owner_of_a_subgraph(know: Know) -> None:
    known = know("""g (float[L] loose, float[6] x, bool c) => (float[?] y) {
        b = Abs(loose)
        y = If(c) <
            then_branch = t () => (float[?] p) { p = Relu(b) },
            else_branch = e () => (float[?] q) { q = Relu(x) }
        >
    }""")
    assert known.dims("y") == "?"
    known.graph.set_input(known["b"].producer, 0, known["x"])
    known.facts.refresh()
    assert known.dims("p") == known.dims("y") == "6"


def test_a_contradiction_is_reported(know: Know) -> None:
    known = know("""g (float[6] x, float[7] z) => (float[?] y) { b = Abs(x)  y = Neg(b) }""")
    assert known.dims("y") == "6"
    known.graph.set_input(known["b"].producer, 0, known["z"])
    with pytest.raises(FactConflict, match=r"'b' was .*6.* and is now inferred as .*7"):
        known.facts.refresh()


def test_forget_reaches_everything_downstream(know: Know) -> None:
    known = know("""g (float[6] x, float[7] z, bool c) => (float[?] y) {
        b = Abs(x)
        d = Neg(b)
        y = If(c) <
            then_branch = t () => (float[?] p) { p = Relu(d) },
            else_branch = e () => (float[?] q) { q = Relu(d) }
        >
    }""")
    assert known.dims("y") == "6"
    known.facts.forget(known["b"])
    known.graph.set_input(known["b"].producer, 0, known["z"])
    known.facts.refresh()
    assert known.dims("p") == known.dims("y") == "7"


def test_what_rests_on_a_forgotten_value_is_forgotten_too(know: Know) -> None:
    known = know("""g (float[6] x, float[7] z) => (float[?] y) { b = Abs(x)  d = Neg(x)  y = Relu(d) }""")
    assert known.dims("y") == known.dims("b") == "6"
    known.facts.forget(known["b"])
    known.graph.set_input(known["b"].producer, 0, known["z"])
    known.graph.set_input(known["d"].producer, 0, known["b"])
    assert known.dims("y") == "7"


def test_a_transaction_takes_facts_back(know: Know) -> None:
    known = know("""g (float[L] loose, float[6] x) => (float[?] y) { b = Abs(loose)  y = Neg(b) }""")
    assert known.dims("y") == "L"
    with pytest.raises(RuntimeError), known.graph.model.transaction():
        known.graph.set_input(known["b"].producer, 0, known["x"])
        known.facts.refresh()
        assert known.dims("y") == "6"
        raise RuntimeError
    assert known.dims("y") == "L"
    known.facts.refresh()
    assert known.dims("y") == "L"


def test_equal_values_share_what_is_known(know: Know) -> None:
    known = know("""g (float[L] loose, float[6] x) => (float[?] y) { b = Abs(loose)  d = Abs(x)  y = Neg(b) }""")
    assert known.dims("y") == "L"
    known.facts.type(known["d"])
    known.facts.equate(known["b"], known["d"])
    known.facts.refresh()
    assert known.dims("y") == "6"


# -- what the user states ----------------------------------------------------------------------------------------------


def test_a_dim_fixed_by_name(know: Know) -> None:
    known = know("g (float[N,H] x, float[N,3] z) => (float[?] y) { y = Concat<axis = 1>(x, z) }")
    assert known.dims("y") == "N, H + 3"
    known.facts.fix("N", 2)
    assert known.dims("y") == "2, H + 3"
    known.facts.fix("H", (5, 9))
    assert known.facts.bounds(known["y"].dims[1]) == (8, 12)


def test_a_shape_fixed_for_an_input(know: Know) -> None:
    known = know("g (float[N,?] x, float[N,3] z, float w) => (float[?] y) { y = Concat<axis = 1>(x, z) }")
    known.facts.fix_shape(known["x"], (2, 4))
    assert known.dims("y") == "2, 7"
    assert known.dims("z") == "2, 3"
    with pytest.raises(ValueError, match="can't be 5"):
        known.facts.fix_shape(known["z"], (2, 5))
    with pytest.raises(ValueError, match="2 dims, not 1"):
        known.facts.fix_shape(known["z"], (2,))


def test_a_shape_for_an_input_of_unknown_rank() -> None:
    x, y = helper.make_tensor_value_info("x", 1, None), helper.make_tensor_value_info("y", 1, None)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    known = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    facts, output = known.model.facts, known.outputs[0]
    assert facts.type(output) == TensorType(1, None)
    facts.fix_shape(known.inputs[0], (3, None))
    dims = facts.dims(output)
    assert dims is not None
    assert (len(dims), dims[0]) == (2, 3)


def test_sizes_must_be_such_that_runs_succeed(know: Know) -> None:
    known = know("""g (float[N,H] x) => (float[?] y) <int64[4] cut = {0, -3, 0, 0}> { y = Pad(x, cut) }""")
    assert known.facts.bounds(known["x"].dims[1]) == (0, None)
    assert known.dims("y") == "N, H - 3"
    assert known.facts.bounds(known["x"].dims[1]) == (3, None)


# -- constants ---------------------------------------------------------------------------------------------------------


def test_constants_of_every_form(know: Know) -> None:
    known = know("""g (float x) => (float y) <float[2] w = {1, 2}> {
        a = Constant<value = int64[2] {3, 4}>()
        b = Constant<value_int = 5>()
        c = Constant<value_floats = [0.5, 1.5]>()
        d = Constant<value_string = "s">()
        y = Identity(x)
    }""")
    facts = known.facts
    assert facts.constant(known["w"]).tolist() == [1, 2]
    assert facts.constant(known["a"]).tolist() == [3, 4]
    assert facts.type(known["b"]) == TensorType(TensorProto.INT64, ())
    assert facts.constant(known["c"]).dtype == np.float32
    assert facts.type(known["d"]) == TensorType(TensorProto.STRING, ())
    assert facts.constant(known["y"]) is None


# -- depth and size ----------------------------------------------------------------------------------------------------


def test_long_chains_do_not_recurse() -> None:
    count = 20_000
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(count)]
    inputs = [helper.make_tensor_value_info("v0", 1, ["N", 4])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info(f"v{count}", 1, None)])
    known = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert str(known.outputs[0].dims) == "(N, 4)"


def test_deep_nesting_does_not_recurse() -> None:
    depth = 30  # protobuf goes no deeper
    graph = _branch("g0", [helper.make_node("Relu", ["x"], ["v0"])], "v0")
    for level in range(1, depth):
        other = _branch(f"e{level}", [helper.make_node("Abs", ["x"], [f"w{level}"])], f"w{level}")
        node = helper.make_node("If", ["c"], [f"v{level}"], then_branch=graph, else_branch=other)
        graph = _branch(f"g{level}", [node], f"v{level}")
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4]))
    graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    known = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert str(known.outputs[0].dims) == "(N, 4)"


def _branch(name: str, nodes: list[onnx.NodeProto], output: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(output, 1, None)])


def test_a_cycle_is_unknown() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    inputs = [helper.make_tensor_value_info("x", 1, [2])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("b", 1, None)])
    known = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert known.model.facts.dims(known.outputs[0]) is None
