"""Results on disk, by the key of what they are made of.

    <cache>/v1/ab/abcdef.../entry.json      the report, and the names, sizes and hashes of the files
    <cache>/v1/ab/abcdef.../<files>         the model and its data
    <cache>/answers/...                     command lines and what they come to (`recall`)
    <cache>/locks/...                       one for each result and output that is being made

An entry appears whole, by the renaming of its folder, and is never changed. What is read is held against its hash: a
damaged entry is removed, and counts as none. Readers take no lock: who reads while another removes finds none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from onnx_opt.builds.digest import digest_of, file_digest
from onnx_opt.builds.locks import locked
from onnx_opt.errors import UsageError
from onnx_opt.files import atomic_file

PLACE_VARIABLE = "ONNX_OPT_CACHE"
SIZE_VARIABLE = "ONNX_OPT_CACHE_SIZE"
DEFAULT_SIZE = 10 << 30
ENTRY = "entry.json"
_VERSION = "v1"
_NEW = "new-"
_CHUNK = 1 << 20
_STALE = 24 * 3600.0
"""Seconds after which what a killed process left half made is removed."""


class Damaged(Exception):
    """An entry does not hold what it says."""


def cache_folder() -> Path:
    """Where results are kept: the folder that ONNX_OPT_CACHE names, else the user's cache."""
    if given := os.environ.get(PLACE_VARIABLE):
        return Path(given).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("onnx-opt", appauthor=False)


def size_limit() -> int:
    """How many bytes are kept: ONNX_OPT_CACHE_SIZE, such as 500MB, else 10 GiB."""
    text = os.environ.get(SIZE_VARIABLE)
    if not text:
        return DEFAULT_SIZE
    from onnx_opt.options import Size

    try:
        return Size(text)
    except ValueError as error:
        raise UsageError(f"{SIZE_VARIABLE}={text}: {error}") from error


class StoredFile(NamedTuple):
    """One file of an entry."""

    name: str
    size: int
    sha256: str


class Entry(NamedTuple):
    """A result that is kept: its files, the model first, and its report as plain data."""

    folder: Path
    files: tuple[StoredFile, ...]
    report: Mapping[str, Any]

    def copy(self, file: StoredFile, target: Path) -> None:
        """Put a file of the entry at `target`, whole or not at all. Raises Damaged."""
        with self._open(file) as source, atomic_file(target) as out:
            digest, size = hashlib.sha256(), 0
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                out.write(chunk)
            if (size, digest.hexdigest()) != (file.size, file.sha256):
                raise Damaged(self.folder)

    def is_at(self, file: StoredFile, place: Path) -> bool:
        """Whether the file at `place` holds the same bytes."""
        try:
            return place.stat().st_size == file.size and file_digest(place) == file.sha256
        except OSError:
            return False

    def check(self, file: StoredFile) -> None:
        """Raise Damaged where a file of the entry is not what was stored."""
        with self._open(file) as source:
            if hashlib.file_digest(source, "sha256").hexdigest() != file.sha256:
                raise Damaged(self.folder)

    @contextmanager
    def _open(self, file: StoredFile) -> Iterator[Any]:
        try:
            source = (self.folder / file.name).open("rb")
        except OSError:
            raise Damaged(self.folder) from None
        with source:
            yield source


class Stats(NamedTuple):
    """What a cache holds."""

    folder: Path
    entries: int
    size: int
    limit: int


class Cache:
    """The results in a folder, at most `limit` bytes of them."""

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.folder = folder if folder is not None else cache_folder()
        self.limit = size_limit() if limit is None else limit
        self._entries = self.folder / _VERSION

    def find(self, key: str, touch: bool = True) -> Entry | None:
        """The entry of a key; where it is touched, it becomes the one that was used last, and goes if it is damaged."""
        folder = self._place(key)
        try:
            held = json.loads((folder / ENTRY).read_bytes())
            files = tuple(StoredFile(**file) for file in held["files"])
            report = held["report"]
            if held["sum"] != _sum(held) or not files or any(Path(file.name).name != file.name for file in files):
                raise ValueError
            with suppress(OSError):  # one of another user is read, too
                if touch:
                    os.utime(folder / ENTRY)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            if touch:
                self.remove(key)
            return None
        return Entry(folder, files, report)

    def add(self, key: str, files: list[Path], report: Mapping[str, Any]) -> None:
        """Keep copies of `files`, the model first, under a key. Where there is no room for them, nothing happens.

        Raises OSError.
        """
        if sum(path.stat().st_size for path in files) > self.limit:
            return
        self._entries.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=_NEW, dir=self._entries))
        try:
            stored = [_store(path, made / path.name) for path in files]
            held: dict[str, Any] = {"files": [file._asdict() for file in stored], "report": report}
            (made / ENTRY).write_text(json.dumps({**held, "sum": _sum(held)}))
            place = self._place(key)
            place.parent.mkdir(exist_ok=True)
            with suppress(OSError):  # another process was first
                os.rename(made, place)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        self.shrink()

    def remove(self, key: str) -> None:
        """Forget what is kept under a key, if anything."""
        _remove(self._place(key))

    def shrink(self) -> None:
        """Remove what was not used for longest until the rest is within the limit."""
        with locked(self.folder / "locks", "shrink"):
            found = sorted(self._found())
            size = sum(size for _, size, _ in found)
            for _, its_size, folder in found:
                if size <= self.limit:
                    break
                _remove(folder)
                size -= its_size

    def clear(self) -> Stats:
        """Remove everything; returns what there was."""
        stats = self.stats()
        _remove(self._entries)
        _remove(self.folder / "answers")
        return stats

    def stats(self) -> Stats:
        found = list(self._found())
        return Stats(self.folder, len(found), sum(size for _, size, _ in found), self.limit)

    @contextmanager
    def making(self, output: Path, key: str) -> Iterator[None]:
        """Nobody else of us makes this output, or the result of this key, while the block runs."""
        folder = self.folder / "locks"
        with locked(folder, f"output-{_short(str(output.resolve()))}"), locked(folder, f"key-{key[:32]}"):
            yield

    def _place(self, key: str) -> Path:
        return self._entries / key[:2] / key

    def _found(self) -> Iterator[tuple[int, int, Path]]:
        """(time of last use, bytes, folder) of each entry."""
        with suppress(OSError):
            for folder in list(self._entries.iterdir()):
                for entry in [folder] if folder.name.startswith(_NEW) else list(folder.iterdir()):
                    if entry.name.startswith(_NEW):
                        _remove_stale(entry)
                        continue
                    with suppress(OSError):
                        size = sum(file.stat().st_size for file in entry.iterdir())
                        yield (entry / ENTRY).stat().st_mtime_ns, size, entry


def _store(path: Path, copy: Path) -> StoredFile:
    """Copy a file and take its hash on the way."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source, copy.open("xb") as target:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
    return StoredFile(path.name, size, digest.hexdigest())


def _sum(held: Mapping[str, Any]) -> str:
    """The hash of an entry's own record."""
    return _short(json.dumps([held["files"], held["report"]], sort_keys=True))


def _short(text: str) -> str:
    return digest_of(text)[:32]


def _remove(folder: Path) -> None:
    """Remove a folder; for others it is gone at once."""
    if not folder.exists():
        return
    with (
        suppress(OSError),
        tempfile.TemporaryDirectory(prefix=_NEW, dir=folder.parent, ignore_cleanup_errors=True) as doomed,
    ):
        os.rename(folder, Path(doomed) / "entry")


def _remove_stale(folder: Path) -> None:
    """What a process that is making an entry has, or a killed one left."""
    with suppress(OSError):
        if time.time() - folder.stat().st_mtime > _STALE:
            shutil.rmtree(folder, ignore_errors=True)
