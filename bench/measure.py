"""What a command costs: CPU seconds, wall seconds and peak memory of a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True)
class Run:
    """One command, finished.

    `cpu` and `wall` are seconds, of the command and of what it waited for. `peak` is the largest resident size of one
    process in bytes, mapped files included. `peak_own` is anonymous and shared memory of the whole process tree,
    sampled every few milliseconds: what the command itself needs, without the pages of the model file that it maps.
    It is None where the system has no /proc.
    """

    returncode: int
    timed_out: bool
    cpu: float
    wall: float
    peak: int
    peak_own: int | None
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0 and not self.timed_out

    @property
    def reason(self) -> str:
        """Why the command failed, in one line; empty when it did not."""
        if self.ok:
            return ""
        if self.timed_out:
            return f"timeout after {self.wall:.0f} s"
        if self.returncode < 0:
            return f"crash: signal {-self.returncode}"
        return f"exit {self.returncode}: {last_line(self.stderr) or last_line(self.stdout)}"


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def run(command: Sequence[str], *, timeout: float = 600, env: Mapping[str, str] | None = None) -> Run:
    """Run `command` and account for it. Its output is kept, never shown; the tail of it explains a failure."""
    with tempfile.TemporaryDirectory(prefix="onnx-opt-bench-") as folder:
        report = Path(folder, "report.json")
        out, err = Path(folder, "stdout"), Path(folder, "stderr")
        with out.open("wb") as stdout, err.open("wb") as stderr:
            launch = [sys.executable, "-I", "-S", str(LAUNCHER), str(report), str(timeout), *command]
            launcher = subprocess.run(launch, stdout=stdout, stderr=stderr, env={**os.environ, **(env or {})})
        if launcher.returncode != 0:
            return Run(127, False, 0.0, 0.0, 0, None, tail(out), tail(err))
        return Run(**json.loads(report.read_text()), stdout=tail(out), stderr=tail(err))


def tail(path: Path, limit: int = 64 * 1024) -> str:
    """The end of a file as text: tools may print megabytes."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - limit))
        return file.read().decode(errors="replace")


def interleaved(repeat: int, commands: Mapping[str, Callable[[], Run]]) -> dict[str, Run]:
    """The cheapest of `repeat` runs of each command: noise only ever adds.

    The commands take turns, so that a slow minute of the machine hits all of them. A command that fails is not run
    again: its failure is its result.
    """
    best: dict[str, Run] = {}
    for _ in range(repeat):
        for name, once in commands.items():
            if name in best and not best[name].ok:
                continue
            again = once()
            best[name] = again if name not in best or not again.ok else min(best[name], again, key=lambda run: run.cpu)
    return best


def best_of(repeat: int, once: Callable[[], Run]) -> Run:
    """The cheapest of `repeat` runs of one command, or its first failure."""
    return interleaved(repeat, {"": once})[""]
