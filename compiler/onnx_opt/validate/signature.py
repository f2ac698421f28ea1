"""The types of a model's inputs and outputs, as an ONNX Runtime session sees them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

Dim = int | str | None  # a size, the name of a symbol, or nothing at all

# ONNX Runtime's names for element types -> (onnx.TensorProto name, name of the numpy or ml_dtypes type)
_ELEMENTS = {
    "float": ("FLOAT", "float32"),
    "double": ("DOUBLE", "float64"),
    "float16": ("FLOAT16", "float16"),
    "bfloat16": ("BFLOAT16", "bfloat16"),
    "float8e4m3fn": ("FLOAT8E4M3FN", "float8_e4m3fn"),
    "float8e4m3fnuz": ("FLOAT8E4M3FNUZ", "float8_e4m3fnuz"),
    "float8e5m2": ("FLOAT8E5M2", "float8_e5m2"),
    "float8e5m2fnuz": ("FLOAT8E5M2FNUZ", "float8_e5m2fnuz"),
    "float8e8m0": ("FLOAT8E8M0", "float8_e8m0fnu"),
    "float4e2m1": ("FLOAT4E2M1", "float4_e2m1fn"),
    "int4": ("INT4", "int4"),
    "uint4": ("UINT4", "uint4"),
    "int2": ("INT2", "int2"),
    "uint2": ("UINT2", "uint2"),
    "complex64": ("COMPLEX64", "complex64"),
    "complex128": ("COMPLEX128", "complex128"),
    "string": ("STRING", "object"),
    **{name: (name.upper(), name) for name in ("bool", "int8", "int16", "int32", "int64")},
    **{name: (name.upper(), name) for name in ("uint8", "uint16", "uint32", "uint64")},
}

_BITS = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2}


@dataclass(frozen=True)
class ValueType:
    """`kind` is tensor, sparse_tensor, seq, optional or map; `elem` an ONNX Runtime element type name ('' unless a
    tensor or a map's key); `inner` what a sequence, optional or map holds."""

    kind: str
    elem: str = ""
    inner: ValueType | None = None

    def __str__(self) -> str:
        parts = [self.elem] if self.elem else []
        parts += [str(self.inner)] if self.inner else []
        return f"{self.kind}({','.join(parts)})"

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The numpy type of a tensor's elements (object for strings); None when this Python has none."""
        return numpy_dtype(self.elem)

    @property
    def onnx_type(self) -> int:
        """The element type as onnx.TensorProto counts them."""
        from onnx import TensorProto

        return int(TensorProto.DataType.Value(_ELEMENTS[self.elem][0]))

    @property
    def bits(self) -> int:
        """Bits of one element where several share a byte, otherwise 0."""
        return _BITS.get(self.elem, 0)

    @property
    def native(self) -> bool:
        """Whether ONNX Runtime's Python interface exchanges this type as plain Python or numpy values."""
        if self.inner is not None:
            return self.inner.native
        return self.kind == "tensor" and self.elem in _ELEMENTS and _is_builtin(_ELEMENTS[self.elem][1])


@lru_cache
def numpy_dtype(elem: str) -> np.dtype[Any] | None:
    """The numpy type for ONNX Runtime's element type name; ml_dtypes is imported only where it is needed."""
    name = _ELEMENTS.get(elem, ("", ""))[1]
    if _is_builtin(name):
        return np.dtype(name)
    import ml_dtypes

    exotic = getattr(ml_dtypes, name, None) if name else None
    return np.dtype(exotic) if exotic is not None else None


def _is_builtin(name: str) -> bool:
    return name in ("object", "bool") or bool(re.fullmatch(r"float(16|32|64)|u?int(8|16|32|64)|complex(64|128)", name))


def parse_type(text: str) -> ValueType:
    """ONNX Runtime's spelling of a type, such as 'seq(tensor(float))' or 'map(int64,tensor(float))'."""
    kind, _, rest = text.partition("(")
    body = rest.removesuffix(")")
    if kind == "map":
        key, _, value = body.partition(",")
        return ValueType(kind, key, parse_type(value))
    if kind in ("seq", "optional"):
        return ValueType(kind, inner=parse_type(body))
    return ValueType(kind, body)


@dataclass(frozen=True)
class Slot:
    """One input or output. `shape` is None when even the rank is unknown; a sequence's is that of its elements."""

    name: str
    type: ValueType
    shape: tuple[Dim, ...] | None

    def __str__(self) -> str:
        dims = "?" if self.shape is None else "x".join("?" if d is None else str(d) for d in self.shape)
        return f"{self.type}[{dims}]"


@dataclass(frozen=True)
class Signature:
    """A model's interface. `overridable` are initializers that are also inputs: they may be fed, and need not be."""

    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    overridable: tuple[Slot, ...] = field(default=())


def read_signature(session: Any, declared_types: Callable[[], Mapping[str, onnx.TypeProto]]) -> Signature:
    """The signature of an ONNX Runtime session. What it reports without dims is looked up in `declared_types`: it may
    be a scalar, of unknown rank, or a sequence whose elements have a shape."""
    groups = (session.get_inputs(), session.get_outputs(), session.get_overridable_initializers())
    bare = {arg.name for group in groups for arg in group if not arg.shape}
    shapes = {name: _shape_of(declared) for name, declared in declared_types().items()} if bare else {}

    def slot(arg: Any) -> Slot:
        return Slot(arg.name, parse_type(arg.type), tuple(arg.shape) if arg.shape else shapes.get(arg.name))

    inputs, outputs, overridable = (tuple(map(slot, group)) for group in groups)
    return Signature(inputs, outputs, overridable)


def _shape_of(proto: onnx.TypeProto) -> tuple[Dim, ...] | None:
    while (kind := proto.WhichOneof("value")) in ("sequence_type", "optional_type"):
        proto = getattr(proto, kind).elem_type
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return None
    tensor = getattr(proto, kind)
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim)


def broken_promises(reference: Signature, candidate: Signature, fixed: Mapping[str, object] | None = None) -> list[str]:
    """How a candidate breaks the interface of the original; empty where it does not.

    Names, order and types must be the same, overridable initializers must stay so, and every shape that the original
    accepts must be accepted. The candidate may know shapes of outputs more precisely; of inputs only the symbols that
    the user has `fixed` may have become numbers.
    """
    problems = []
    for what, ours, theirs in (
        ("inputs", reference.inputs, candidate.inputs),
        ("outputs", reference.outputs, candidate.outputs),
    ):
        before, after = [slot.name for slot in ours], [slot.name for slot in theirs]
        if before != after:
            problems.append(f"the {what} {', '.join(before) or '(none)'} became {', '.join(after) or '(none)'}")
            continue
        for old, new in zip(ours, theirs, strict=True):
            if old.type != new.type:
                problems.append(f"{what[:-1]} '{old.name}' was {old.type} and became {new.type}")
            elif not _shape_holds(old, new, what == "inputs", fixed or {}):
                problems.append(f"{what[:-1]} '{old.name}' was {old} and became {new}")
    left = {slot.name for slot in candidate.overridable}
    lost = [slot.name for slot in reference.overridable if slot.name not in left]
    if lost:
        problems.append(f"initializer '{lost[0]}' could be overridden and no longer can ({len(lost)} in all)")
    return problems


def _shape_holds(old: Slot, new: Slot, is_input: bool, fixed: Mapping[str, object]) -> bool:
    if new.shape is None:
        return True
    if not old.shape and not is_input:
        return True  # an output declared without dims may be anything: exporters write that for what they do not know
    if old.shape is None:
        return False
    if len(old.shape) != len(new.shape):
        return False
    for axis, (before, after) in enumerate(zip(old.shape, new.shape, strict=True)):
        key = f"{old.name}[{axis}]" if before is None else before
        if isinstance(before, int) and isinstance(after, int) and before != after:
            return False
        if is_input and isinstance(after, int) and not isinstance(before, int) and key not in fixed:
            return False
    return True
