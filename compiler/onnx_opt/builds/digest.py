"""Hashes of files, without reading again what has not changed."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

YOUNG = 2_000_000_000
"""Nanoseconds in which a file may change again without another time stamp, on coarse file systems."""

Digest = Callable[[Path], str]


def digest_of(data: bytes | str) -> str:
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, read as a stream. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def signature(path: Path) -> list[int]:
    """What changes when a file is written: its size, times and number. Raises OSError."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


class Digests:
    """Hashes that were computed before, by path; a file is read again where its size, times or number differ.

    `known` are (signature, digest) by path, as an earlier one has them in `seen`.
    """

    def __init__(self, known: Mapping[str, Any] | None = None) -> None:
        self.known = known or {}
        self.seen: dict[str, Any] = {}

    def __call__(self, path: Path) -> str:
        """The SHA-256 of a file. Raises OSError."""
        name, now = str(path), signature(path)
        entry = self.known.get(name) or self.seen.get(name)
        digest: str = entry[1] if entry and entry[0] == now else file_digest(path)
        # What was written a moment ago may be written again within the same tick of the clock: it is not trusted.
        if time.time_ns() - max(now[1], now[2]) > YOUNG:
            self.seen[name] = [now, digest]
        return digest


def tree_digest(files: Iterable[Path], root: Path) -> str:
    """One hash of many small files: their names below `root`, and their contents."""
    whole = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        whole.update(content)
    return whole.hexdigest()
