"""Which nodes count as changed, and what is drawn together."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnx_opt.html.graphs import Picture, names_of
from onnx_opt.html.regions import LARGEST, Match, Region, regions_of
from onnx_opt.ir import load
from onnx_opt.ir.origin import Origin
from onnx_text import parse, run


def regions(before: str | onnx.ModelProto, pipeline: str) -> tuple[Match, list[Region]]:
    source = parse(before) if isinstance(before, str) else before
    after, _ = run(source, pipeline)
    match = Match.of(Picture.of(load(source)), Picture.of(after))
    return match, regions_of(match)


TWO_PLACES = """
g (float[1,4,8,8] x) => (float[1,8,8,4] y) <float[4,4,1,1] w, float[4] s> {
    a = Relu(x)
    t = Transpose <perm = [0, 2, 3, 1]> (a)
    u = Transpose <perm = [0, 3, 1, 2]> (t)
    b = Conv(u, w)
    e = Exp(b)
    i = Identity(e)
    y = Transpose <perm = [0, 2, 3, 1]> (i)
}"""


def test_each_place_of_change_is_a_region_of_its_own() -> None:
    match, found = regions(TWO_PLACES, "cleanup,layout,cleanup")
    assert [region.title for region in found] == ["2 Transpose → nothing", "Identity → nothing"]
    assert [match.before.nodes[place].label() for place in found[0].before] == ["t", "u"]


def test_an_unchanged_model_has_no_region() -> None:
    assert regions("g (float[4] x) => (float[4] y) {a = Exp(x)\n y = Neg(a)}", "cleanup")[1] == []


def test_what_was_fused_and_what_it_became_are_one_region() -> None:
    _, found = regions(
        """
g (float[1,2,4,4] x) => (float[1,2,4,4] y) <float[2,2,1,1] w = {1,2,3,4}, float[2] s = {2,3}, float[2] b = {1,2}, float[2] m = {0,1}, float[2] v = {1,1}> {
    c = Conv(x, w)
    y = BatchNormalization(c, s, b, m, v)
}""",
        "fuse-conv-bn-relu,cleanup",
    )
    (region,) = found
    assert region.title == "Conv, BatchNormalization → Conv"


def test_a_model_whose_types_change_is_told_node_by_node() -> None:
    _, found = regions("g (float[4] x) => (float[4] y) {a = Exp(x)\n b = Neg(a)\n y = Sqrt(b)}", "fp16{measure=false}")
    titles = [region.title for region in found]
    assert "Neg: float32 → float16" in titles, titles
    assert max(len(region.before) for region in found) == 1


def chain(length: int) -> onnx.ModelProto:
    """Pairs of transposes in a row, which all go."""
    perm = {"perm": [1, 0]}
    nodes = [helper.make_node("Transpose", [f"v{i}"], [f"v{i + 1}"], f"n{i}", **perm) for i in range(length)]
    nodes.append(helper.make_node("Relu", [f"v{length}"], ["y"], "last"))
    kind = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("v0", "y")]
    graph = helper.make_graph(nodes, "g", kind[:1], kind[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("length", [2, 200, 2000])
def test_a_large_region_is_cut_and_nothing_of_it_is_lost(length: int) -> None:
    _, found = regions(chain(length), "layout,cleanup")
    assert sorted(place for region in found for place in region.before) == list(range(length))
    assert all(len(region.before) <= LARGEST for region in found)


def test_the_names_of_an_origin_that_thousands_share_are_bounded() -> None:
    origin = Origin.of_node("n0")
    for number in range(1, 5000):
        origin = Origin.merge("rule", [origin, Origin.of_node(f"n{number}")])
    assert len(names_of(origin, 10)) == 10
    assert len(names_of(Origin.merge("r", [Origin.of_node("a"), Origin.of_node("b")]))) == 2


def test_weights_are_spelled_only_where_they_are_small() -> None:
    model = parse("g (float[4] x) => (float[4] y) <float[4] w = {1, 2, 3, 4}> {y = Add(x, w)}")
    big = helper.make_tensor("big", TensorProto.FLOAT, [100], np.zeros(100, np.float32))
    model.graph.initializer.append(big)
    model.graph.node.append(helper.make_node("Add", ["w", "w"], ["unused"]))
    from onnx_opt.html.graphs import spell

    graph = load(model)
    spelled = {c.name: spell(c) for c in graph.constants}
    assert spelled["w"] == "float32 4 {1.0, 2.0, 3.0, 4.0}"
    assert spelled["big"] == "float32 100"
