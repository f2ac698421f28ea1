"""Bounds on what the command may use: seconds, and memory of each of its processes.

An interruption is no Exception: neither a pass that is left out when it fails nor a library's handler may swallow it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from onnx_opt.errors import LimitError, UsageError
from onnx_opt.options import Size


class _OutOfTime(BaseException):
    pass


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """End the block after that many seconds. Raises `LimitError` then. Python's main thread only.

    Work in C is not interrupted but ended when it returns; ONNX Runtime's, in its own process, is.
    """
    if seconds is None:
        yield
        return
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        raise UsageError("--timeout needs a system with interval timers, and Python's main thread")
    before = signal.signal(signal.SIGALRM, _expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except _OutOfTime:
        raise LimitError(f"not done after {seconds:g} s", remedy="allow more with --timeout") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _expire(number: int, frame: FrameType | None) -> None:
    raise _OutOfTime


@contextmanager
def memory_limit(size: int | None) -> Iterator[None]:
    """Let this process, and each that it starts in the block, have at most `size` bytes of memory of its own; files
    that are mapped do not count. Raises `LimitError` where this process needs more."""
    if size is None:
        yield
        return
    try:
        import resource
    except ImportError as error:
        raise UsageError("--max-memory needs a system with resource limits") from error
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))
    try:
        yield
    except MemoryError:
        message = f"more than {Size(size)} of memory is needed"
        raise LimitError(message, remedy="allow more with --max-memory") from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
