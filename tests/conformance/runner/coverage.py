"""What a model has that optimizers trip over: the features that the summary of a campaign counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from generator.scope import free_names

from .protos import RANDOM, Feed, all_nodes, bodies, has_equal_node_names, scopes

FEATURES = (
    "named dims", "unnamed dims", "size 0", "input that nothing reads", "initializer that nothing reads", "dead code",
    "initializer with several readers", "equal initializers", "overridable initializer", "listed initializer",
    "result that is read and returned", "input that is returned", "output listed twice", "output without shape",
    "result that nothing reads", "absent result", "absent operand", "If", "Loop", "Scan", "capture", "bodies two deep",
    "shadowed name", "name of a body again outside", "local function", "function that calls a function",
    "attribute of a call", "function with a body", "equal node names", "nodes without names", "random operator",
    "sequence", "optional", "strings", "NaN, infinity or -0.0 in weights",
)  # fmt: skip
"""All of them; a campaign that meets fewer says which it lacks."""


def features(model: onnx.ModelProto, feeds: Sequence[Feed]) -> set[str]:
    """The features of a model."""
    found = {*_of_interface(model, feeds), *_of_initializers(model), *_of_nodes(model), *_of_scopes(model)}
    found |= set(_of_functions(model))
    assert found <= set(FEATURES), found - set(FEATURES)
    return found


def types(model: onnx.ModelProto) -> set[str]:
    """The element types of inputs, outputs, initializers and Casts."""
    kinds = {tensor.data_type for scope in scopes(model) for tensor in getattr(scope, "initializer", ())}
    values = (*model.graph.input, *model.graph.output)
    kinds |= {value.type.tensor_type.elem_type for value in values if value.type.HasField("tensor_type")}
    casts = (node for node in all_nodes(model) if node.op_type == "Cast")
    kinds |= {attribute.i for node in casts for attribute in node.attribute if attribute.name == "to"}
    return {onnx.TensorProto.DataType.Name(kind).lower() for kind in kinds if kind}


def operators(model: onnx.ModelProto) -> Counter[str]:
    """How often each operator of a standard domain occurs, bodies and functions included."""
    local = {(function.domain, function.name) for function in model.functions}
    nodes = (node for node in all_nodes(model) if (node.domain, node.op_type) not in local)
    return Counter(f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in nodes)


def opset(model: onnx.ModelProto) -> int:
    """The version of the standard domain; 0 where none is imported."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)


# -- the main graph ----------------------------------------------------------------------------------------------------


def _of_interface(model: onnx.ModelProto, feeds: Sequence[Feed]) -> Iterator[str]:
    graph = model.graph
    read = {name for node in graph.node for name in free_names(node)}
    inputs = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    outputs = [value.name for value in graph.output]
    made = {name for node in graph.node for name in node.output}
    dims = [dim for value in graph.input for dim in value.type.tensor_type.shape.dim]
    if any(dim.dim_param for dim in dims):
        yield "named dims"
    if any(not dim.dim_param and not dim.HasField("dim_value") for dim in dims):
        yield "unnamed dims"
    if any(isinstance(array, np.ndarray) and array.size == 0 for feed in feeds for array in feed.values()):
        yield "size 0"
    if inputs - read - set(outputs):
        yield "input that nothing reads"
    if read & made & set(outputs):
        yield "result that is read and returned"
    if inputs & set(outputs):
        yield "input that is returned"
    if len(set(outputs)) < len(outputs):
        yield "output listed twice"
    if any(v.type.HasField("tensor_type") and not v.type.tensor_type.HasField("shape") for v in graph.output):
        yield "output without shape"


def _of_initializers(model: onnx.ModelProto) -> Iterator[str]:
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = Counter(name for node in model.graph.node for name in free_names(node))
    returned = {value.name for value in model.graph.output}
    if any(readers[name] > 1 for name in tensors):
        yield "initializer with several readers"
    if any(name not in readers and name not in returned for name in tensors):
        yield "initializer that nothing reads"
    contents = [(t.data_type, tuple(t.dims), t.raw_data) for t in tensors.values() if t.raw_data]
    if len(set(contents)) < len(contents):
        yield "equal initializers"
    if any(value.name in tensors for value in model.graph.input):
        yield "overridable initializer" if model.ir_version >= 4 else "listed initializer"
    if any(_is_special(tensor) for tensor in tensors.values()):
        yield "NaN, infinity or -0.0 in weights"


def _is_special(tensor: onnx.TensorProto) -> bool:
    if tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
        return False
    array = onnx.numpy_helper.to_array(tensor)
    return bool((~np.isfinite(array) | ((array == 0) & np.signbit(array))).any())


# -- nodes, bodies, functions ------------------------------------------------------------------------------------------


def _of_nodes(model: onnx.ModelProto) -> Iterator[str]:
    nodes = list(all_nodes(model))
    kinds = {node.op_type for node in nodes}
    yield from (kind for kind in ("If", "Loop", "Scan") if kind in kinds)
    if kinds & RANDOM:
        yield "random operator"
    if any("Sequence" in kind for kind in kinds):
        yield "sequence"
    if any(kind.startswith("Optional") for kind in kinds):
        yield "optional"
    if any("" in node.input for node in nodes):
        yield "absent operand"
    if any("" in node.output for node in nodes):
        yield "absent result"
    if any(not node.name for node in nodes):
        yield "nodes without names"
    if has_equal_node_names(model):
        yield "equal node names"
    if "string" in types(model):
        yield "strings"


def _of_scopes(model: onnx.ModelProto) -> Iterator[str]:
    for scope in (model.graph, *model.functions):
        read = {name for node in scope.node for name in free_names(node)}
        read |= {value if isinstance(value, str) else value.name for value in scope.output}
        for node in scope.node:
            unread = [name for name in node.output if name and name not in read]
            if unread and len(unread) < len(node.output):
                yield "result that nothing reads"
            elif unread:
                yield "dead code"
    stack = [(body, _names(model.graph), 1) for node in model.graph.node for body in bodies(node)]
    while stack:
        body, outer, depth = stack.pop()
        given = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
        made = {name for node in body.node for name in node.output if name}
        if given & outer:
            yield "shadowed name"
        if made & outer:
            yield "name of a body again outside"
        if {name for node in body.node for name in free_names(node)} - given - made:
            yield "capture"
        if depth > 1:
            yield "bodies two deep"
        stack.extend((inner, outer | given | made, depth + 1) for node in body.node for inner in bodies(node))


def _names(graph: Any) -> set[str]:
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    return given | {name for node in graph.node for name in node.output if name}


def _of_functions(model: onnx.ModelProto) -> Iterator[str]:
    local = {(function.domain, function.name) for function in model.functions}
    if local:
        yield "local function"
    for function in model.functions:
        if any((node.domain, node.op_type) in local for node in function.node):
            yield "function that calls a function"
        if function.attribute or function.attribute_proto:
            yield "attribute of a call"
        if any(True for node in function.node for _ in bodies(node)):
            yield "function with a body"
