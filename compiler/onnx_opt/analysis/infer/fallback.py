"""Operators without a shape function of ours: what onnx's own inference says of them, if the installed onnx knows them.

Symbols go in as names and come back as the symbols they stand for. A name that onnx makes up means nothing beyond the
node, so it becomes a symbol of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TypeProto, defs, numpy_helper, shape_inference

from onnx_opt import schemas
from onnx_opt.analysis.infer.registry import NodeView
from onnx_opt.analysis.merge import without_dims
from onnx_opt.types import TensorType, Type, from_proto, to_proto

_MAX_CONSTANT = 1024
VARIADIC = defs.OpSchema.FormalParameterOption.Variadic


def infer(n: NodeView) -> list[Type | None] | None:
    """The types of the node's results; None where onnx does not know the operator or fails on the node."""
    node = n.node
    schema = schemas.schema(node.op, node.domain, node.version)
    if schema is None or node.bodies or node.has_attribute_refs:
        return None
    names: dict[str, Any] = {}
    symbols: dict[Any, str] = {}

    def name(dim: Any) -> str:
        known = symbols.setdefault(dim, f"d{len(symbols)}")
        names[known] = dim
        return known

    try:
        proto = node.proto()
        inputs = {
            value.name: to_proto(kind, name) if kind is not None else TypeProto()
            for value, kind in zip(node.inputs, n.types, strict=True)
            if value.name
        }
        ir_version = n.facts.model.ir_version
        found = shape_inference.infer_node_outputs(schema, proto, inputs, _constants(n), None, None, ir_version)
    except Exception:  # onnx has errors of its own for malformed nodes
        return None
    return [_restored(n, from_proto(found[v.name]), names) if v.name in found else None for v in node.outputs]


def bound_elem_type(n: NodeView, index: int) -> int:
    """The element type that the schema gives a result because an operand of known type is tied to it; 0 where none is.

    For results of which the shape function says nothing: it may have found no rank, or speak of the first one only.
    """
    node = n.node
    schema = schemas.schema(node.op, node.domain, node.version)
    if schema is None or node.bodies:
        return 0
    tied = _parameter(schema.outputs, index)
    for position in range(len(node.inputs)):
        if tied and _parameter(schema.inputs, position) == tied and n.elem(position):
            return n.elem(position)
    return 0


def _parameter(parameters: Sequence[Any], index: int) -> str:
    """The name of the type of an operand or result; '' where it is of a type of its own."""
    if not parameters or (index >= len(parameters) and parameters[-1].option != VARIADIC):
        return ""
    parameter = parameters[min(index, len(parameters) - 1)]
    return parameter.type_str if parameter.is_homogeneous else ""


def _constants(n: NodeView) -> dict[str, Any]:
    found = {}
    for index, value in enumerate(n.node.inputs):
        array = n.constant(index) if value.name else None
        if array is not None and array.size <= _MAX_CONSTANT:
            found[value.name] = numpy_helper.from_array(np.asarray(array), value.name)
    return found


def _restored(n: NodeView, kind: Type | None, names: dict[str, Any]) -> Type | None:
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind if isinstance(kind, TensorType) else without_dims(kind)
    return kind.with_shape(
        [dim if isinstance(dim, int) else names[dim] if dim in names else n.fresh() for dim in kind.shape]
    )
