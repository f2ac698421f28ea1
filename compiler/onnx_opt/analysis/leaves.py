"""Facts that no shape function gives: of inputs and initializers, of Constant nodes, and what the model declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.analysis.infer import control
from onnx_opt.analysis.merge import without_dims
from onnx_opt.ir.values import Constant, Value
from onnx_opt.types import OptionalType, SequenceType, TensorType, Type

if TYPE_CHECKING:
    from onnx_opt.analysis.facts import Facts

PLACEHOLDERS = frozenset({"?", "*", "-1", "None", "none", "unknown", "dynamic"})
"""Names that exporters give to every size that they do not know: they do not say that two sizes are the same."""


def type_of(facts: Facts, value: Value) -> Type | None:
    """The type of a value that no node computes. Raises `Needed` for what a subgraph's input rests on."""
    if isinstance(value, Constant) and not value.overridable:
        return TensorType(value.elem_type, value.dims)
    graph = value.graph
    if graph is None or value not in graph.input_set:
        return None
    if graph is facts.model.graph:
        return _input_type(facts, value)
    if graph.owner is not None:
        return control.body_input(facts, graph.owner, graph, graph.inputs.index(value))
    return None  # a parameter of a local function: it differs from call to call


def _input_type(facts: Facts, value: Value) -> Type | None:
    """The declared type of a graph input. Equal names are equal sizes, across inputs."""
    as_fed = isinstance(value, Constant) and not value.redeclared
    declared = facts.pinned(value) or (Value._read_declared(value) if as_fed else value.declared)
    shapes = facts.shapes
    if not isinstance(declared, TensorType):
        return _renewed(facts, declared)
    if declared.shape is None:
        return declared
    dims: list[Any] = list(declared.shape)
    for axis, dim in enumerate(dims):
        if dim is None or dim in PLACEHOLDERS:
            dims[axis] = shapes.input_dim(value.name, axis)
        elif isinstance(dim, str):
            dims[axis] = shapes.symbol(dim)
    return declared.with_shape(dims)


def declared_type(facts: Facts, value: Value) -> Type | None:
    """What the model says of a value whose operator is unknown: element type, rank and sizes are taken from it, names
    of sizes are not (exporters give one name to different sizes)."""
    return _renewed(facts, value.declared) if value.name else None


def _renewed(facts: Facts, kind: Type | None) -> Type | None:
    """A type in which every dim that is no int has a symbol of its own."""
    if isinstance(kind, TensorType) and kind.shape is not None:
        return kind.with_shape([dim if isinstance(dim, int) else facts.shapes.fresh() for dim in kind.shape])
    if isinstance(kind, SequenceType):
        return SequenceType(_renewed(facts, kind.elem))
    return OptionalType(_renewed(facts, kind.elem)) if isinstance(kind, OptionalType) else kind


def with_declared_elem_type(kind: Type | None, value: Value) -> Type | None:
    """A type completed by the element type that the model declares; runtimes refuse a model where that is wrong."""
    declared = without_dims(value.declared) if value.name else None
    if kind is None:
        return declared
    if isinstance(kind, TensorType):
        return kind.with_elem_type(declared.elem_type if isinstance(declared, TensorType) else 0)
    return kind


def constant(value: Value) -> np.ndarray | None:
    """A value that is the same in every run, as an array; None where it is not known to be."""
    if isinstance(value, Constant):
        return None if value.overridable or not value.is_readable else value.values
    node = value.producer
    if node is None or node.op != "Constant" or node.domain:
        return None
    return _constant_of_attributes(node.attrs)


_ATTRIBUTES: dict[str, Any] = {
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_string": object,
    "value_strings": object,
}


def _constant_of_attributes(attrs: Any) -> np.ndarray | None:
    tensor = attrs.get("value")
    if tensor is not None:
        array = getattr(tensor, "values", tensor)
        return array if isinstance(array, np.ndarray) else None
    for name, dtype in _ATTRIBUTES.items():
        if isinstance(attrs.get(name), int | float | str | bytes | list):
            return np.array(attrs[name], dtype=dtype)
    return None
