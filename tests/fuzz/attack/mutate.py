"""Models with something wrong: of the fields of a protobuf message, or of its bytes. The same seed, the same damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message
from onnx import defs

INTEGERS = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 64, 255, 2**16, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e38, float("inf"), float("nan"))
OPERATORS = tuple(sorted({schema.name for schema in defs.get_all_schemas() if schema.domain == ""}))
MOST_FIELDS = 4096
_INTEGRAL = {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64}
_REAL = {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}


def model(data: bytes, random: Random) -> bytes:
    """`data` with one to four things changed."""
    for _ in range(random.choice((1, 1, 2, 4))):
        data = raw(data, random) if random.random() < 0.2 else fields(data, random)
    return data


def raw(data: bytes, random: Random) -> bytes:
    """Bytes flipped, cut, doubled or put in."""
    damaged = bytearray(data)
    at = random.randrange(len(data) + 1)
    kind = random.randrange(5)
    if kind == 0 and at < len(damaged):
        damaged[at] ^= 1 << random.randrange(8)
    elif kind == 1 and at < len(damaged):
        damaged[at] = random.randrange(256)
    elif kind == 2:
        del damaged[at : at + random.choice((1, 2, 8, len(data)))]
    elif kind == 3:
        damaged[at:at] = random.choice((b"\xff\xfe", b"\0", b"\xff" * 9, random.randbytes(4)))
    else:
        damaged[at:at] = damaged[at : at + random.randrange(1, 33)]
    return bytes(damaged)


def fields(data: bytes, random: Random) -> bytes:
    """One field of the model, or of a message anywhere in it, changed in a way that protobuf allows."""
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
        places = list(_places(proto))
        message, field = random.choice(places)
        _change(message, field, places, random)
        return bytes(proto.SerializeToString())
    except (DecodeError, EncodeError, IndexError, UnicodeError):
        return raw(data, random)


def _places(root: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    """Every field that is set, and those next to them that are not."""
    stack, count = [root], 0
    while stack and count < MOST_FIELDS:
        message = stack.pop()
        for field in message.DESCRIPTOR.fields:
            count += 1
            if field.message_type is None:
                yield message, field
            elif field.is_repeated:
                yield message, field
                stack.extend(getattr(message, field.name))
            elif message.HasField(field.name):
                yield message, field
                stack.append(getattr(message, field.name))


def _change(message: Message, field: FieldDescriptor, places: list[Any], random: Random) -> None:
    if field.is_repeated:
        _change_list(getattr(message, field.name), field, places, random)
    elif field.message_type is not None:
        _change_message(message, field, places, random)
    elif random.random() < 0.15:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _scalar(field, places, random))


def _change_list(items: Any, field: FieldDescriptor, places: list[Any], random: Random) -> None:
    at = random.randrange(len(items)) if items else 0
    kind = random.randrange(5)
    if kind == 0 and items:
        del items[at]
    elif kind == 1 and items:
        items.append(items[at])
    elif kind == 2 and len(items) > 1:
        other = random.randrange(len(items))
        copies = [items.pop() for _ in range(len(items))][::-1]
        copies[at], copies[other] = copies[other], copies[at]
        items.extend(copies)
    elif field.message_type is not None:
        others = [m for m, _ in places if m.DESCRIPTOR is field.message_type]
        if others:
            items.add().ParseFromString(random.choice(others).SerializeToString())
    elif items and kind == 3:
        items[at] = _scalar(field, places, random)
    else:
        items.extend(_scalar(field, places, random) for _ in range(random.choice((1, 1, 3, 70))))


def _change_message(message: Message, field: FieldDescriptor, places: list[Any], random: Random) -> None:
    others = [m for m, _ in places if m.DESCRIPTOR is field.message_type]
    if random.random() < 0.3 or not others:
        message.ClearField(field.name)
    else:
        copied = random.choice(others).SerializeToString()  # it may hold `message`, or lie in it
        getattr(message, field.name).ParseFromString(copied)


def _scalar(field: FieldDescriptor, places: list[Any], random: Random) -> Any:
    if field.enum_type is not None:
        return random.choice(field.enum_type.values).number
    if field.cpp_type in _INTEGRAL:
        bits = 31 if field.cpp_type == FieldDescriptor.CPPTYPE_INT32 else 63
        low = 0 if field.cpp_type == FieldDescriptor.CPPTYPE_UINT64 else -(2**bits)
        fits: Callable[[int], bool] = lambda number: low <= number < 2**bits  # noqa: E731
        return random.choice(list(filter(fits, INTEGERS)))
    if field.cpp_type in _REAL:
        return random.choice(FLOATS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = _text(field, places, random)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    return 1


def _text(field: FieldDescriptor, places: list[Any], random: Random) -> str:
    """A name: of an operator, one that the model holds elsewhere, or an odd one."""
    if field.name == "op_type" and random.random() < 0.7:
        return random.choice(OPERATORS)
    message, other = random.choice(places)
    found = getattr(message, other.name)
    if isinstance(found, str) and random.random() < 0.8:
        return found
    names = [text for item in (found if other.is_repeated else ()) if isinstance(text := item, str)]
    return random.choice([*names, "", "x", "y", "[/red]", "a\nb", "\x1b[31m", "é" * 200, "axis", "body"])
