"""Types of values, and their protobuf form.

A dim is an int, a name, a sympy expression or None. Types that the model *declares* hold what the file says: a size, a
`dim_param`, or None where it says nothing. Types that the analyses *prove* hold an int or an expression in every place
(see `onnx_opt.shapes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from onnx import TensorProto, TypeProto, helper

Shape: TypeAlias = tuple[Any, ...]
"""The dims of a tensor, outermost first."""

EXACT_IN_DOUBLE = 2.0**53
"""ONNX Runtime computes some operators of integers in double precision, which is exact below this."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """A dense tensor. `elem_type` is an `onnx.TensorProto` enum (0: unknown); `shape` is None for an unknown rank."""

    elem_type: int
    shape: Shape | None = None

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    def with_shape(self, shape: Sequence[Any] | None) -> TensorType:
        """The same element type with other dims."""
        return TensorType(self.elem_type, None if shape is None else tuple(shape))

    def with_elem_type(self, elem_type: int) -> TensorType:
        """The same dims with another element type."""
        return self if elem_type == self.elem_type else TensorType(elem_type, self.shape)


@dataclass(frozen=True, slots=True)
class SparseTensorType:
    """A sparse tensor with the dims of the dense one."""

    elem_type: int
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class SequenceType:
    """A list of values of one type; None where that is unknown."""

    elem: Type | None


@dataclass(frozen=True, slots=True)
class OptionalType:
    """A value or nothing."""

    elem: Type | None


@dataclass(frozen=True, slots=True)
class MapType:
    """A dictionary from integers or strings (`key_type` is an `onnx.TensorProto` enum)."""

    key_type: int
    value: Type | None


@dataclass(frozen=True, slots=True)
class OpaqueType:
    """A type of some vendor's own."""

    domain: str
    name: str


Type = TensorType | SparseTensorType | SequenceType | OptionalType | MapType | OpaqueType

_FIELDS: dict[type, str] = {
    TensorType: "tensor_type",
    SparseTensorType: "sparse_tensor_type",
    SequenceType: "sequence_type",
    OptionalType: "optional_type",
    MapType: "map_type",
    OpaqueType: "opaque_type",
}


def proto_field(kind: Type) -> str:
    """The field of TypeProto that holds such a type; GraphSurgeon names types so."""
    return _FIELDS[type(kind)]


def declare(elem_type: int, shape: Sequence[Any] | None) -> TensorType:
    """A tensor type from dims as people write them: sizes, names, and None, '' or a negative number for unknown."""
    return TensorType(elem_type, None if shape is None else tuple(_plain_dim(dim) for dim in shape))


def _plain_dim(dim: Any) -> Any:
    if isinstance(dim, int | np.integer):
        return int(dim) if dim >= 0 else None
    return dim or None if isinstance(dim, str) else dim


# -- protobuf ----------------------------------------------------------------------------------------------------------


def from_proto(proto: TypeProto, symbol: Callable[[str], Any] = str) -> Type | None:
    """The type that `proto` states, None where it states none.

    `symbol` makes a dim from a `dim_param`; an unnamed or negative dim is None. Nested types are followed with a loop:
    the depth is the file's to choose.
    """
    wrappers: list[Callable[[Type | None], Type]] = []
    while True:
        field = proto.WhichOneof("value")
        if field == "sequence_type":
            wrappers.append(SequenceType)
            proto = proto.sequence_type.elem_type
        elif field == "optional_type":
            wrappers.append(OptionalType)
            proto = proto.optional_type.elem_type
        elif field == "map_type":
            wrappers.append(_map_of(proto.map_type.key_type))
            proto = proto.map_type.value_type
        else:
            break
    found = _leaf(proto, field, symbol)
    for wrap in reversed(wrappers):
        found = wrap(found)
    return found


def _map_of(key_type: int) -> Callable[[Type | None], Type]:
    return lambda value: MapType(key_type, value)


def _leaf(proto: TypeProto, field: str | None, symbol: Callable[[str], Any]) -> Type | None:
    if field == "tensor_type":
        return TensorType(defined(proto.tensor_type.elem_type), _shape(proto.tensor_type, symbol))
    if field == "sparse_tensor_type":
        tensor = proto.sparse_tensor_type
        return SparseTensorType(defined(tensor.elem_type), _shape(tensor, symbol))
    if field == "opaque_type":
        return OpaqueType(proto.opaque_type.domain, proto.opaque_type.name)
    return None


def _shape(tensor: Any, symbol: Callable[[str], Any]) -> Shape | None:
    if not tensor.HasField("shape") or len(tensor.shape.dim) > MAX_RANK:
        return None
    return tuple(_dim(dim, symbol) for dim in tensor.shape.dim)


def _dim(proto: Any, symbol: Callable[[str], Any]) -> Any:
    field = proto.WhichOneof("value")
    if field == "dim_value":
        return proto.dim_value if proto.dim_value >= 0 else None
    name = proto.dim_param if field == "dim_param" else ""
    return symbol(name) if name and isinstance(name, str) else None  # bytes: not UTF-8


def dim_param(dim: Any) -> str:
    """The name of a symbolic dim in a file: '' for a size that only the analyses have a symbol for ('?...')."""
    name = str(dim)
    return name if isinstance(dim, str) or "?" not in name else ""


def to_proto(kind: Type | None, name: Callable[[Any], str] = dim_param) -> TypeProto:
    """The protobuf form. `name` gives the `dim_param` of a dim that is no int; '' leaves the dim unnamed."""
    out = proto = TypeProto()
    while isinstance(kind, SequenceType | OptionalType | MapType):
        if isinstance(kind, MapType):
            proto.map_type.key_type = kind.key_type
            kind, proto = kind.value, proto.map_type.value_type
        elif isinstance(kind, SequenceType):
            kind, proto = kind.elem, proto.sequence_type.elem_type
        else:
            kind, proto = kind.elem, proto.optional_type.elem_type
        proto.SetInParent()
    if isinstance(kind, TensorType):
        _fill(proto.tensor_type, kind, name)
    elif isinstance(kind, SparseTensorType):
        _fill(proto.sparse_tensor_type, kind, name)
    elif isinstance(kind, OpaqueType):
        proto.opaque_type.SetInParent()
        proto.opaque_type.domain, proto.opaque_type.name = kind.domain, kind.name
    return out


def _fill(tensor: Any, kind: TensorType | SparseTensorType, name: Callable[[Any], str]) -> None:
    tensor.elem_type = kind.elem_type
    if kind.shape is None:
        return
    tensor.shape.SetInParent()
    for dim in kind.shape:
        entry = tensor.shape.dim.add()
        if isinstance(dim, int):
            entry.dim_value = dim
        elif dim is not None and (text := name(dim)):
            entry.dim_param = text


# -- element types -----------------------------------------------------------------------------------------------------

_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
_COMPLEX = frozenset({int(TensorProto.COMPLEX64), int(TensorProto.COMPLEX128)})


def _enums(*prefixes: str) -> frozenset[int]:
    return frozenset(number for name, number in TensorProto.DataType.items() if name.startswith(prefixes))


MAX_RANK = 64
"""The most dims that numpy has; of a tensor that is declared with more, not even their number is taken for known."""
_KNOWN = frozenset(TensorProto.DataType.values())
_SIGNED = _enums("INT")
_INTEGERS = _SIGNED | _enums("UINT")
_FLOATS = _enums("FLOAT", "DOUBLE", "BFLOAT")


def defined(elem_type: int) -> int:
    """`elem_type` if ONNX defines it, else 0: unknown."""
    return elem_type if elem_type in _KNOWN else 0


@cache
def element_bits(elem_type: int) -> int:
    """The size of an element in bits (4-bit types are packed two to a byte); a string counts as a pointer of 64.

    Raises ValueError for an element type that ONNX does not define.
    """
    try:
        name = TensorProto.DataType.Name(elem_type)
        return _BITS.get(name) or 8 * np.dtype(helper.tensor_dtype_to_np_dtype(elem_type)).itemsize
    except (KeyError, ValueError):
        raise ValueError(f"element type {elem_type} is not one that ONNX defines") from None


@cache
def numpy_dtype(elem_type: int) -> np.dtype | None:
    """The numpy (or ml_dtypes) dtype of an element type; None where there is none."""
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, ValueError):
        return None


def is_integer(elem_type: int) -> bool:
    """Whether elements are whole numbers, signed or not, of any width (bool is not)."""
    return elem_type in _INTEGERS


def is_signed_integer(elem_type: int) -> bool:
    """Whether elements are whole numbers that may be negative."""
    return elem_type in _SIGNED


def is_float(elem_type: int) -> bool:
    """Whether elements are real floating-point numbers of any width."""
    return elem_type in _FLOATS


def is_number(elem_type: int) -> bool:
    """Whether elements are numbers or truth values: what 0 is an element of."""
    return is_integer(elem_type) or is_float(elem_type) or is_complex(elem_type) or elem_type == TensorProto.BOOL


def is_complex(elem_type: int) -> bool:
    """Whether elements are complex numbers."""
    return elem_type in _COMPLEX
