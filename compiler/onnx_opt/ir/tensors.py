"""TensorProto to numpy and back, without copying the payload where numpy can view it."""

from __future__ import annotations

import itertools
import math
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from onnx_opt import types, wire
from onnx_opt.errors import ModelError
from onnx_opt.wire import Buffer, Span

RAW_DATA, NAME = 9, 8
_PAYLOAD_FIELDS = frozenset({4, 5, 6, 7, 9, 10, 11})


class Deferred:
    """A part of the output that is computed when it is written, and not kept."""

    __slots__ = ("_make", "_size")

    def __init__(self, size: int, make: Callable[[], bytes | memoryview]):
        self._size, self._make = size, make

    def __len__(self) -> int:
        return self._size

    def make(self) -> bytes | memoryview:
        return self._make()


Piece = bytes | memoryview | Deferred
"""A part of the output: the exporter writes a list of them, so that weights are never joined into one bytes object."""


def made(pieces: Iterable[Piece]) -> Iterator[bytes | memoryview]:
    """The pieces as bytes, one after the other."""
    for piece in pieces:
        yield piece.make() if isinstance(piece, Deferred) else piece


@cache
def numpy_dtype(elem_type: int) -> np.dtype:
    """The numpy (or ml_dtypes) dtype of an ONNX element type."""
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(elem_type))
    except KeyError:
        raise ModelError(f"element type {elem_type} is not one that ONNX defines") from None


@cache
def element_type(dtype: np.dtype) -> int:
    """The ONNX element type of a numpy dtype; `object` and `str` arrays are strings."""
    if dtype.kind in "OUS":
        return int(TensorProto.STRING)
    return int(helper.np_dtype_to_tensor_dtype(dtype))


@cache
def is_packed(elem_type: int) -> bool:
    """Whether elements share bytes in the file (6-bit, 4-bit and 2-bit types)."""
    return elem_type != TensorProto.STRING and types.element_bits(elem_type) % 8 != 0


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """Everything of a TensorProto but its payload."""

    name: str
    elem_type: int
    dims: tuple[int, ...]
    raw: tuple[int, int] | None
    location: dict[str, str] | None

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.dims)

    @property
    def nbytes(self) -> int:
        """The size of the payload in bytes (of strings: of their pointers)."""
        return -(-types.element_bits(self.elem_type) * self.count // 8)


def read_header(buffer: Buffer, span: Span) -> TensorHeader:
    """The header of the TensorProto in `span`."""
    raw, kept = None, []
    for field, tag, start, end in wire.scan(buffer, span.start, span.end):
        if field == RAW_DATA:
            wire.check_message(buffer, tag, field)
            raw = (start, end)
        elif field not in _PAYLOAD_FIELDS:
            kept.append(buffer[tag:end])
    try:
        proto = TensorProto.FromString(b"".join(kept))
    except DecodeError:
        raise ModelError("an initializer can't be decoded") from None
    return header_of(proto, raw)


def header_of(proto: TensorProto, raw: tuple[int, int] | None = None) -> TensorHeader:
    """The header of a tensor; `raw` is where its raw data lies, if it has any."""
    location = _location(proto) if proto.data_location == TensorProto.EXTERNAL else None
    _check_shape(proto.name, proto.data_type, proto.dims)
    return TensorHeader(proto.name, proto.data_type, tuple(proto.dims), raw, location)


def _location(proto: TensorProto) -> dict[str, str]:
    """The entries that say where external data lies."""
    texts = [(entry.key, entry.value) for entry in proto.external_data]
    for text in itertools.chain.from_iterable(texts):
        if not isinstance(text, str):  # protobuf gives what is not UTF-8 as bytes
            wire.decode(text)
    return dict(texts)


def _check_shape(name: str, elem_type: int, dims: Sequence[int]) -> None:
    if not types.defined(elem_type):
        raise ModelError(f"initializer '{name}' is of the unknown element type {elem_type}", remedy="upgrade onnx")
    if len(dims) > types.MAX_RANK:
        raise ModelError(f"initializer '{name}' has {len(dims)} dimensions, more than {types.MAX_RANK}")
    if any(dim < 0 for dim in dims):
        raise ModelError(f"initializer '{name}' has a negative dimension: {list(dims)}")


def read_array(buffer: Buffer, span: Span, header: TensorHeader, external: Callable[[str], Buffer]) -> np.ndarray:
    """The values of the TensorProto in `span`: a read-only view into the file where its encoding allows it."""
    if header.location is not None:
        return _external_array(header, external)
    dtype = numpy_dtype(header.elem_type)
    if header.raw and dtype.kind != "O" and not is_packed(header.elem_type):
        return _view(buffer, header, *header.raw)
    try:
        array = numpy_helper.to_array(TensorProto.FromString(buffer[span.start : span.end]))
    except Exception as error:  # protobuf and numpy each have their own kinds
        raise ModelError(f"initializer '{header.name}' can't be decoded: {error}") from None
    array.setflags(write=False)
    return array


def _view(buffer: Buffer, header: TensorHeader, start: int, end: int) -> np.ndarray:
    dtype = numpy_dtype(header.elem_type)
    _check_size(header, end - start)
    try:
        return np.frombuffer(buffer, dtype, header.count, start).reshape(header.dims)
    except ValueError as error:  # no elements, but dims beyond what numpy counts
        raise ModelError(f"initializer '{header.name}' can't be read: {error}") from None


def check_data(header: TensorHeader, external: Callable[[str], Buffer]) -> None:
    """Raise ModelError where the payload of a tensor can't be what its dims ask for; nothing of it is read."""
    if header.location is not None:
        external_range(header, len(external(header.location.get("location", ""))))
    elif header.raw is not None:
        _check_size(header, header.raw[1] - header.raw[0])


def _check_size(header: TensorHeader, found: int) -> None:
    if found != header.nbytes:
        where = f" in '{header.location.get('location')}'" if header.location is not None else ""
        needed = f"its shape {list(header.dims)} needs {header.nbytes}"
        raise ModelError(f"initializer '{header.name}' has {found} bytes of data{where}, {needed}")


def external_range(header: TensorHeader, size: int) -> tuple[int, int]:
    """[start, end) of an external tensor's payload in its file of `size` bytes."""
    location = header.location or {}
    if header.elem_type == TensorProto.STRING:
        raise ModelError(f"initializer '{header.name}' holds strings, which can't be external data")
    try:
        start = int(location.get("offset", 0))
        length = int(location.get("length", header.nbytes))
    except ValueError:
        raise ModelError(f"initializer '{header.name}': offset or length of its external data is no number") from None
    if start < 0 or length < 0 or start + length > size:
        file = location.get("location", "")
        raise ModelError(
            f"initializer '{header.name}': external data file '{file}' of {size} bytes is too short for {length} bytes "
            f"at offset {start}"
        )
    _check_size(header, length)
    return start, start + length


def _external_array(header: TensorHeader, external: Callable[[str], Buffer]) -> np.ndarray:
    buffer = external((header.location or {}).get("location", ""))
    start, end = external_range(header, len(buffer))
    if not is_packed(header.elem_type):
        return _view(buffer, header, start, end)
    proto = TensorProto(data_type=header.elem_type, dims=header.dims, raw_data=buffer[start:end])
    return numpy_helper.to_array(proto)


def resolve_external(folder: Path | None, location: str) -> Path:
    """The file of an external tensor. It must lie in the model's folder: raises `ModelError` for `..`, absolute
    paths and links that lead outside, as ONNX Runtime does."""
    if folder is None:
        raise ModelError(f"external data '{location}' has no folder: load the model from its file, not from bytes")
    try:
        path = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not path.is_relative_to(folder.resolve()):
            raise ModelError(f"external data '{location}' is outside of the model's folder; copy it beside the model")
        if not stat.S_ISREG(path.stat().st_mode if path.exists() else 0):
            reason = "is no file" if path.exists() else f"is missing from {folder}"
            raise ModelError(f"external data file '{location}' {reason}")
    except (ValueError, RuntimeError) as error:  # a zero byte in the name, links that go round in circles
        raise ModelError(f"external data '{location}' has no file: {error}") from None
    except OSError as error:
        raise ModelError(f"external data '{location}' can't be opened: {error.strerror}") from None
    return path


def write_array(name: str, array: np.ndarray, elem_type: int | None = None) -> list[Piece]:
    """A TensorProto named `name` with the values of `array`, as pieces; the payload is not copied."""
    kind = elem_type or element_type(array.dtype)
    if kind == TensorProto.STRING or is_packed(kind):
        return [numpy_helper.from_array(array, name).SerializeToString()]
    header = TensorProto(dims=array.shape, data_type=kind, name=name).SerializeToString()
    data = payload(array, kind)
    return [header, wire.encode_tag(RAW_DATA, len(data)), data]


def write_deferred(name: str, header: TensorHeader, make: Callable[[], np.ndarray]) -> list[Piece]:
    """A TensorProto named `name`, of an unpacked element type, whose elements are made when they are written."""
    proto = TensorProto(dims=header.dims, data_type=header.elem_type, name=name).SerializeToString()
    size = header.count * types.element_bits(header.elem_type) // 8
    data = Deferred(size, lambda: payload(make(), header.elem_type))
    return [proto, wire.encode_tag(RAW_DATA, size), data]


def external_reference(name: str, elem_type: int, dims: tuple[int, ...], file: str, start: int, size: int) -> bytes:
    """A TensorProto whose payload is `size` bytes at `start` of `file`."""
    proto = TensorProto(dims=dims, data_type=elem_type, name=name, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", file), ("offset", str(start)), ("length", str(size))):
        entry = proto.external_data.add()
        entry.key, entry.value = key, value
    return proto.SerializeToString()


def _sparse_parts(buffer: Buffer, span: Span) -> SparseTensorProto:
    try:
        return SparseTensorProto.FromString(buffer[span.start : span.end])
    except Exception as error:
        raise ModelError(f"a sparse initializer can't be decoded: {error}") from None


def read_sparse_header(buffer: Buffer, span: Span) -> TensorHeader:
    """The header of the dense tensor that a SparseTensorProto stands for."""
    proto = _sparse_parts(buffer, span)
    _check_shape(proto.values.name, proto.values.data_type, proto.dims)
    return TensorHeader(proto.values.name, proto.values.data_type, tuple(proto.dims), None, None)


def read_sparse(buffer: Buffer, span: Span, header: TensorHeader) -> np.ndarray:
    """A sparse initializer as a dense array. Indices are linear ([NNZ]) or coordinates ([NNZ, rank])."""
    proto = _sparse_parts(buffer, span)
    if proto.values.external_data or proto.indices.external_data:
        raise ModelError(f"sparse initializer '{header.name}' is external data, which is not supported")
    try:
        values, indices = numpy_helper.to_array(proto.values), numpy_helper.to_array(proto.indices)
        dense = np.zeros(header.dims, values.dtype)
        linear = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), header.dims)
        if linear.size and linear.min() < 0:
            raise ValueError("an index is negative")
        dense.reshape(-1)[linear] = values
    except Exception as error:
        raise ModelError(f"sparse initializer '{header.name}' can't be decoded: {error}") from None
    dense.setflags(write=False)
    return dense


def round_sparse(name: str, source: bytes, elem_type: int) -> bytes:
    """A SparseTensorProto with its values rounded to another floating-point type."""
    proto = SparseTensorProto.FromString(source)
    values = numpy_helper.to_array(proto.values).astype(numpy_dtype(elem_type))
    proto.values.CopyFrom(numpy_helper.from_array(values, name))
    return proto.SerializeToString()


def renamed_sparse(source: bytes | memoryview, name: str) -> bytes:
    """A SparseTensorProto under another name."""
    proto = SparseTensorProto.FromString(bytes(source))
    proto.values.name = name
    return proto.SerializeToString()


def payload(array: np.ndarray, elem_type: int) -> bytes | memoryview:
    """The bytes of an array as they stand in raw_data or in an external file."""
    if is_packed(elem_type):
        return numpy_helper.from_array(array).raw_data
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]
