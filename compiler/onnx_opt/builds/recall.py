"""A command line that was answered from the cache before, answered again without reading it: most of the time that a
result from the cache takes goes into finding out what is asked for, and by which passes.

What was remembered holds as long as nothing changed that it was concluded from: the words, the folder, the variables
and the module path of Python; the installed packages and every file of those that take part; the size, times and
content of the model. Lines that name further files (own passes, data) are not remembered, nor are models with external
data.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from onnx_opt.builds.cache import Cache, Damaged, cache_folder
from onnx_opt.builds.digest import Digests, digest_of
from onnx_opt.files import atomic_file

FOLDER = "answers"
MOST = 2000
"""Answers that are kept; each takes a few kilobytes."""
_VARIABLES = ("PYTHON", "ONNX_OPT", "COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM", "LANG", "LC_")

asked: list[Sequence[str]] = []
"""The words of this process's command line, where an answer to them may be remembered."""


OUTPUT = "@output-of-onnx-opt@"
"""Stands for the output's name in what is shown and written: the same line with another output has the same answer."""
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)
"""Names that are written the same everywhere."""


class Answer(NamedTuple):
    """What a line does where its result is in the cache: the result of `key` is written, and so are `files`, and `out`
    and `err` are shown. `output` is where it goes if the line does not say."""

    key: str
    output: str
    files: Mapping[str, str]
    out: str
    err: str

    def for_output(self, name: str) -> Answer:
        """The same with its output called `name`."""
        files = {path: text.replace(OUTPUT, name) for path, text in self.files.items()}
        return self._replace(output=name, files=files, out=self.out.replace(OUTPUT, name))


def recall(words: Sequence[str]) -> bool:
    """Do what the line of these words asks for, if that is known; whether it is done."""
    if sys.stdout.isatty():  # tables are made for the terminal
        return False
    try:
        held = json.loads(_place(words).read_bytes())
        answer = Answer(**held["answer"])
        answer = answer.for_output(_split(words)[1] or answer.output)
        if not _PLAIN.fullmatch(answer.output):
            return False
        if held["tools"] != _tools(held["tools"]["roots"]) or not _same_inputs(held["inputs"]):
            return False
        cache = Cache()
        entry = cache.find(answer.key)
        if entry is None or len(entry.files) != 1:
            return False
        entry.copy(entry.files[0], Path(answer.output))
        for name, text in answer.files.items():
            with atomic_file(Path(name)) as file:
                file.write(text.encode())
    except (OSError, ValueError, KeyError, TypeError, Damaged):  # the long way tells what is wrong, or makes it again
        return False
    try:
        sys.stdout.write(answer.out)
        sys.stdout.flush()
    except BrokenPipeError:  # nobody is left to be told, not even by Python at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.stderr.write(answer.err)
    return True


def remember(answer: Answer, inputs: Sequence[Path], roots: Sequence[str]) -> None:
    """Keep the answer to what was asked. `inputs` are all files that it depends on, `roots` the folders of the packages
    that take part. Raises OSError."""
    if not asked:
        return
    digests = Digests()
    found = {str(path): digests(path) for path in inputs}
    place = _place(asked[0])
    place.parent.mkdir(parents=True, exist_ok=True)
    held = {
        "answer": answer._asdict(),
        "inputs": {"digests": found, "seen": digests.seen},
        "tools": _tools(roots),
    }
    with atomic_file(place) as file:
        file.write(json.dumps(held).encode())
    _forget_oldest(place.parent)


def _place(words: Sequence[str]) -> Path:
    """Where the answer to a line is, by all that is around it."""
    around = {name: value for name, value in os.environ.items() if name.startswith(_VARIABLES)}
    whole = [
        _split(words)[0],
        os.getcwd(),
        sys.path,
        sys.version,
        sys.prefix,
        os.uname().nodename if hasattr(os, "uname") else "",
        sorted(around.items()),
    ]
    return cache_folder() / FOLDER / f"{digest_of(json.dumps(whole))}.json"


def _split(words: Sequence[str]) -> tuple[list[str], str | None]:
    """A line without the name of its output, but for the ending of that, and the name."""
    rest, output = list(words), None
    for index, word in enumerate(words[:-1]):
        if word in ("-o", "--output"):
            output = words[index + 1]
            rest[index + 1] = OUTPUT + os.path.splitext(output)[1]
            break
    return rest, output


def _same_inputs(held: Mapping[str, Any]) -> bool:
    digests = Digests(held["seen"])
    return all(digests(Path(path)) == digest for path, digest in held["digests"].items())


def _tools(roots: Sequence[str]) -> dict[str, Any]:
    """What changes when a package is installed or removed, or a file of those at `roots` is written."""
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    return {
        "roots": list(roots),
        "installed": [[path, os.stat(path).st_mtime_ns] for path in installed if os.path.isdir(path)],
        "files": [_signature(root) for root in roots],
    }


def _signature(root: str) -> str:
    whole = hashlib.sha256()
    for path, stat in sorted(_python_files(root)):
        whole.update(f"{path}\0{stat}\0".encode())
    return whole.hexdigest()


def _python_files(folder: str) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _python_files(entry.path)
            elif entry.name.endswith(".py"):
                stat = entry.stat()
                yield entry.path, f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _forget_oldest(folder: Path) -> None:
    answers = list(folder.glob("*.json"))
    if len(answers) <= MOST:
        return
    ages = []
    for path in answers:
        with suppress(OSError):
            ages.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(ages)[: len(ages) - MOST // 2]:
        path.unlink(missing_ok=True)
