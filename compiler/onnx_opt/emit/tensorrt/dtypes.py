"""Types of values as TensorRT names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto, ValueInfoProto

from onnx_opt import types

if TYPE_CHECKING:
    from onnx_opt.ir import Graph
    from onnx_opt.ir.values import Value

NAMES: dict[int, str] = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.INT8: "INT8",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
    TensorProto.FLOAT8E4M3FN: "FP8",
    TensorProto.INT4: "INT4",
    TensorProto.FLOAT4E2M1: "FP4",
}
"""By the element type of ONNX; others have no values in an engine."""


def spell(name: str) -> str:
    """TensorRT's name of a type as people know it: HALF -> float16."""
    return next((spell_onnx(elem_type) for elem_type, other in NAMES.items() if other == name), name.lower())


def spell_onnx(elem_type: int) -> str:
    """An element type of ONNX as people know it: 1 -> float32, 11 -> float64."""
    name = TensorProto.DataType.Name(TensorProto.DataType.ValueType(elem_type)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def port(graph: Graph, value: Value) -> ValueInfoProto | None:
    """A value as an input or output of a part of the model; None where an engine can have no such one, or where its
    type or its number of dims is not known."""
    kind = graph.model.facts.type(value)
    if not isinstance(kind, types.TensorType) or kind.rank is None or kind.elem_type not in NAMES:
        return None
    return ValueInfoProto(name=value.name, type=types.to_proto(kind))
