"""Whether a rewrite keeps the dims of every result at every size: a proof on expressions, where samples see a few.

Before and after go into one model that shares the inputs, so that a symbol means one thing in both, and so does what
the analyses make of it. Nothing is declared of the results: their dims must follow from the nodes.
"""

from __future__ import annotations

import onnx
import onnx.compose

from onnx_opt import shapes
from onnx_opt.ir import Graph, Value, load

PREFIX = "after/"


def is_dynamic(model: onnx.ModelProto) -> bool:
    """Whether any input has a dim that is not a number."""
    dims = [dim for value in model.graph.input for dim in value.type.tensor_type.shape.dim]
    return any(not dim.HasField("dim_value") for dim in dims)


def unproven_dims(before: bytes, after: bytes) -> str | None:
    """What can't be proven of the results' types; '' where every dim of every result is proven equal before and after,
    None where there is nothing to prove, since no size is dynamic."""
    one, other = (onnx.ModelProto.FromString(model) for model in (before, after))
    if not is_dynamic(one):
        return None
    graph = load(_side_by_side(one, other).SerializeToString())
    half = len(graph.outputs) // 2
    for value, new in zip(graph.outputs[:half], graph.outputs[half:], strict=True):
        if reason := _difference(graph, value, new):
            return f"{value.name}: {reason}"
    return ""


def _difference(graph: Graph, value: Value, new: Value) -> str:
    if value.elem_type != new.elem_type:
        return "the element types differ"
    if value.dims is None or new.dims is None:
        return f"the dims {'before' if value.dims is None else 'after'} are not computable"
    if graph.model.facts.shapes.same(value.dims, new.dims):
        return ""
    texts = ["[" + ", ".join(map(shapes.text, dims)) + "]" for dims in (value.dims, new.dims)]
    return f"{texts[0]} before, {texts[1]} after"


def _side_by_side(one: onnx.ModelProto, other: onnx.ModelProto) -> onnx.ModelProto:
    """One model with the inputs of `one` and the results of both."""
    inputs = {value.name for value in one.graph.input}
    defaults = inputs.intersection(tensor.name for tensor in one.graph.initializer)
    names = {tensor.name: PREFIX + tensor.name for tensor in other.graph.initializer if tensor.name not in defaults}
    renamed = onnx.compose.add_prefix_graph(
        other.graph, PREFIX, rename_inputs=False, rename_initializers=False, name_map=dict(names)
    )
    added = [tensor for tensor in renamed.initializer if tensor.name not in defaults]
    merged = onnx.ModelProto(ir_version=max(one.ir_version, other.ir_version))
    versions = {opset.domain: opset.version for opset in (*one.opset_import, *other.opset_import)}
    merged.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in versions.items())
    merged.graph.name = one.graph.name
    merged.graph.input.extend(one.graph.input)
    merged.graph.initializer.extend([*one.graph.initializer, *added])
    merged.graph.node.extend([*one.graph.node, *renamed.node])
    for graph in (one.graph, renamed):
        merged.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in graph.output)
    return merged
