"""Attributes of a node: decoded from the source when first asked for, encoded again only where they changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import AttributeProto, SparseTensorProto, TensorProto, TypeProto, helper, numpy_helper
from onnx_graphsurgeon import Node as GsNode

from onnx_opt.ir.values import Constant

if TYPE_CHECKING:
    from onnx_opt.ir.node import Node

_REF_TYPES = {
    AttributeProto.FLOAT: float,
    AttributeProto.INT: int,
    AttributeProto.STRING: str,
}


class AttributeRef(GsNode.AttributeRef):
    """Stands for an attribute of the enclosing local function: its value differs from call to call."""


class Attributes(dict[str, Any]):
    """name -> value. `changed` holds the names whose source bytes no longer apply."""

    __slots__ = ("changed", "node")

    def __init__(self, node: Node, items: dict[str, Any], changed: set[str]):
        super().__init__(items)
        self.node = node
        self.changed = changed

    def __setitem__(self, name: str, value: Any) -> None:
        self.node.set_attr(name, value)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self.node.set_attr(name, None)

    def pop(self, name: str, *default: Any) -> Any:
        if name not in self and default:
            return default[0]
        value = self[name]
        del self[name]
        return value

    def update(self, *args: Any, **kwargs: Any) -> None:
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def clear(self) -> None:
        for name in list(self):
            del self[name]


def decode(proto: AttributeProto) -> Any:
    """The Python value of an attribute; tensors become constants without a name, as in GraphSurgeon. Subgraphs are not
    decoded here: the loader makes them graphs of the IR."""
    if proto.ref_attr_name:
        return AttributeRef(proto.ref_attr_name, _REF_TYPES.get(proto.type, proto.type))
    kind = proto.type
    if kind == AttributeProto.STRING:
        return _text(proto.s)
    if kind == AttributeProto.STRINGS:
        return [_text(s) for s in proto.strings]
    if kind == AttributeProto.TENSOR:
        return Constant("", numpy_helper.to_array(proto.t)) if not proto.t.external_data else proto.t
    value = helper.get_attribute_value(proto)
    return list(value) if kind in (AttributeProto.INTS, AttributeProto.FLOATS) else value


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def encode(name: str, value: Any) -> bytes:
    """The AttributeProto of a value that is no subgraph. The type follows from the Python type; an empty list is INTS.

    Raises TypeError for what no attribute can hold.
    """
    if isinstance(value, AttributeProto):
        return value.SerializeToString()
    proto = AttributeProto(name=name)
    if isinstance(value, GsNode.AttributeRef):
        proto.ref_attr_name, proto.type = value.name, _ref_type(value.type)  # type: ignore[assignment]
    elif isinstance(value, np.ndarray | Constant):
        array = value if isinstance(value, np.ndarray) else value.values
        proto.t.CopyFrom(numpy_helper.from_array(array))
        proto.type = AttributeProto.TENSOR
    elif isinstance(value, TensorProto | SparseTensorProto | TypeProto | str | bytes):
        proto = helper.make_attribute(name, value)
    elif isinstance(value, bool | np.bool_ | int | np.integer):
        proto.i, proto.type = int(value), AttributeProto.INT
    elif isinstance(value, float | np.floating):
        proto.f, proto.type = float(value), AttributeProto.FLOAT
    elif isinstance(value, list | tuple):
        proto = _encode_list(name, list(value))
    else:
        raise TypeError(f"attribute '{name}' can't hold a {type(value).__name__}")
    return proto.SerializeToString()


def _ref_type(kind: Any) -> int:
    for number, python in _REF_TYPES.items():
        if python is kind:
            return number
    return kind if isinstance(kind, int) else int(AttributeProto.UNDEFINED)


def _encode_list(name: str, items: list[Any]) -> AttributeProto:
    if all(isinstance(i, int | np.integer) for i in items):
        return AttributeProto(name=name, type=AttributeProto.INTS, ints=[int(i) for i in items])
    if all(isinstance(i, int | float | np.number) for i in items):
        return AttributeProto(name=name, type=AttributeProto.FLOATS, floats=[float(i) for i in items])
    return helper.make_attribute(name, items)
