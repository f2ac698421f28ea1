"""A process that does one task at a time and may die of it."""

from __future__ import annotations

import multiprocessing
import os
import time
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

LIMIT = 30.0
"""Seconds of work that a task may take between two signs of life, unless its caller knows better."""
PATIENCE = 20.0
"""How many times that it may take on the clock, since others may keep the processor busy."""
TASKS_PER_PROCESS = 400
"""A process is replaced now and then, so that no leak adds up."""


class Died(Exception):
    """The process ended, or stood still. `stage` is what it was doing."""

    def __init__(self, stage: str, hangs: bool):
        super().__init__(f"{'no end' if hangs else 'crash'} in stage '{stage}'")
        self.stage, self.hangs = stage, hangs


class Failed(Exception):
    """The task raised what it should not have."""


class Worker:
    """Calls functions of a module's `TASKS` in another process."""

    def __init__(self, tasks: str = "runner.work") -> None:
        self._tasks = tasks
        self._process: Any = None
        self._pipe: Connection | None = None
        self._done = 0

    @property
    def is_fresh(self) -> bool:
        """Whether the next task has to wait until all modules are imported."""
        return self._process is None or self._done in (0, TASKS_PER_PROCESS)

    def call(self, task: str, *arguments: Any, limit: float = LIMIT) -> Any:
        """The result of a task. Raises `Died` and `Failed`."""
        if self._process is None or self._done >= TASKS_PER_PROCESS:
            self._start()
        assert self._pipe is not None
        self._pipe.send((task, arguments))
        stage = "start"
        while True:
            try:
                if not self._wait(limit):
                    self.close()
                    raise Died(stage, hangs=True)
                kind, content = self._pipe.recv()
            except (EOFError, ConnectionResetError) as error:
                self.close()
                raise Died(stage, hangs=False) from error
            if kind == "stage":
                stage = content
                continue
            self._done += 1
            if kind == "error":
                raise Failed(content)
            return content

    def _wait(self, limit: float) -> bool:
        """Whether there is a sign of life before `limit` seconds of work are over."""
        assert self._pipe is not None
        until, worked = time.monotonic() + PATIENCE * limit, _seconds_of_work(self._process.pid)
        while not self._pipe.poll(min(limit, 1.0)):
            now = _seconds_of_work(self._process.pid)
            if time.monotonic() > until or (now is not None and worked is not None and now - worked > limit):
                return False
        return True

    def _start(self) -> None:
        self.close()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._tasks), daemon=True)
        self._process.start()
        theirs.close()
        self._done = 0

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            assert self._pipe is not None
            self._pipe.close()
        self._process = self._pipe = None


def _seconds_of_work(pid: int) -> float | None:
    """Seconds that a process had on a processor; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(pipe: Connection, module: str) -> None:
    """Do what is asked for until the other end closes. What native code writes to stderr is of no use to anyone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    import traceback

    from onnx_opt.worker import run_inline

    run_inline()  # this is the process that may crash
    tasks = import_module(module).TASKS
    while True:
        try:
            task, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("result", tasks[task](lambda text: pipe.send(("stage", text)), *arguments)))
        except Exception:  # told to the other end, which knows what to make of it
            pipe.send(("error", traceback.format_exc()))
