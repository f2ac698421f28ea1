"""Edits keep uses and producers in step, names of outputs, and can be taken back."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from onnx_opt.errors import ModelError
from onnx_opt.ir import Graph, Node, Origin, load, to_bytes
from onnx_opt.ir.surgeon import watched
from onnx_text import describe, parse

CHAIN = """g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
    a = Add (x, w)
    b = Relu (a)
    y = Neg (b)
}"""


def check_edges(graph: Graph) -> None:
    """`uses` is the inverse of the operands, `producer` of the results."""
    for inner in graph.model.all_graphs():
        for node in inner:
            assert all((node, index) in value.uses for index, value in enumerate(node.inputs))
            assert all(value.producer is node for value in node.outputs)
            assert all(
                user.is_graph or user.inputs[index] is value for value in node.outputs for user, index in value.uses
            )


def result(graph: Graph) -> str:
    model = onnx.ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(model)
    return describe(model)


def test_replace_value_in_the_middle():
    graph = load(parse(CHAIN))
    add, relu, _ = graph
    graph.replace_value(relu.outputs[0], add.outputs[0])
    graph.remove_dead()
    check_edges(graph)
    assert result(graph) == describe(
        parse("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { a = Add (x, w) y = Neg (a) }")
    )


def test_replaced_graph_output_keeps_its_name():
    graph = load(parse(CHAIN))
    _, relu, neg = graph
    graph.replace_value(neg.outputs[0], relu.outputs[0])
    graph.remove_dead()
    check_edges(graph)
    assert [value.name for value in graph.outputs] == ["y"]
    assert result(graph) == describe(
        parse("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { a = Add (x, w) y = Relu (a) }")
    )


def test_graph_output_that_is_an_input_is_bridged():
    graph = load(parse(CHAIN))
    graph.replace_value(graph.outputs[0], graph.inputs[0])
    graph.remove_dead()
    check_edges(graph)
    assert result(graph) == describe(parse("g (float[2] x) => (float[2] y) { y = Identity (x) }"))


def test_a_failed_transaction_leaves_no_trace():
    graph = load(parse(CHAIN))
    before = to_bytes(graph)
    with pytest.raises(RuntimeError), graph.model.transaction():
        add, relu, neg = graph
        graph.replace_value(relu.outputs[0], add.outputs[0])
        graph.remove_dead()
        graph.set_attr(neg, "axis", 3)
        add.outputs[0].rename("other")
        graph.make_constant(add.outputs[0], np.ones(2, np.float32))
        graph.add_constant(np.ones(3), "c")
        graph.insert(graph.make_node("Relu", [graph.inputs[0]]))
        raise RuntimeError
    check_edges(graph)
    assert to_bytes(graph) == before


def test_one_value_with_many_users():
    graph = load(parse("g (float[2] x) => (float[2] y) { y = Relu (x) }"))
    users = [graph.insert(graph.make_node("Neg", [graph.inputs[0]])) for _ in range(20_000)]
    other = graph.insert(graph.make_node("Abs", [graph.inputs[0]]), next(iter(graph))).outputs[0]
    graph.replace_uses(graph.inputs[0], other)
    assert len(other.uses) == len(users) + 2
    graph.remove_dead()
    assert len(graph) <= 3


def test_toposort_is_stable_and_finds_cycles():
    text = "g (float[2] x) => (float[2] y) { y = Neg (b) b = Relu (a) a = Abs (x) }"
    graph = load(onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + text))
    assert [node.op for node in graph.toposort()] == ["Abs", "Relu", "Neg"]
    graph.set_input(next(iter(graph)), 0, graph.outputs[0])
    with pytest.raises(ModelError, match="cycle"):
        graph.toposort()


def test_toposort_of_a_long_reversed_chain():
    graph = load(parse("g (float[2] x) => (float[2] y) { y = Relu (x) }"))
    for _ in range(20_000):
        first = next(iter(graph))
        node = graph.insert(graph.make_node("Neg", [graph.inputs[0]]))
        graph.set_input(first, 0, node.outputs[0])
        graph.move(first, None)
    nodes = list(graph)
    graph.reorder(nodes[::-1])
    graph.toposort()
    position = {node: index for index, node in enumerate(graph)}
    assert all(position[v.producer] < position[n] for n in graph for v in n.inputs if v.producer)


def test_origins_of_a_long_chain_cost_no_more_than_its_length():
    origin = Origin.of_node("n0")
    for number in range(1, 5000):
        origin = Origin.merge("r", [origin, Origin.of_node(f"n{number}")])
    assert len(origin.names()) == 5000
    assert origin.rules() == ["r"]


# -- GraphSurgeon ------------------------------------------------------------------------------------------------------


def test_graphsurgeon_scripts_edit_the_graph():
    """What the examples of GraphSurgeon do: isolate, append, insert, remove, register."""
    graph = load(parse(CHAIN))
    assert isinstance(graph, gs.Graph)
    assert all(isinstance(node, gs.Node) for node in graph.nodes)
    relu = next(node for node in graph.nodes if node.op == "Relu")
    # Remove a node the way the documentation does: the one before it takes over its outputs.
    relu.i().outputs = relu.outputs
    relu.outputs.clear()
    # Append a node built of GraphSurgeon's own classes.
    new = gs.Variable("extra", np.float32, (2,))
    scale = gs.Constant("scale", np.full(2, 3, np.float32))
    graph.nodes.append(gs.Node("Mul", "scaling", inputs=[graph.outputs[0], scale], outputs=[new]))
    graph.outputs.append(new)
    graph.cleanup().toposort()
    check_edges(graph)
    assert result(graph) == describe(
        parse("""g (float[2] x) => (float[2] y, float[2] extra)
        <float[2] w = {1, 2}, float[2] scale = {3, 3}> {
            a = Add (x, w)
            y = Neg (a)
            extra = Mul (y, scale)
        }""")
    )


def test_graphsurgeon_layer_and_registered_functions():
    @gs.Graph.register()
    def double(self, value):
        return self.layer(op="Mul", inputs=[value, np.array([2], np.float32)], outputs=["doubled"])[0]

    graph = load(parse("g (float[2] x) => (float[2] y) { y = Relu (x) }"))
    relu = graph.nodes[0]
    relu.inputs[0] = graph.double(graph.inputs[0])
    graph.toposort()
    check_edges(graph)
    assert result(graph) == describe(
        parse("g (float[2] x) => (float[2] y) <float[1] c = {2}> { a = Mul (x, c) y = Relu (a) }")
    )


def test_a_node_is_itself_and_nothing_else():
    graph = load(parse("g (float[2] x) => (float[2] y, float[2] z) { y = Relu (x) z = Relu (x) }"))
    one, other = graph
    assert one != other
    assert len({one, other}) == 2
    assert isinstance(one, Node)


def test_names_and_operators_assigned_directly_are_edits():
    graph = load(parse(CHAIN))
    with watched(graph):
        graph.nodes[1].op = "Abs"
        graph.nodes[1].name = "mine"
        graph.outputs[0].name = "result"
        graph.inputs[0].name = "data"
    model = onnx.ModelProto.FromString(to_bytes(graph))
    wanted = CHAIN.replace("Relu", "Abs").replace(" y", " result").replace(" x", " data").replace("(x", "(data")
    assert describe(model) == describe(parse(wanted))
    assert model.graph.node[1].name == "mine"


def test_graphsurgeon_exports_the_graph():
    graph = load(parse(CHAIN))
    exported = gs.export_onnx(graph, do_type_check=False)
    assert describe(exported) == describe(parse(CHAIN))


def test_a_new_metadata_entry_takes_the_place_of_the_old_one():
    model = parse(CHAIN)
    onnx.helper.set_model_props(model, {"kept": "as it is", "replaced": "before"})
    graph = load(model.SerializeToString())
    graph.model.metadata.update({"replaced": "after", "added": "too"})
    saved = onnx.ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(saved)
    entries = [(entry.key, entry.value) for entry in saved.metadata_props]
    assert entries == [("kept", "as it is"), ("replaced", "after"), ("added", "too")]
