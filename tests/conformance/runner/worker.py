"""A process that does one task at a time and may die of it."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection
from typing import Any

LIMIT = 60.0
"""Seconds that a task may take between two signs of life, unless its caller knows better."""
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
    """Calls functions of `work.TASKS` in another process."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection | None = None
        self._done = 0

    def call(self, task: str, *arguments: Any, limit: float = LIMIT) -> Any:
        """The result of a task. Raises `Died` and `Failed`."""
        if self._process is None or self._done >= TASKS_PER_PROCESS:
            self._start()
        assert self._pipe is not None
        self._pipe.send((task, arguments))
        stage = "start"
        while True:
            try:
                if not self._pipe.poll(limit):
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

    def _start(self) -> None:
        self.close()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
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


def _serve(pipe: Connection) -> None:
    """Do what is asked for until the other end closes. What native code writes to stderr is of no use to anyone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    import traceback

    from onnx_opt.worker import run_inline

    from .work import TASKS

    run_inline()
    while True:
        try:
            task, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(("result", TASKS[task](lambda text: pipe.send(("stage", text)), *arguments)))
        except Exception:  # told to the other end, which knows what to make of it
            pipe.send(("error", traceback.format_exc()))
