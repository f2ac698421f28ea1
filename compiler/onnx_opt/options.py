"""Options of a pass: one declaration serves the class, the command-line flag and the pipeline text.

max_growth: Size = option(Size("1MiB"), help="largest tensor that folding may create", flag="--max-fold-growth")
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Literals = bool | int | float | str | list[Any] | None

# A run of characters that mean nothing to the grammar of pipeline text: a name, a number, a string without quotes.
WORD = re.compile(r"""[^\s,=(){}\[\]"']+""")

_WORDS: dict[str, Literals] = {"true": True, "false": False, "none": None}
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SIZE = re.compile(r"\s*(\d+)\s*([KMG]?I?B?)\s*", re.IGNORECASE)


class Size(int):
    """A number of bytes; written 4096, 64KiB or 10MB."""

    def __new__(cls, value: int | str) -> Size:
        if isinstance(value, int):
            return super().__new__(cls, value)
        found = _SIZE.fullmatch(value)
        if not found or found[2].upper() not in _UNITS:
            raise ValueError("a size such as 4096, 64KiB or 10MB is needed")
        return super().__new__(cls, int(found[1]) * _UNITS[found[2].upper()])

    def __str__(self) -> str:
        for unit in ("GiB", "GB", "MiB", "MB", "KiB", "KB"):
            if self and self % _UNITS[unit.upper()] == 0:
                return f"{self // _UNITS[unit.upper()]}{unit}"
        return int.__repr__(self)


@dataclass(frozen=True)
class Option:
    """One declared option: `field` is its name in Python, `name` in pipeline text, `flag` on the command line."""

    field: str
    name: str
    flag: str
    type: Any
    default: Any
    help: str
    metavar: str
    primary: bool
    own_flag: bool

    def read(self, value: Literals) -> Any:
        """The typed value for a literal of the pipeline text; ValueError says what is needed instead."""
        return _reader(self.type)(value)

    def read_text(self, texts: tuple[str, ...]) -> Any:
        """The typed value for what the command line gave: several texts where the option is repeatable,
        and numbers of these also in one, with commas."""
        if self.repeatable:
            item = get_args(self.type)[0]
            parts = texts if item is str else [part for text in texts for part in text.split(",")]
            return tuple(_reader(item)(_literal_for(item, part)) for part in parts)
        return self.read(_literal_for(self.type, texts[-1]))

    @property
    def repeatable(self) -> bool:
        return get_origin(self.type) is tuple

    @property
    def is_bool(self) -> bool:
        return self.type is bool


def option(
    default: T,
    *,
    help: str = "",
    flag: str | None = None,
    metavar: str | None = None,
    type: Any = None,
    primary: bool = False,
) -> T:
    """Declare a dataclass field as an option of its pass.

    The type comes from the annotation (bool, int, float, str, Size, a Literal of strings, ``X | None`` or
    ``tuple[X, ...]`` for a repeatable option); `type` overrides it.  The flag is ``--PASS-FIELD`` unless `flag` names
    another.  A `primary` option may be set by the flag that adds the pass (``--pad-channels 16``); where it has a flag
    of its own, that flag adds the pass as well.
    """
    extra = {"help": help, "flag": flag, "metavar": metavar, "type": type, "primary": primary}
    field: T = dataclasses.field(default=default, metadata={"onnx_opt": extra})
    return field


def options_of(cls: type) -> tuple[Option, ...]:
    """The options that the pass class `cls` declares, in order."""
    return _options_of(cls)


@cache
def _options_of(cls: type) -> tuple[Option, ...]:
    fields = [f for f in dataclasses.fields(cls) if "onnx_opt" in f.metadata]
    hints = get_type_hints(cls) if any(f.metadata["onnx_opt"]["type"] is None for f in fields) else {}
    return tuple(_option(cls, field, hints) for field in fields)


def _option(cls: Any, field: dataclasses.Field[Any], hints: dict[str, Any]) -> Option:
    extra = field.metadata["onnx_opt"]
    kind = extra["type"] or hints[field.name]
    _reader(kind)  # an unsupported annotation fails here, where the class is defined
    name = field.name.replace("_", "-")
    return Option(
        field=field.name,
        name=name,
        flag=extra["flag"] or f"--{cls.name}-{name}",
        type=kind,
        default=field.default,
        help=extra["help"],
        metavar=extra["metavar"] or _metavar(kind),
        primary=extra["primary"],
        own_flag=extra["flag"] is not None,
    )


def spell(value: Any) -> str:
    """A value as pipeline text: what `Option.read` turns back into the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, Size):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return "[" + ",".join(map(spell, value)) + "]"
    return quote(value)


def quote(text: str) -> str:
    """A string of the pipeline text: as it is where it reads back so, else in double quotes with backslash escapes."""
    if WORD.fullmatch(text) and isinstance(literal(text), str):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def literal(word: str) -> Literals:
    """What a bare word of the pipeline text stands for: true, false, none, an int, a float, or itself."""
    if word in _WORDS:
        return _WORDS[word]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _literal_for(kind: Any, text: str) -> Literals:
    return text if str in (kind, *_alternatives(kind)) else literal(text)


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    if get_origin(kind) is tuple:
        return _metavar(get_args(kind)[0])
    kinds = [k for k in _alternatives(kind) if k is not type(None)]
    return {int: "N", float: "X", Size: "SIZE", str: "TEXT", bool: ""}.get(kinds[0], "VALUE")


# -- readers: literal -> typed value --------------------------------------------------------------------------------


def _reader(kind: Any) -> Callable[[Any], Any]:
    if get_origin(kind) is Literal:
        return lambda value: _choice(value, get_args(kind))
    if get_origin(kind) is tuple:
        item = _reader(get_args(kind)[0])
        return lambda value: tuple(item(v) for v in (value if isinstance(value, list) else [value]))
    kinds = _alternatives(kind)
    if len(kinds) == 2 and type(None) in kinds:
        inner = _reader(next(k for k in kinds if k is not type(None)))
        return lambda value: None if value is None else inner(value)
    if kind not in _READERS:
        raise TypeError(f"an option cannot have the type {kind}")
    return _READERS[kind]


def _choice(value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"one of {', '.join(choices)} is needed")
    return str(value)


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is needed")
    return value


def _read_int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a whole number is needed")
    return value


def _read_float(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("a number is needed")
    return float(value)


def _read_str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string is needed: put it in quotes")
    return value


def _read_size(value: Any) -> Size:
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError("a size such as 4096, 64KiB or 10MB is needed")
    return Size(value)


_READERS: dict[Any, Callable[[Any], Any]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: _read_str,
    Size: _read_size,
}
