"""Python files of the user, with the files of theirs that these import."""

from __future__ import annotations

import ast
import re
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_SPELLING = re.compile(r"(?P<file>.+\.py)(?::\w+)?")
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_OURS = ("onnx_opt", "onnx_opt_passes", "onnx_opt_rules")


def python_file(text: str) -> Path | None:
    """The file that ``my_file.py`` or ``my_file.py:my_function`` names, where there is one."""
    match = _SPELLING.fullmatch(text)
    if match is None or "\0" in text or "\n" in text:
        return None
    path = Path(match["file"])
    return path if path.is_file() else None


def with_imports(path: Path) -> list[Path]:
    """A Python file and all files that its import statements lead to, but for installed packages; sorted.

    What a file imports by other means than a statement, or reads while it runs, is not seen.
    """
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        for name in _imported(file):
            waiting.extend(_files_of(name, (path.parent, *_search_path())))
    return sorted(found)


def _imported(file: Path) -> Iterator[str]:
    """The dotted names that a file imports; a relative import is looked for beside the file."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # what uses it will say so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def _files_of(name: str, folders: tuple[Path, ...]) -> Iterator[Path]:
    """The files that importing the dotted `name` runs: of each package on the way its ``__init__``, then the module."""
    parts = name.split(".")
    if not name or parts[0] in _OURS:
        return
    for folder in folders:
        if not _exists(folder, parts[0]):
            continue
        place = folder
        for part in parts:
            if (place / f"{part}.py").is_file():
                yield place / f"{part}.py"
                break
            place /= part
            if (place / "__init__.py").is_file():
                yield place / "__init__.py"
            elif not place.is_dir():
                break
        return


def _exists(folder: Path, part: str) -> bool:
    return (folder / f"{part}.py").is_file() or (folder / part / "__init__.py").is_file()


@cache
def _search_path() -> tuple[Path, ...]:
    """Where Python looks for modules beyond what is installed."""
    installed = {Path(path).resolve() for path in sysconfig.get_paths().values()}
    folders = [Path(entry or ".").resolve() for entry in sys.path]
    return tuple(
        folder
        for folder in folders
        if folder.is_dir()
        and _INSTALLED.isdisjoint(folder.parts)
        and not any(folder.is_relative_to(place) for place in installed)
        and not any((folder / name).is_dir() for name in _OURS)
    )
