"""Reading the values of flags that are more than a word: dims, shapes, sizes, tolerances."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from onnx_opt.errors import UsageError
from onnx_opt.options import Size

_RANGE = re.compile(r"(\d+)(?::(\d*))?")


def read_dims(texts: Iterable[str]) -> dict[str, int | tuple[int, int | None]]:
    """``batch=1``, ``seq=1:512`` and ``n=1:`` (no upper limit), several with commas between."""
    found: dict[str, int | tuple[int, int | None]] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, equals, size = part.rpartition("=")
        match = _RANGE.fullmatch(size.strip())
        if not equals or not name.strip() or match is None:
            raise UsageError(f"--dim {part}: not a dim and its size", remedy="write --dim batch=1 or --dim seq=1:512")
        value = _read_range(part, match)
        if found.setdefault(name.strip(), value) != value:
            raise UsageError(f"--dim {part}: dim '{name.strip()}' is given twice")
    return found


def _read_range(part: str, match: re.Match[str]) -> int | tuple[int, int | None]:
    low = int(match[1])
    if match[2] is None:
        return low
    high = int(match[2]) if match[2] else None
    if high is not None and high < low:
        raise UsageError(f"--dim {part}: the upper limit is below the lower one")
    return (low, high)


def read_shapes(texts: Iterable[str]) -> dict[str, list[int | None]]:
    """``INPUT=1x3x224x224``; ``?`` leaves a dim as it is."""
    found: dict[str, list[int | None]] = {}
    for text in texts:
        name, equals, sizes = text.rpartition("=")
        parts = [part.strip() for part in sizes.split("x")]
        if not equals or not name or not all(part == "?" or part.isdecimal() for part in parts):
            raise UsageError(f"--shape {text}: not an input and its shape", remedy="write --shape INPUT=1x3x224x224")
        if name in found:
            raise UsageError(f"--shape {text}: input '{name}' is given twice")
        found[name] = [None if part == "?" else int(part) for part in parts]
    return found


def read_tolerance(text: str | None) -> float | dict[str, float] | None:
    """``1e-3``, or by dtype or output name: ``float32=1e-4,float16=1e-2``."""
    if text is None:
        return None
    if "=" not in text:
        return _number(text, text)
    pairs = [part.rpartition("=") for part in text.split(",")]
    return {name.strip(): _number(value, text) for name, _, value in pairs}


def read_size(flag: str, text: str | None) -> int | None:
    """``4GiB``, ``500MB`` or a number of bytes."""
    if text is None:
        return None
    try:
        return Size(text)
    except ValueError as error:
        raise UsageError(f"{flag} {text}: {error}") from error


def check_place(path: Path) -> None:
    """Raise UsageError where no file can be at `path`."""
    if path.is_dir():
        raise UsageError("it is a folder", path=path, remedy="give the name of a file")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder '{path.parent}'", path=path, remedy="make it first")


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        remedy = "write --tolerance 1e-3 or --tolerance float32=1e-4,float16=1e-2"
        raise UsageError(f"--tolerance {whole}: '{text}' is no error bound", remedy=remedy)
    return value
