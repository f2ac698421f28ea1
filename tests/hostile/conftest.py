"""Models that nobody means well with, and a process of its own with little memory to run them in."""

from __future__ import annotations

import os
import pickle
import resource
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import onnx
import pytest
from onnx import parser

from command import Outcome, run
from onnx_opt import files

T = TypeVar("T")
MEMORY = 1 << 30
"""Bytes that a small model may take on top of what the process has already."""
SECONDS = 60
"""Processor time: far more than needed, far less than what a bomb would take."""

HEADER = '<ir_version: 8, opset_import: ["": 17]>\n'


def model_of(text: str) -> onnx.ModelProto:
    """A model from ONNX text; without a header, IR version 8 and opset 17."""
    return parser.parse_model(text if text.lstrip().startswith("<") else HEADER + text)


class Trial:
    """The command on one model, in a folder that is watched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = folder / "model.onnx"
        self.output = folder / "out.onnx"

    def write(self, model: str | bytes | onnx.ModelProto) -> Trial:
        """Make this the model."""
        data = model_of(model) if isinstance(model, str) else model
        self.model.write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
        return self

    def run(self, *flags: object, memory: int = MEMORY) -> Outcome:
        """Optimize without validation: what ONNX Runtime makes of such a model is not under test here."""
        return bounded(lambda: run(self.model, "-o", self.output, "--no-validate", *flags), memory)

    def is_refused(self, *words: str, flags: tuple[object, ...] = (), memory: int = MEMORY) -> None:
        """Exit code 2, one line that names the file and holds all of `words`, and nothing written."""
        before = self._files()
        self.run(*flags, memory=memory).fails(2, str(self.model), *words)
        assert self._files() == before

    def passes(self, *flags: object, memory: int = MEMORY) -> onnx.ModelProto:
        """Exit code 0 without a pass that failed, a whole output, and nothing else written; the output."""
        return onnx.ModelProto.FromString(self._written(flags, memory))

    def passes_unharmed(self, *flags: object, memory: int = MEMORY) -> None:
        """It passes, and not one byte is another."""
        assert self._written(flags, memory) == self.model.read_bytes()

    def _written(self, flags: tuple[object, ...], memory: int) -> bytes:
        self.output.unlink(missing_ok=True)
        before = self._files()
        outcome = self.run(*flags, memory=memory)
        assert outcome.code == 0, outcome.err
        assert "failed" not in outcome.err
        after = self._files()
        data = after.pop(self.output.name)
        after.pop(f"{self.output.name}.data", None)
        assert after == before
        return data

    def _files(self) -> dict[str, bytes]:
        found = {p.name: p.read_bytes() for p in self.folder.iterdir() if p.is_file()}
        assert not any(name.startswith(files.PREFIX) for name in found)
        return found


def bounded(work: Callable[[], T], memory: int = MEMORY) -> T:
    """Do `work` in a child process that has `memory` bytes and 60 seconds of processor time."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _send(work, memory, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    status = os.waitpid(child, 0)[1]
    assert answer, f"the process ended with status {status}"
    result = pickle.loads(answer)
    assert not isinstance(result, str), result
    return result  # type: ignore[no-any-return]


def _send(work: Callable[[], T], memory: int, writer: int) -> None:
    """In the child: what `work` returns, or the text of what it raises."""
    try:
        limit = _address_space() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        try:
            answer: object = work()
        except BaseException:
            answer = traceback.format_exc()
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(answer, pipe)
    finally:
        sys.stdout.flush()
        os._exit(0)


def _address_space() -> int:
    """Bytes that this process has mapped."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 1 << 20
    return pages * resource.getpagesize()


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """A folder of its own."""
    return Trial(tmp_path)
