"""Files that appear whole or not at all, whenever the process is stopped.

A file is written under another name and then takes the place of the one it replaces. What a killed process leaves
behind is hidden, bears a name of ours, and goes when the next file is written to that folder: a lock tells what is
still being written.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # not on Windows: there, nothing that is open can be removed, and locks are not needed for it
    fcntl = None  # type: ignore[assignment]

PREFIX = ".onnx-opt-"
_CHUNK = 1 << 20
_SMALL = 1 << 16
_FILE, _FOLDER, _SPARE, _LOCK = ".part", ".scratch", ".spare", "lock"


class atomic_file:
    """A binary file that takes the place of `path` when the block ends well, and leaves no trace when it does not.

    What is no file (a device, a pipe) is not replaced but written to.
    """

    def __init__(self, path: Path):
        self.path = path
        self.temporary: Path | None = None
        self.file: IO[bytes]

    def __enter__(self) -> IO[bytes]:
        if is_special(self.path):
            self.file = self.path.open("wb")
            return self.file
        remove_stale(self.path.parent)
        self.file, self.temporary = _locked_file(self.path.parent, PREFIX, _FILE)
        return self.file

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self.file.flush()
            if kind is None and self.temporary is not None:
                os.chmod(self.temporary, _mode(self.path))
                os.replace(self.temporary, self.path)
        finally:
            if self.temporary is not None:
                with suppress(FileNotFoundError):
                    os.unlink(self.temporary)
            self.file.close()


def contents(path: Path) -> bytes | mmap.mmap:
    """What a file holds; a large one is mapped. Each map keeps a file open: where a model has more of them than this
    process may have, it takes as many as it can get."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _SMALL:
            return file.read()
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            if error.errno != errno.EMFILE or not _allow_more_files():
                raise
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _allow_more_files() -> bool:
    """Raise the number of files that may be open as far as the system lets us; whether that is more than before."""
    try:
        import resource
    except ImportError:
        return False
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return soft != hard
    return False


def is_special(path: Path) -> bool:
    """Whether something is there that is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def put_in_place(file: Path, path: Path) -> None:
    """Let `file`, which is whole, take the place of `path`; where they are on different disks it is copied."""
    if file.stat().st_dev == path.parent.stat().st_dev and not is_special(path):
        os.chmod(file, _mode(path))
        os.replace(file, path)
        return
    copy(file, path)


def copy(file: Path, path: Path) -> None:
    """Put a copy of `file` at `path`."""
    with file.open("rb") as source, atomic_file(path) as target:
        shutil.copyfileobj(source, target, _CHUNK)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Nobody else of us exchanges files of this folder while the block runs."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a disk without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class ScratchFolder:
    """A folder for large files that goes with the object; after a kill, with the next file written beside it."""

    def __init__(self, near: Path | None) -> None:
        if near is not None:
            remove_stale(near)
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, suffix=_FOLDER, dir=near, ignore_cleanup_errors=True)
        self.path = Path(self._folder.name)
        self._lock = (self.path / _LOCK).open("wb")
        _lock(self._lock)

    def remove(self) -> None:
        """Remove it now."""
        self._lock.close()
        self._folder.cleanup()


@contextmanager
def spare_file(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A new file beside `path` for what shall be there later, and its name. It stays for the caller to move or remove;
    where that is killed, `remove_stale` with the same `path` removes it."""
    file, name = _locked_file(path.parent, f"{path.name}.", _SPARE)
    with file:
        os.chmod(name, _mode(path))
        yield file, name


def mentions(path: Path, text: str) -> bool:
    """Whether a file that may not be there holds `text`."""
    with suppress(OSError, ValueError), path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return content.find(text.encode()) >= 0
    return False


def remove_stale(folder: Path, spares_of: Path | None = None) -> None:
    """Remove what killed processes left in `folder`: temporary files, and spare files of a file that needs none."""
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            ours = entry.name.startswith(PREFIX) and entry.name.endswith((_FILE, _FOLDER))
            spare = spares_of is not None and entry.name.startswith(f"{spares_of.name}.")
            if ours or (spare and entry.name.endswith(_SPARE)):
                _remove_if_free(Path(entry.path))


def _remove_if_free(path: Path) -> None:
    """Remove a file or folder unless somebody holds its lock, which is ours until it is gone."""
    with suppress(OSError):
        if path.is_symlink():
            return
        is_folder = path.is_dir()
        with (path / _LOCK if is_folder else path).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_folder:
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _lock(file: IO[bytes]) -> None:
    if fcntl is not None:
        with suppress(OSError):  # a disk without locks
            fcntl.flock(file, fcntl.LOCK_EX)


def _locked_file(folder: Path, prefix: str, suffix: str) -> tuple[IO[bytes], Path]:
    """A new file, locked. Between its making and that, another process may take it for stale and remove it."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=suffix)
        file = os.fdopen(handle, "wb")
        _lock(file)
        if os.fstat(handle).st_nlink:
            return file, Path(name)
        file.close()


def _mode(path: Path) -> int:
    """The permissions of the file that is replaced, else those of any new file."""
    with suppress(FileNotFoundError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
