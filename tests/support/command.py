"""The command, run in this process or as one of its own."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from onnx_opt.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a run of the command left."""

    code: int
    out: str
    err: str

    def fails(self, code: int, *words: str) -> None:
        """It failed with one line on stderr that holds all of `words`."""
        assert self.code == code, self
        lines = [line for line in self.err.splitlines() if "warning:" not in line]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("onnx-opt: error: ")
        assert "internal error" not in lines[0]
        for word in words:
            assert word in lines[0], lines[0]


def run(*arguments: object) -> Outcome:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(a) for a in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def start(*arguments: object, **settings: Any) -> subprocess.Popen[str]:
    """Start the command as a process of its own."""
    line = [sys.executable, "-m", "onnx_opt", *map(str, arguments)]
    return subprocess.Popen(line, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | settings)
