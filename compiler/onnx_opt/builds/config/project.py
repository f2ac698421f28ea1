"""``onnx-opt.toml``, or ``[tool.onnx-opt]`` in a ``pyproject.toml``, as it is written.

jobs = 4
cache = true

[defaults]                          # for all models; keys are flags of the command by their long names
dim = {batch = 1}

[pipelines]
careful = "fold,cleanup,my_rules.py"

[profiles.server]                   # a set of settings with a name
target = "ort-cuda"
fp16 = true

[models.detector]
model = "models/detector.onnx"
output = "build/{name}.{profile}.onnx"
profiles = ["server"]
data = "data.npz"
tolerance = 1e-3
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx_opt.builds.config.places import places_of
from onnx_opt.errors import UsageError
from onnx_opt.passes import nearest

FILE = "onnx-opt.toml"
PYPROJECT = "pyproject.toml"
TABLES = ("defaults", "pipelines", "profiles", "models")
TOP = ("jobs", "cache", *TABLES)
OF_MODEL = ("model", "output", "profiles", "targets")
"""Keys of a model's table that are no flags."""


@dataclass(frozen=True)
class Project:
    """What the file says. Errors name the line of the file that is wrong."""

    path: Path
    held: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int] = field(repr=False)
    root: tuple[str, ...] = ()
    """The table of the file that it is in."""

    @staticmethod
    def find(given: Path | None, folder: Path) -> Project:
        """The file that is given, else the nearest one in `folder` or above it. Raises UsageError."""
        if given is not None:
            return Project.read(given)
        for place in (folder, *folder.parents):
            if (place / FILE).is_file():
                return Project.read(place / FILE)
            pyproject = place / PYPROJECT
            if pyproject.is_file() and "onnx-opt" in _parse(pyproject)[0].get("tool", {}):
                return Project.read(pyproject)
        raise UsageError(f"there is no {FILE} here or above", path=folder, remedy="write one, or name it with --config")

    @staticmethod
    def read(path: Path) -> Project:
        """Raises UsageError for what is no TOML, and for unknown keys."""
        held, text = _parse(path)
        root: tuple[str, ...] = ()
        if path.name == PYPROJECT:
            root = ("tool", "onnx-opt")
            held = held.get("tool", {}).get("onnx-opt")
            if held is None:
                raise UsageError("it has no table [tool.onnx-opt]", path=path)
        project = Project(path, held, places_of(text), root)
        project._check()
        return project

    @property
    def folder(self) -> Path:
        """What relative paths in it are relative to."""
        return self.path.absolute().parent

    def table(self, *names: str) -> Mapping[str, Any]:
        """A table of the file; empty where it is not there."""
        found: Any = self.held
        for name in names:
            found = found.get(name, {})
        return dict(found)

    def error(self, message: str, *at: str, remedy: str | None = None) -> UsageError:
        """An error about the key or table `at`."""
        return UsageError(message, path=self.where(*at), remedy=remedy)

    def where(self, *at: str) -> str:
        """The file, with the line of the key `at` or of what it is in."""
        path = (*self.root, *at)
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.path}:{self.lines[path]}" if path else str(self.path)

    def check_key(self, key: str, known: Iterable[str], *table: str) -> None:
        """Raise UsageError for a key that is not known, with the nearest one that is."""
        known = list(known)
        if key not in known:
            place = f" in [{'.'.join((*self.root, *table))}]" if table else ""
            raise self.error(f"unknown key '{key}'{place}", *table, key, remedy=nearest(key, known))

    def text(self, *at: str) -> str:
        """The key `at`, which has to be text."""
        value = self._at(at)
        if not isinstance(value, str):
            raise self.error(f"'{at[-1]}' needs text", *at)
        return value

    def names(self, *at: str) -> list[str]:
        """The key `at`, which has to be a list of names where it is given."""
        value = self.table(*at[:-1]).get(at[-1], [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.error(f"'{at[-1]}' needs a list of names", *at)
        return value

    def _at(self, at: tuple[str, ...]) -> Any:
        return self.table(*at[:-1]).get(at[-1])

    def _check(self) -> None:
        for key in self.held:
            self.check_key(key, TOP)
        for name in TABLES:
            if not isinstance(self.held.get(name, {}), Mapping):
                raise self.error(f"'{name}' is a table", name, remedy=f"write [{name}]")
        for group in ("profiles", "models"):
            for name, value in self.table(group).items():
                if not isinstance(value, Mapping):
                    raise self.error(f"'{name}' is a table", group, name, remedy=f"write [{group}.{name}]")
        for name in self.table("pipelines"):
            self.text("pipelines", name)
        jobs, cache = self.held.get("jobs", 0), self.held.get("cache", True)
        if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 0:
            raise self.error("'jobs' needs a whole number, 0 for one a core", "jobs")
        if not isinstance(cache, bool):
            raise self.error("'cache' needs true or false", "cache")


def _parse(path: Path) -> tuple[dict[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"it is no TOML: {error}", path=path) from error
    except UnicodeDecodeError as error:
        raise UsageError("it is not UTF-8", path=path) from error
