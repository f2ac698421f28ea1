"""Python values through a pipe, as frames: a pickle, then the arrays that it refers to, which are not copied."""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any

_COUNT = struct.Struct("<Q")


def send(pipe: IO[bytes], value: Any) -> None:
    """Write one frame. Raises what pickle raises for a value that it cannot take, before anything is written."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    pipe.write(_COUNT.pack(len(parts)) + b"".join(_COUNT.pack(part.nbytes) for part in parts))
    for part in parts:
        pipe.write(part)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """Read one frame. Raises EOFError where the other side is gone. Arrays can be written to."""
    (count,) = _COUNT.unpack(_exactly(pipe, _COUNT.size))
    sizes = struct.unpack(f"<{count}Q", _exactly(pipe, _COUNT.size * count))
    head, *buffers = [_exactly(pipe, size) for size in sizes]
    return pickle.loads(head, buffers=buffers)


def _exactly(pipe: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        read = pipe.readinto(view)  # type: ignore[attr-defined]
        if not read:
            raise EOFError
        view = view[read:]
    return data
