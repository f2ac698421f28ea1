"""This side of the worker process: start it, ask it, notice that it is gone."""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from onnx_opt.diagnostics import TRACEBACK_VARIABLE
from onnx_opt.worker import frames, telling
from onnx_opt.worker.objects import Objects

# The child finds modules where this process does, also those of a folder that was added while it ran.
_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); import onnx_opt.worker.server as s; s.serve()"
)
DEBUG_VARIABLE = "ONNX_OPT_TRACEBACK"


class Crashed(Exception):
    """The worker ended in the middle of a request. The message says how: 'crashed (SIGSEGV)', 'took over 20 s'."""


class Worker:
    """`Objects` in another process. Methods raise what the work raises, and `Crashed` when the process ends in it."""

    def __init__(self) -> None:
        quiet = None if os.environ.get(TRACEBACK_VARIABLE) else subprocess.DEVNULL
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet
        )
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._late = False
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(pickle.dumps(sys.path))
            self._process.stdin.flush()

    @property
    def alive(self) -> bool:
        """Whether it can be asked by this process: after a fork the child needs a worker of its own."""
        return self._owner == os.getpid() and self._process.poll() is None

    def make(self, name: str, *args: Any) -> int:
        return int(self._ask("make", name, *args))

    def get(self, handle: int, attribute: str) -> Any:
        return self._ask("get", handle, attribute)

    def call(self, handle: int, method: str, *args: Any, limit: float = math.inf) -> Any:
        return self._ask("call", handle, method, *args, limit=limit)

    def drop(self, handle: int) -> None:
        if self.alive:
            with contextlib.suppress(Crashed):
                self._ask("drop", handle)

    def apply(self, name: str, *args: Any, limit: float = math.inf, hear: Callable[..., object] | None = None) -> Any:
        """Call a function; `hear` is called with what it tells (`onnx_opt.worker.telling`) while it works."""
        return self._ask("apply", name, *args, limit=limit, hear=hear)

    def kill(self) -> None:
        """End it at once."""
        if self._owner != os.getpid():
            return
        self._process.kill()
        self._process.wait()

    def _ask(self, *request: Any, limit: float = math.inf, hear: Callable[..., object] | None = None) -> Any:
        with self._lock:
            done, result = self._exchange(request, limit, hear)
        if done:
            return result
        raise result

    def _exchange(self, request: tuple[Any, ...], limit: float, hear: Callable[..., object] | None) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        watchdog = threading.Timer(limit, self._expire) if math.isfinite(limit) else None
        try:
            if watchdog is not None:
                watchdog.start()
            frames.send(self._process.stdin, request)
            while True:
                reply = frames.receive(self._process.stdout)
                if reply[0] is not telling.NEWS:
                    return reply
                if hear is not None:
                    hear(*reply[1])
        except (EOFError, OSError) as error:
            self.kill()
            raise Crashed(f"took over {limit:g} s" if self._late else self._ending()) from error
        except BaseException:
            self.kill()  # interrupted in the middle: what it would reply next answers an old question
            raise
        finally:
            if watchdog is not None:
                watchdog.cancel()

    def _expire(self) -> None:
        self._late = True
        self._process.kill()

    def _ending(self) -> str:
        code = self._process.wait()
        if code == -9:
            return "was killed, as the system does when memory runs out"
        if code < 0:
            return f"crashed ({signal.Signals(-code).name})"
        return f"crashed (exit code {code})"


Place = Worker | Objects
_shared: Place | None = None
_starting = threading.Lock()


def shared() -> Place:
    """The place where this process has its work done: started when first asked for, and again when it has ended."""
    global _shared
    with _starting:
        if _shared is None or not _shared.alive:
            _shared = Worker()
        return _shared


def run_inline() -> None:
    """From now on do everything in this process: it is guarded from outside."""
    global _shared
    if not isinstance(_shared, Objects):
        _stop()
        _shared = Objects()


@atexit.register
def _stop() -> None:
    if isinstance(_shared, Worker):
        _shared.kill()
