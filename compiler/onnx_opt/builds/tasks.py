"""One model in a process of its own, here or on another machine: where it crashes or exhausts memory, only that ends.

`run_task` is a plain function of a value that can be pickled, so anything with the interface of concurrent.futures runs
it: threads, processes, a cluster.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx_opt.builds.digest import digest_of

GRACE = 30.0
"""Seconds that a process may take beyond its time limit, which it keeps by itself as a rule."""

_running: set[subprocess.Popen[str]] = set()
_lock = threading.Lock()


@dataclass(frozen=True)
class Task:
    """The words of the command line, run in `folder`. With `files`, by relative path, it runs in a new folder with
    these in it instead, and what it writes as `results` comes back as bytes."""

    name: str
    arguments: tuple[str, ...]
    folder: str
    timeout: float | None = None
    files: Mapping[str, bytes] | None = field(default=None, repr=False)
    results: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a task: the exit code of the command, its report, and its messages. `tools` is a hash of the
    versions that made it."""

    name: str
    code: int
    messages: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    seconds: float = 0.0
    tools: str = ""

    @property
    def status(self) -> str:
        """One word: proven, unproven, unchecked, failed."""
        return "failed" if self.code else str(self.report.get("status", "done"))

    @property
    def error(self) -> str:
        """The line that says why it failed."""
        lines = [line for line in self.messages.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("onnx-opt: error: ")]
        if not self.code:
            return ""
        return errors[-1].removeprefix("onnx-opt: error: ") if errors else (lines or [f"exit code {self.code}"])[-1]


def run_task(task: Task) -> Outcome:
    """Run a task to its end. Whatever the model does to its process, this returns."""
    start = time.monotonic()
    with _folder_of(task) as folder:
        code, out, messages = _run(task, folder)
        files = {}
        for name in task.results:
            with suppress(OSError):
                files[name] = (folder / name).read_bytes()
    seconds = time.monotonic() - start
    return Outcome(task.name, code, messages, _report(out), files, seconds, tools_hash())


def end_all() -> None:
    """End the processes of all tasks that run in this process."""
    with _lock:
        running = list(_running)
    for process in running:
        _end(process)


def tools_hash() -> str:
    """One hash of the versions on this machine."""
    from onnx_opt.builds.tools import tools

    return digest_of(json.dumps(tools(), sort_keys=True))


@contextmanager
def _folder_of(task: Task) -> Iterator[Path]:
    if task.files is None:
        yield Path(task.folder)
        return
    with tempfile.TemporaryDirectory(prefix="onnx-opt-", ignore_cleanup_errors=True) as scratch:
        for name, content in task.files.items():
            place = Path(scratch) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        for name in task.results:
            (Path(scratch) / name).parent.mkdir(parents=True, exist_ok=True)
        yield Path(scratch)


def _run(task: Task, folder: Path) -> tuple[int, str, str]:
    """(exit code, what it wrote to stdout, its messages)."""
    line = [sys.executable, "-m", "onnx_opt.builds.child", *task.arguments]
    pipe = subprocess.PIPE
    path = os.pathsep.join(entry for entry in sys.path if entry)  # modules are found where this process finds them
    process = subprocess.Popen(
        line, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace", start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    with _lock:
        _running.add(process)
    try:
        out, messages = _wait(process, task.timeout)
    finally:
        with _lock:
            _running.discard(process)
    if process.returncode >= 0:
        return process.returncode, out, messages
    return 1, "", f"{messages}onnx-opt: error: {task.name}: {_how_it_ended(-process.returncode, task)}\n"


def _wait(process: subprocess.Popen[str], timeout: float | None) -> tuple[str, str]:
    """Read what it writes until it ends; its input stays open, for it ends where that is closed."""
    reader = threading.Thread(target=lambda: found.append(process.stderr.read() if process.stderr else ""))
    found: list[str] = []
    reader.start()
    watch = threading.Timer(timeout + GRACE, _end, [process]) if timeout else None
    if watch is not None:
        watch.start()
    try:
        out = process.stdout.read() if process.stdout else ""
        process.wait()
        reader.join()
        return out, found[0]
    finally:
        if watch is not None:
            watch.cancel()
        _end(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _end(process: subprocess.Popen[str]) -> None:
    """End a process with those that it started."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _how_it_ended(number: int, task: Task) -> str:
    if number == signal.SIGKILL:
        late = f" or took over {task.timeout + GRACE:g} s" if task.timeout else ""
        return f"its process was killed, as the system does when memory runs out{late}"
    return f"its process crashed ({signal.Signals(number).name})"


def _report(out: str) -> dict[str, Any]:
    try:
        found = json.loads(out)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
