"""Running models in ONNX Runtime, as written, in a process of its own."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import IO, Any

import numpy as np

SECONDS = 10.0
"""How long one run may take; a small model that takes longer is in an endless loop."""


class Refused(Exception):
    """ONNX Runtime does not run a model on a feed; `lack`: it has no kernel for an operator on these types; `ended`: it
    did not say so, but ended the process, or never came to an end."""

    def __init__(self, reason: str, lack: bool = False, ended: bool = False):
        super().__init__(reason)
        self.lack = lack
        self.ended = ended


def run_model(model: bytes, feeds: Sequence[Mapping[str, np.ndarray]]) -> list[list[Any]]:
    """The results for each feed. Raises `Refused`."""
    return [_worker().run(model, dict(feed)) for feed in feeds]


@cache
def _worker() -> Worker:
    worker = Worker()
    atexit.register(worker.stop)
    return worker


class Worker:
    """A process that runs models, started anew when it ends or gets stuck."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: bytes | None = None
        self._deadline = float("inf")
        self._lock = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def run(self, model: bytes, feed: dict[str, np.ndarray]) -> list[Any]:
        """The results for a feed. Raises `Refused`."""
        with self._lock:
            results, reason, lack = self._ask(model, feed)
            ended = self._process is None
        if results is None:
            raise Refused(reason, lack, ended)
        return results

    def stop(self) -> None:
        """End the process."""
        process, self._process, self._loaded = self._process, None, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, model: bytes, feed: dict[str, np.ndarray]) -> tuple[list[Any] | None, str, bool]:
        requests, replies = self._pipes()
        self._deadline = time.monotonic() + SECONDS
        try:
            pickle.dump((None if model == self._loaded else model, feed), requests, protocol=5)
            requests.flush()
            self._loaded = model
            reply: tuple[list[Any] | None, str, bool] = pickle.load(replies)
        except (OSError, EOFError, pickle.UnpicklingError):
            stuck = time.monotonic() >= self._deadline
            self.stop()
            return None, f"it does not end within {SECONDS:g} s" if stuck else "it ends the process", False
        finally:
            self._deadline = float("inf")
        return reply

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "onnx_opt.harness.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        requests, replies = self._process.stdin, self._process.stdout
        assert requests is not None and replies is not None
        return requests, replies

    def _watch(self) -> None:
        while True:
            time.sleep(0.5)
            process = self._process
            if time.monotonic() >= self._deadline and process is not None:
                process.kill()
