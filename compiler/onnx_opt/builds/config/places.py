"""Where in a TOML file its keys are, for messages."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

Path = tuple[str, ...]

_HEADER = re.compile(r"\s*\[+[^\[\]]+\]+\s*(#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def places_of(text: str) -> dict[Path, int]:
    """The line of each table and key, counted from 1. A line within a long string may be taken for one, at worst."""
    found: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if _HEADER.match(line):
            table = _names(line)
            _add(found, table, number)
        elif match := _KEY.match(line):
            _add(found, (*table, *_names(f"{match[1]} = 0")), number)
    return found


def _add(found: dict[Path, int], path: Path, number: int) -> None:
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], number)


def _names(line: str) -> Path:
    """The names in a table's header, or before an equals sign."""
    try:
        held: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    names = []
    while isinstance(held, list | Mapping) and held:
        if isinstance(held, list):
            held = held[0]
            continue
        (name,) = held
        names.append(name)
        held = held[name]
    return tuple(names)
