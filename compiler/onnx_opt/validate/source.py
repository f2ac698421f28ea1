"""Where a model to be run comes from: a file, or bytes together with the folder of their external data."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Union

from onnx_opt.errors import ModelError
from onnx_opt.wire import Buffer, encode_field, encode_varint, scan

if TYPE_CHECKING:
    import numpy as np
    import onnx

ModelLike = Union[str, "os.PathLike[str]", bytes, "Source"]

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_GRAPH_INPUT_OUTPUT = (11, 12)
_TENSOR_RAW_DATA, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 9, 13, 14

# Payloads from this size on are left in the file by `skeleton`.
_LARGE = 4096


@dataclass(frozen=True)
class Source:
    """A model as ONNX Runtime shall read it: `path`, or `data` with external data relative to `folder`."""

    path: Path | None = None
    data: bytes | None = None
    folder: Path | None = None

    @classmethod
    def of(cls, model: ModelLike, folder: str | os.PathLike[str] | None = None) -> Source:
        """`model` as a source; `folder` holds the external data of a model given as bytes."""
        if isinstance(model, Source):
            return model
        if isinstance(model, bytes | bytearray | memoryview):
            return cls(data=bytes(model), folder=Path(folder) if folder is not None else None)
        path = Path(model)
        if not path.is_file():
            raise ModelError("no such file", path=path)
        return cls(path=path)

    @property
    def name(self) -> str:
        """How messages call it."""
        return str(self.path) if self.path else "model"

    @property
    def external_folder(self) -> Path | None:
        """The folder that relative external data locations start from."""
        return self.path.absolute().parent if self.path else self.folder

    def absolute(self) -> Source:
        """The same source for a process with another working folder."""
        return replace(self, path=self.path and self.path.absolute(), folder=self.folder and self.folder.absolute())

    @property
    def nbytes(self) -> int:
        """Bytes of the model itself, its external data not counted."""
        return self.path.stat().st_size if self.path else len(self.data or b"")

    def skeleton(self) -> onnx.ModelProto:
        """The model with its large initializers left in the file, as external data.

        It can still be run, next to the file, and holds a few kilobytes instead of gigabytes. Of a model given as
        bytes, which has no file to refer to, it is the whole model.
        """
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        model = onnx.ModelProto()
        try:
            model.ParseFromString(_skeleton_of_file(self.path) if self.path else self.data or b"")
        except DecodeError as error:
            raise ModelError("not an ONNX model, or a damaged one", path=self.path) from error
        return model

    def declared_types(self) -> dict[str, onnx.TypeProto]:
        """Graph input or output -> its type, read without reading the rest."""
        import onnx

        if self.path is None:
            infos = _declarations(self.data or b"")
        else:
            with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
                infos = _declarations(buffer)
        return {info.name: info.type for info in map(onnx.ValueInfoProto.FromString, infos)}

    def with_proto(self, model: onnx.ModelProto) -> Source:
        """`model`, an edited `skeleton` of this source, as a source of its own."""
        return Source(data=model.SerializeToString(deterministic=True), folder=self.external_folder)

    def array(self, tensor: onnx.TensorProto) -> np.ndarray:
        """The values of one of the skeleton's tensors."""
        from onnx import numpy_helper

        return numpy_helper.to_array(tensor, str(self.external_folder or ""))


def _skeleton_of_file(path: Path) -> bytes:
    if path.stat().st_size == 0:
        raise ModelError("the file is empty", path=path)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        parts = []
        for field, tag, start, end in scan(buffer, 0, len(buffer)):
            if field == _MODEL_GRAPH:
                parts.append(encode_field(_MODEL_GRAPH, _skeleton_of_graph(buffer, start, end, path.name)))
            else:
                parts.append(buffer[tag:end])
        return b"".join(parts)


def _declarations(buffer: Buffer) -> list[bytes]:
    """The serialized ValueInfoProtos of the inputs and outputs."""
    found = []
    for field, _, start, end in scan(buffer, 0, len(buffer)):
        if field == _MODEL_GRAPH:
            found += [buffer[a:b] for kind, _, a, b in scan(buffer, start, end) if kind in _GRAPH_INPUT_OUTPUT]
    return found


def _skeleton_of_graph(buffer: Buffer, start: int, end: int, file_name: str) -> bytes:
    parts = []
    for field, tag, a, b in scan(buffer, start, end):
        if field == _GRAPH_INITIALIZER and b - a >= _LARGE:
            parts.append(encode_field(_GRAPH_INITIALIZER, _tensor_left_in_file(buffer, a, b, file_name)))
        else:
            parts.append(buffer[tag:b])
    return b"".join(parts)


def _tensor_left_in_file(buffer: Buffer, start: int, end: int, file_name: str) -> bytes:
    parts = []
    for field, tag, a, b in scan(buffer, start, end):
        if field != _TENSOR_RAW_DATA or b - a < _LARGE:
            parts.append(buffer[tag:b])
            continue
        for key, value in (("location", file_name), ("offset", str(a)), ("length", str(b - a))):
            entry = encode_field(1, key.encode()) + encode_field(2, value.encode())
            parts.append(encode_field(_TENSOR_EXTERNAL_DATA, entry))
        parts.append(encode_varint(_TENSOR_DATA_LOCATION << 3) + b"\x01")
    return b"".join(parts)
