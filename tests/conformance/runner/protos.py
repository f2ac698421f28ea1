"""What is asked of models here and there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import onnx

Feed = Mapping[str, Any]
RANDOM = {
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout",
}  # fmt: skip


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in the attributes of a node."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def scopes(model: onnx.ModelProto) -> list[Any]:
    """The main graph, the functions, and all bodies in them; a function has nodes like a graph."""
    found: list[Any] = [model.graph, *model.functions]
    for scope in found:
        found.extend(body for node in scope.node for body in bodies(node))
    return found


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a model, its functions and all bodies."""
    return (node for scope in scopes(model) for node in scope.node)


def with_bodies(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """A node and all nodes in its bodies."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(inner for body in bodies(node) for inner in body.node)


def random_values(model: onnx.ModelProto) -> set[str]:
    """The names of values of the main graph that depend on a random operator."""
    local = {function.name for function in model.functions}
    found: set[str] = set()
    for node in model.graph.node:
        inside = list(with_bodies(node))
        calls = any(each.op_type in local for each in inside)
        is_random = any(each.op_type in RANDOM for each in (all_nodes(model) if calls else inside))
        if is_random or any(name in found for each in inside for name in each.input):
            found.update(name for name in node.output if name)
    return found


def has_equal_node_names(model: onnx.ModelProto) -> bool:
    """Whether two nodes of one graph bear one name, which ONNX allows and ONNX Runtime refuses."""
    for scope in scopes(model):
        names = [node.name for node in scope.node if node.name]
        if len(set(names)) < len(names):
            return True
    return False


def has_negative_sizes(model: onnx.ModelProto) -> bool:
    """Whether a value of the main graph is declared with a size below zero: some exporters write -1 for an open dim."""
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    return any(dim.dim_value < 0 for value in values for dim in value.type.tensor_type.shape.dim)


def without_node_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which no node has a name."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for node in all_nodes(made):
        node.name = ""
    return made


HALF = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
NO_TENSORS = {
    "SequenceConstruct", "SequenceInsert", "SequenceErase", "SequenceEmpty", "SequenceMap", "SplitToSequence",
    "Optional",
}  # fmt: skip


def has_half(model: onnx.ModelProto) -> bool:
    """Whether anything in a model may be of half precision."""
    types = [tensor.data_type for scope in scopes(model) for tensor in getattr(scope, "initializer", ())]
    types += [v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)]
    for node in all_nodes(model):
        types += [attribute.i for attribute in node.attribute if attribute.name in ("to", "dtype")]
        types += [attribute.t.data_type for attribute in node.attribute if attribute.HasField("t")]
    return bool(HALF & set(types))


def with_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with two Identities behind every node. ONNX Runtime computes half precision in single precision and leaves
    out the casts between neighbours, and around a lone node that has a kernel for half precision; around two of these
    it keeps them, so that each result is rounded."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for scope in scopes(made):
        nodes = []
        for node in scope.node:
            nodes.append(node)
            for index, name in enumerate(node.output if node.op_type not in NO_TENSORS else ()):
                if name:
                    node.output[index] = f"{name}.exact"
                    nodes.append(onnx.helper.make_node("Identity", [f"{name}.exact"], [f"{name}.rounded"]))
                    nodes.append(onnx.helper.make_node("Identity", [f"{name}.rounded"], [name]))
        copies = [_copied(node) for node in nodes]
        del scope.node[:]
        scope.node.extend(copies)
    return made


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    made = onnx.NodeProto()
    made.CopyFrom(node)
    return made
