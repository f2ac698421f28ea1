"""Dependency files as Make, Ninja, CMake and Meson read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from onnx_opt.errors import UsageError
from onnx_opt.files import atomic_file

_SPECIAL = re.compile(r"(\\*)([ #])")


def escape(name: str) -> str:
    """A file name as GCC writes it into dependency files, which is what every reader understands.

    A backslash counts only before a space or '#'. Raises UsageError for what no such file can hold.
    """
    if any(character in name for character in "\n\r\t\0"):
        raise UsageError("a dependency file can't hold a name with line breaks or tabs", path=name)
    return _SPECIAL.sub(lambda match: match[1] * 2 + "\\" + match[2], name).replace("$", "$$")


def rules(outputs: Mapping[Path, Iterable[Path]]) -> str:
    """A rule for each output, and an empty one for each dependency, so that one that is removed fails no build."""
    lines, everything = [], {}
    for output, inputs in outputs.items():
        names = [escape(str(path)) for path in dict.fromkeys(inputs)]
        everything.update(dict.fromkeys(names))
        lines.append(" \\\n  ".join([f"{escape(str(output))}:", *names]))
    lines.extend(f"{name}:" for name in everything if "%" not in name)  # as a target that would be a pattern
    return "\n".join(lines) + "\n"


def write_depfile(path: Path, outputs: Mapping[Path, Iterable[Path]]) -> None:
    """Write the dependencies of `outputs`; the file appears whole or not at all."""
    text = rules(outputs).encode()
    with atomic_file(path) as file:
        file.write(text)
