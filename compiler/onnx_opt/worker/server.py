"""The other process: it makes objects of this project's classes, calls their methods, and replies with the results.

It ends when its standard input does, also in the middle of a call: nobody is left to read the reply.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from typing import Any

from onnx_opt.worker import frames, telling
from onnx_opt.worker.client import run_inline
from onnx_opt.worker.objects import Objects

Request = tuple[Any, ...]
OOM_SCORE = "500"  # when memory runs out, the kernel ends this process rather than its parent


def serve() -> None:
    """Answer requests until the input ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what ONNX Runtime prints must not get among the replies
    _settle()
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    objects = Objects()
    telling.listen(lambda news: _reply(replies, (telling.NEWS, news)))
    while True:
        kind, *args = requests.get()
        try:
            reply = (True, getattr(objects, kind)(*args))
        except BaseException as error:
            reply = (False, error)
        _reply(replies, reply)
        del args, reply


def _read(requests: queue.SimpleQueue[Request]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            requests.put(frames.receive(sys.stdin.buffer))
    os._exit(0)


def _reply(replies: Any, reply: tuple[bool | None, Any]) -> None:
    try:
        frames.send(replies, reply)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # a result or an error that pickle cannot take
        frames.send(replies, (False, RuntimeError(f"{type(error).__name__}: {error}")))


def _settle() -> None:
    """Be a good child: leave Ctrl-C to the parent, write no core files, and start no workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run_inline()
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(OOM_SCORE)
