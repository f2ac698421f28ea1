"""The placement of casts against every other one: small random graphs, all choices tried."""

from __future__ import annotations

import itertools
import random

import onnx.helper as helper
import pytest
from onnx import ModelProto, TensorProto

from onnx_opt.ir import Graph, Node, to_bytes
from onnx_opt.ir.load import load_bytes
from onnx_opt.passes import PassContext
from onnx_opt.precision import lower
from onnx_opt.validate import prove

MOVES, COMPUTES = ("Relu", "Transpose", "Concat", "ReduceMax", "Neg"), ("Tanh", "Add", "Softsign")
SIDE = 4


def random_model(rng: random.Random) -> ModelProto:
    """A graph of up to nine nodes on matrices; some results leave it."""
    info = helper.make_tensor_value_info
    values, shapes, nodes = ["x"], {"x": (SIDE, SIDE)}, []
    for index in range(rng.randint(3, 9)):
        op, a = rng.choice(MOVES + COMPUTES), rng.choice(values)
        operands, attributes, shape = [a], {}, shapes[a]
        if op in ("Add", "Concat"):
            operands.append(rng.choice([v for v in values if shapes[v] == shape]))
        if op == "Transpose":
            attributes, shape = {"perm": [1, 0]}, shape[::-1]
        elif op == "Concat":
            attributes, shape = {"axis": 0}, (2 * shape[0], shape[1])
        elif op == "ReduceMax":
            attributes, shape = {"axes": [0], "keepdims": 1}, (1, shape[1])
        name = f"v{index}"
        nodes.append(helper.make_node(op, operands, [name], name=name, **attributes))
        values.append(name)
        shapes[name] = shape
    read = {name for node in nodes for name in node.input}
    outputs = [name for name in values[1:] if name not in read or rng.random() < 0.15]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, shapes["x"])],
        [info(name, TensorProto.FLOAT, shapes[name]) for name in outputs],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def size(graph: Graph, name: str) -> int:
    value = next(v for node in graph for v in (*node.inputs, *node.outputs) if v.name == name)
    rows, columns = value.dims
    return 4 * rows * columns


def cost(model: ModelProto, half: dict[str, bool], sizes: dict[str, int]) -> tuple[int, int]:
    """Bytes and number of casts where the nodes of `half` run in that type."""
    half = {**half, "x": False}
    readers: dict[str, set[bool]] = {output.name: {False} for output in model.graph.output}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(half[node.name])
    needed = [name for name, forms in readers.items() if (not half[name]) in forms]
    return sum(sizes[name] for name in needed) * 3 // 2, len(needed)


@pytest.mark.parametrize("seed", range(120))
def test_no_choice_costs_less(seed):
    print(f"seed {seed}")
    rng = random.Random(seed)
    model = random_model(rng)
    blocked = {node.name for node in model.graph.node if rng.random() < 0.25}
    graph = load_bytes(model.SerializeToString(), None)
    names = {value.name for node in graph for value in (*node.inputs, *node.outputs)}
    sizes = {name: size(graph, name) for name in sorted(names)}
    keep: dict[Node, str] = {node: "blocked" for node in graph if node.name in blocked}
    done = lower(graph, PassContext(), TensorProto.FLOAT16, keep=keep)

    fixed = {node.name: node.op_type in COMPUTES for node in model.graph.node if node.op_type in COMPUTES}
    fixed |= dict.fromkeys(blocked, False)
    free = [node.name for node in model.graph.node if node.name not in fixed]
    choices = (dict(zip(free, forms, strict=True)) for forms in itertools.product((False, True), repeat=len(free)))
    best = min(cost(model, {**fixed, **choice}, sizes) for choice in choices)
    if any(fixed.values()):
        assert (done.cast_bytes, len(done.casts)) == best
    else:
        assert not done.casts
    result = to_bytes(graph)
    verdict = prove(model.SerializeToString(), result, lowered="float16", samples=1)
    assert verdict.proven, verdict.reason
