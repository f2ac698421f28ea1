"""The files that a result depends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from onnx_opt.builds.external import external_file, external_locations
from onnx_opt.builds.request import Request
from onnx_opt.builds.sources import python_file, with_imports


@dataclass(frozen=True)
class Inputs:
    """`external` are the locations that the model names, `others` all further files."""

    model: Path
    external: tuple[str, ...]
    others: tuple[Path, ...]

    @staticmethod
    def of(request: Request) -> Inputs:
        """Raises OSError where the model can't be read."""
        named = {path for text in (*request.pass_files, *request.named_paths()) for path in _python(text)}
        named.update(path for text in request.pass_files for path in _plain_file(text))
        named.update(path for text in request.named_paths() for path in _files_at(text))
        return Inputs(request.model, tuple(external_locations(request.model)), tuple(sorted(named)))

    def files(self) -> list[Path]:
        """All of them that are there: the model first."""
        external = (external_file(self.model, location) for location in self.external)
        return list(dict.fromkeys([self.model, *(path for path in external if path), *self.others]))


def _python(text: str) -> Iterable[Path]:
    path = python_file(text)
    return with_imports(path) if path is not None else ()


def _plain_file(text: str) -> Iterator[Path]:
    if text and "\0" not in text and len(text) < 1024 and Path(text).is_file():
        yield Path(text)


def _files_at(text: str) -> Iterator[Path]:
    """A file, or all files of a folder."""
    yield from _plain_file(text)
    if Path(text).is_dir():
        yield from (path for path in Path(text).rglob("*") if path.is_file())
