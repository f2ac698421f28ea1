"""The process in which models run: reads requests on its standard input, writes replies on its standard output.

Random models drive ONNX Runtime into corners where it ends the process or never returns; that must not end the harness.
A request is a model (None: the last one again) and a feed; the reply, its results, or why there are none and whether
that is because ONNX Runtime lacks a kernel.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

from onnx_opt.validate.run import CannotLoad, Rejected, Runtime, Session, Unreadable
from onnx_opt.validate.source import Source

RUNTIME = Runtime(threads=1)


def serve() -> None:
    """Answer requests until the input ends."""
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what ONNX Runtime prints must not get among the replies
    session: Session | CannotLoad | None = None
    while True:
        try:
            model, feed = pickle.load(requests)
        except EOFError:
            return
        if model is not None:
            session = _load(model)
        pickle.dump(_run(session, feed), replies, protocol=5)
        replies.flush()


def _load(model: bytes) -> Session | CannotLoad:
    try:
        return Session(Source.of(model), RUNTIME)
    except CannotLoad as error:
        return error


def _run(session: Session | CannotLoad | None, feed: dict[str, Any]) -> tuple[list[Any] | None, str, bool]:
    if not isinstance(session, Session):
        return None, str(session), isinstance(session, CannotLoad) and session.is_lack
    try:
        return session.run(feed), "", False
    except (Rejected, Unreadable) as error:
        return None, str(error), False


if __name__ == "__main__":
    serve()
