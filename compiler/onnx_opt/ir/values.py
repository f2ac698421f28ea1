"""Values: what nodes compute (Variable) and what the model carries (Constant).

They are GraphSurgeon's classes with identity in place of equality by name, and with the edges kept in one place:
`uses`, a dict of (user, operand index), so that adding or removing one of 50,000 uses costs the same as the first.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
from onnx import ValueInfoProto

from onnx_opt import types
from onnx_opt.errors import ModelError
from onnx_opt.ir import tensors
from onnx_opt.wire import Span

if TYPE_CHECKING:
    from onnx_opt.ir.graph import Graph
    from onnx_opt.ir.node import Node

MOST_DENSE = 1 << 28
"""Bytes up to which a sparse initializer is made a dense array."""
_UNREAD: Any = object()


class Identity:
    """Equality and hash by identity, and plain attribute assignment; GraphSurgeon overrides all three."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__
    __setattr__ = object.__setattr__


class Value(Identity):
    """What an edge carries. `name` is '' for an absent optional operand or result."""

    name: str
    uses: dict[tuple[Node | Graph, int], None]
    """Who reads the value: (node, operand index) or (graph, index of the graph output)."""
    graph: Graph | None = None
    """The graph that defines the value; None while it is detached or absent."""
    producer: Node | None = None
    pinned = False
    """Named from outside of the nodes (quantization annotations, training information): never removed or renamed."""
    info: Span | None = None
    """Where the source describes the value (value_info, input or output)."""
    interface: Span | None = None
    """Where the source lists the value as an input of its graph."""
    renamed = False
    redeclared = False
    """Whether the source still gives the right name and type."""
    _declared: types.Type | None = _UNREAD

    def __init__(self, name: str, graph: Graph | None = None):
        self.name = name
        self.uses = {}
        if graph is not None:
            self.graph = graph

    # -- the use-def chain -----------------------------------------------------------------------------------------

    @property
    def users(self) -> Iterator[Node]:
        """Each node that reads the value once, in subgraphs too."""
        seen = set()
        for user, _ in list(self.uses):
            if not user.is_graph and user not in seen:
                seen.add(user)
                yield user

    @property
    def is_graph_output(self) -> bool:
        return any(user.is_graph for user, _ in self.uses)

    @property
    def is_graph_input(self) -> bool:
        return self.graph is not None and self.producer is None and self in self.graph.input_set

    def is_empty(self) -> bool:
        """Whether this stands for an absent optional operand (GraphSurgeon's word for it)."""
        return not self.name

    def rename(self, name: str) -> None:
        """Give the value another name, which must be unused; `Graph.fresh` makes one."""
        if self.graph is None:
            self.name = name
        else:
            self.graph.rename(self, name)

    # -- GraphSurgeon's view of the same edges ---------------------------------------------------------------------

    @property
    def inputs(self) -> list[Node]:
        return _Producers(self)

    @inputs.setter
    def inputs(self, nodes: Sequence[Node]) -> None:
        _Producers(self)._commit(list(nodes))

    @property
    def outputs(self) -> list[Node]:
        return _Consumers(self)

    @outputs.setter
    def outputs(self, nodes: Sequence[Node]) -> None:
        _Consumers(self)._commit(list(nodes))

    # -- facts (proven by the analyses) ----------------------------------------------------------------------------

    @property
    def declared(self) -> types.Type | None:
        """The type that the model itself states, or None."""
        if self._declared is _UNREAD:
            self._declared = self._read_declared()
        return self._declared

    def _read_declared(self) -> types.Type | None:
        if self.info is None or self.graph is None:
            return None
        try:
            proto = ValueInfoProto.FromString(self.graph.model.buffer[self.info.start : self.info.end])
        except DecodeError:
            raise ModelError(f"what the model states of value '{self.name}' can't be decoded") from None
        return types.from_proto(proto.type) if proto.HasField("type") else None

    @property
    def elem_type(self) -> int:
        """The ONNX element type, 0 where it is unknown."""
        return self.graph.model.facts.elem_type(self) if self.graph is not None else 0

    @property
    def dims(self) -> tuple[Any, ...] | None:
        """The proven dimensions, each an int or a sympy expression; None where the rank is unknown."""
        return self.graph.model.facts.dims(self) if self.graph is not None else None

    @property
    def rank(self) -> int | None:
        dims = self.dims
        return None if dims is None else len(dims)

    @property
    def constant(self) -> np.ndarray | None:
        """The value as an array where it is the same in every run."""
        return self.graph.model.facts.constant(self) if self.graph is not None else None

    @property
    def content(self) -> np.ndarray | None:
        """The elements of a small integer tensor as ints and symbolic expressions, where they are known."""
        return self.graph.model.facts.content(self) if self.graph is not None else None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    __str__ = __repr__


class Variable(Value, gs.Variable):
    """A value that is only known when the model runs."""

    def __init__(
        self,
        name: str,
        dtype: Any = None,
        shape: Sequence[Any] | None = None,
        graph: Graph | None = None,
        type: Any = None,
    ):
        Value.__init__(self, name, graph)
        if dtype is not None or shape is not None:
            self._declared = declare_type(dtype, shape)

    @property
    def dtype(self) -> np.dtype | None:
        kind = self.elem_type or getattr(self.declared, "elem_type", 0)
        return tensors.numpy_dtype(kind) if kind else None

    @dtype.setter
    def dtype(self, dtype: Any) -> None:
        self._set_declared(declare_type(dtype, self.shape))

    @property
    def shape(self) -> list[int | str | None] | None:
        """The dimensions as GraphSurgeon has them: ints, and the model's names for symbolic ones."""
        declared = getattr(self.declared, "shape", None)
        dims = declared if declared is not None else self.dims
        return None if dims is None else [dim if isinstance(dim, int) else str(dim) for dim in dims]

    @shape.setter
    def shape(self, shape: Sequence[Any] | None) -> None:
        self._set_declared(declare_type(self.dtype, shape))

    @property
    def type(self) -> str:
        declared = self.declared
        return types.proto_field(declared) if declared is not None else "tensor_type"

    def _set_declared(self, declared: types.Type | None) -> None:
        if self.graph is None:
            self._declared = declared
        else:
            self.graph.declare(self, declared)

    def to_constant(self, values: np.ndarray, export_dtype: Any = None, data_location: Any = None) -> Constant:
        """Make this very object a constant (GraphSurgeon's way); its producer no longer computes it."""
        if self.graph is None:
            self.__class__ = Constant
            self._array = np.asarray(values)
        else:
            self.graph.make_constant(self, np.asarray(values))
        return self

    def copy(self) -> Variable:
        twin = Variable(self.name)
        twin._declared = self.declared
        return twin


class Constant(Value, gs.Constant):
    """A value that the model carries: an initializer. Its payload is read when it is first asked for."""

    source: Span | None = None
    """The TensorProto in the model's bytes; None for a constant that a pass made."""
    sparse = False
    overridable = False
    """Also a graph input, which a caller may feed: its value is only a default, and no analysis may rely on it."""
    data_location = None
    _export_dtype = None
    _array: np.ndarray | None = None
    _header: tensors.TensorHeader | None = None
    _digest: bytes | None = None
    rounded_to = 0
    """The element type that the stored elements are rounded to when they are asked for; 0: they are as stored."""
    _rounded: weakref.ref[np.ndarray] | None = None

    def __init__(self, name: str, values: Any = None, graph: Graph | None = None):
        Value.__init__(self, name, graph)
        if values is not None:
            self._array = np.asarray(values if isinstance(values, np.ndarray) else values.load())

    @property
    def header(self) -> tensors.TensorHeader | None:
        """What the source says of the tensor without its payload; None where a pass made or replaced it."""
        if self._header is None and self.source is not None and self.graph is not None:
            self._header = self.graph.model.tensor_header(self)
        if self._header is not None and self.rounded_to:
            return dataclasses.replace(self._header, elem_type=self.rounded_to)
        return self._header

    @property
    def values(self) -> np.ndarray:
        """The elements. Read-only where they are a view into the model file: assign a new array to change them."""
        if self.rounded_to:
            return self._round()
        return self._stored()

    @values.setter
    def values(self, values: np.ndarray) -> None:
        if self.graph is None:
            self._array = np.asarray(values)
        else:
            self.graph.set_values(self, np.asarray(values))

    @property
    def is_stored(self) -> bool:
        """Whether the elements stand in the source as they are."""
        return self.source is not None and self._array is None and not self.rounded_to

    def _stored(self) -> np.ndarray:
        if self._array is not None:
            return self._array
        if self.graph is None:
            raise ValueError(f"constant '{self.name}' has no values")
        return self.graph.model.tensor_array(self)

    def _round(self) -> np.ndarray:
        """The rounded elements, made anew when nobody holds them any more: large weights are not kept twice."""
        known = self._rounded() if self._rounded is not None else None
        if known is None:
            with np.errstate(over="ignore"):
                known = self._stored().astype(tensors.numpy_dtype(self.rounded_to))
            known.setflags(write=False)
            self._rounded = weakref.ref(known)
        return known

    @property
    def _values(self) -> np.ndarray:
        return self.values

    @property
    def dtype(self) -> np.dtype:
        header = self.header
        return tensors.numpy_dtype(header.elem_type if header is not None else self.elem_type)

    @property
    def shape(self) -> tuple[int, ...]:
        header = self.header
        return header.dims if header is not None else self._stored().shape

    @property
    def elem_type(self) -> int:
        header = self.header
        if header is not None:
            return header.elem_type
        return self.rounded_to or tensors.element_type(self._stored().dtype)

    @property
    def dims(self) -> tuple[int, ...]:
        return tuple(self.shape)

    @property
    def type(self) -> str:
        return "tensor_type"

    @property
    def nbytes(self) -> int:
        """The size of the payload in bytes (of strings: of their pointers), without reading it."""
        header = self.header
        if header is not None:
            return header.nbytes
        stored = self._stored()
        return stored.size * types.element_bits(self.rounded_to) // 8 if self.rounded_to else int(stored.nbytes)

    @property
    def is_readable(self) -> bool:
        """Whether the elements may be asked for: a few bytes of a sparse tensor can stand for any number of zeros."""
        return not self.sparse or self._array is not None or self.nbytes <= MOST_DENSE

    def digest(self) -> bytes:
        """A hash of the payload, the same for equal bits; computed once, streaming."""
        if self._digest is None:
            if not self.is_readable:
                assert self.source is not None and self.graph is not None
                payload: bytes | memoryview = self.graph.model.buffer[self.source.start : self.source.end]
            elif self.dtype == object:
                payload = repr(self.values.tolist()).encode()
            else:
                payload = tensors.payload(self.values, self.elem_type)
            self._digest = blake2b(payload, digest_size=16).digest()
        return self._digest

    @property
    def export_dtype(self) -> Any:
        return self.dtype

    @property
    def declared(self) -> types.Type:
        return types.TensorType(self.elem_type, self.dims)

    def to_variable(self, dtype: Any = None, shape: Sequence[Any] | None = None) -> Variable:
        raise TypeError(f"constant '{self.name}' can't become a variable: make a gs.Variable and rewire its users")

    def copy(self) -> Constant:
        return Constant(self.name, self.values)


def declare_type(dtype: Any, shape: Sequence[Any] | None) -> types.TensorType:
    """The type that GraphSurgeon's dtype (numpy dtype or ONNX enum) and shape (ints, names, -1 or None) stand for."""
    if dtype is None:
        return types.declare(0, shape)
    return types.declare(dtype if isinstance(dtype, int) else tensors.element_type(np.dtype(dtype)), shape)


class _Producers(list[Any]):
    """GraphSurgeon's `tensor.inputs`: the node that produces the value, if any."""

    def __init__(self, value: Value):
        super().__init__([value.producer] if value.producer is not None else [])
        self._value = value

    def _commit(self, wished: list[Any]) -> None:
        for node in [n for n in self if n not in wished]:
            node.outputs = [Variable("") if v is self._value else v for v in node.outputs]
        for node in [n for n in wished if n not in self]:
            node.outputs.append(self._value)

    def clear(self) -> None:
        self._commit([])

    def append(self, node: Any) -> None:
        self._commit([*self, node])

    def remove(self, node: Any) -> None:
        self._commit([n for n in self if n is not node])


class _Consumers(_Producers):
    """GraphSurgeon's `tensor.outputs`: the nodes that read the value, once for each operand."""

    def __init__(self, value: Value):
        list.__init__(self, [user for user, _ in value.uses if not user.is_graph])
        self._value = value

    def _commit(self, wished: list[Any]) -> None:
        for node in {n: None for n in self if n not in wished}:
            node.inputs = [v for v in node.inputs if v is not self._value]
        for node in {n: None for n in wished if n not in self}:
            node.inputs.append(self._value)
