"""Locks between processes, by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """One process at a time is inside, of those that use the same folder and name; where the disk has no locks, any.

    What depends on this is speed alone: files are whole without it.
    """
    from filelock import FileLock

    path = folder / f"{name}.lock"
    lock = FileLock(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(poll_interval=0.02)
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # who waits for it goes on; who comes later makes a new one
            path.unlink()
        lock.release()
