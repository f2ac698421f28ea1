"""The protobuf wire format, just enough to find where each field of a message lies and to write fields back.

Parts of a model that no pass touched are copied to the output from the source bytes, so the loader needs to know where
they are rather than what they mean. Everything here is bounds-checked: truncated or hostile bytes raise `ModelError`.
See https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

from onnx_opt.errors import ModelError

Buffer = bytes | mmap

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5


class Span(NamedTuple):
    """A length-delimited field in the source: its tag starts at `tag`, its payload is [start, end)."""

    tag: int
    start: int
    end: int


def read_varint(buffer: Buffer, at: int, end: int) -> tuple[int, int]:
    """The varint at `at` and the position behind it."""
    result = shift = 0
    while at < end and shift < 70:
        byte = buffer[at]
        at += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result, at
        shift += 7
    raise ModelError("not an ONNX model, or a damaged one: a number runs past its field")


def scan(buffer: Buffer, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, tag position, payload start, payload end) of each field in [at, end).

    The payload of a scalar field is its bytes as they stand. Raises `ModelError` on truncation and on wire types that
    no ONNX message uses.
    """
    while at < end:
        tag_at = at
        key = buffer[at]
        at += 1
        if key > 127:
            key, at = read_varint(buffer, tag_at, end)
        kind = key & 7
        if kind == LENGTH_DELIMITED:
            if at >= end:
                raise ModelError("not an ONNX model, or a truncated one: a field ends before its length")
            length = buffer[at]
            at += 1
            if length > 127:
                length, at = read_varint(buffer, at - 1, end)
            stop = at + length
        elif kind == VARINT:
            stop = read_varint(buffer, at, end)[1]
        elif kind == FIXED64:
            stop = at + 8
        elif kind == FIXED32:
            stop = at + 4
        else:
            raise ModelError(f"not an ONNX model, or a damaged one: wire type {kind} in field {key >> 3}")
        if stop > end or not key >> 3:
            raise ModelError("not an ONNX model, or a truncated one: a field reaches past the end of its message")
        yield key >> 3, tag_at, at, stop
        at = stop


def check_message(buffer: Buffer, tag: int, field: int) -> None:
    """Refuse a field, whose tag is at `tag`, that holds a number where ONNX has a message or a name."""
    if buffer[tag] & 7 != LENGTH_DELIMITED:
        raise ModelError(f"not an ONNX model, or a damaged one: field {field} is of wire type {buffer[tag] & 7}")


def text_field(buffer: Buffer, start: int, end: int, number: int) -> str:
    """The last string field `number` of the message in [start, end); '' where it is absent."""
    found = ""
    for field, _, a, b in scan(buffer, start, end):
        if field == number:
            found = decode(buffer[a:b])
    return found


def decode(raw: bytes) -> str:
    """A name of the model as text; names that are not UTF-8 are refused as the ONNX specification asks."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ModelError(f"a name in the model is not UTF-8: {raw[:40]!r}") from None


def encode_varint(number: int) -> bytes:
    """`number` (not negative) as a varint."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode_tag(number: int, length: int) -> bytes:
    """The tag and length that open a length-delimited field of `length` bytes."""
    return encode_varint(number << 3 | LENGTH_DELIMITED) + encode_varint(length)


def encode_field(number: int, payload: bytes) -> bytes:
    """A whole length-delimited field."""
    return encode_tag(number, len(payload)) + payload
