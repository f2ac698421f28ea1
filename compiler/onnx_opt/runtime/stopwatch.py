"""Timing one model, in the worker process: nothing but the model runs there, and a crash ends nothing else."""

from __future__ import annotations

import gc
from collections.abc import Callable
from time import perf_counter
from typing import Any

from onnx_opt.runtime.session import Binding, device_of, open_session
from onnx_opt.validate.engine import one_line
from onnx_opt.validate.run import Feed, Rejected, Runtime
from onnx_opt.validate.source import Source

LEAST_WARM_UP = 3
"""Runs before the first that counts: memory is planned, kernels are chosen, pages are touched."""


class Stopwatch:
    """A session on one feed. `copies` says why its inputs or outputs are copied in each run; '' where they are not."""

    def __init__(self, source: Source, runtime: Runtime, feed: Feed, fixed: bool = False) -> None:
        """Raises what `open_session` raises, and `Rejected`."""
        self._session = open_session(source, runtime.settings, threads=runtime.threads, custom_ops=runtime.custom_ops)
        self.providers: list[str] = self._session.get_providers()
        self.copies = ""
        self._once = self._bound(runtime, feed, fixed)

    def warm_up(self, seconds: float, runs: int = LEAST_WARM_UP) -> float:
        """Run for so long, and at least so often; the seconds that the last run took. Raises `Rejected`."""
        start, done, last = perf_counter(), 0, 0.0
        try:
            while done < runs or perf_counter() - start < seconds:
                before = perf_counter()
                self._once()
                last, done = perf_counter() - before, done + 1
        except Exception as error:  # ONNX Runtime's exception classes share no base of their own
            raise Rejected(one_line(str(error))) from error
        return last

    def block(self, runs: int, discarded: int = 0) -> list[float]:
        """The seconds of each of `runs` runs in a row, after `discarded` ones that do not count."""
        once, times = self._once, [0.0] * runs
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            for _ in range(discarded):
                once()
            for i in range(runs):
                start = perf_counter()
                once()
                times[i] = perf_counter() - start
        finally:
            if was_enabled:
                gc.enable()
        return times

    def _bound(self, runtime: Runtime, feed: Feed, fixed: bool) -> Callable[[], Any]:
        try:
            return Binding(self._session, feed, device_of(runtime.settings), fixed).run
        except TypeError as problem:
            self.copies = str(problem)
            values = dict(feed)
            return lambda: self._session.run(None, values)
        except Exception as error:  # ONNX Runtime's exception classes share no base of their own
            raise Rejected(one_line(str(error))) from error
