"""Timing one model, in the worker process: nothing but the model runs there, and a crash ends nothing else."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter, thread_time
from typing import Any, NamedTuple

from onnx_opt.runtime.session import Binding, device_of, open_session
from onnx_opt.validate.engine import one_line
from onnx_opt.validate.run import Feed, Rejected, Runtime
from onnx_opt.validate.source import Source

LEAST_WARM_UP = 3
"""Runs before the first that counts: memory is planned, kernels are chosen, pages are touched."""
_TELLING = 32


@dataclass(frozen=True)
class Block:
    """Runs in a row: the seconds that each took, and those of them in which its first thread had a processor."""

    seconds: list[float]
    worked: list[float]


class Load(NamedTuple):
    """What loading a model took: seconds, and those of them in which it had a processor."""

    seconds: float
    worked: float


class Stopwatch:
    """A session on one feed; `load` is what opening it took, `copies` why inputs or outputs are copied in each run: ''
    where they are not."""

    def __init__(self, source: Source, runtime: Runtime, feed: Feed, fixed: bool = False) -> None:
        """Raises what `open_session` raises, and `Rejected`."""
        worked, start = thread_time(), perf_counter()
        self._session = open_session(source, runtime.settings, threads=runtime.threads, custom_ops=runtime.custom_ops)
        self.load = Load(perf_counter() - start, thread_time() - worked)
        self.providers: list[str] = self._session.get_providers()
        self.copies = ""
        self._once = self._bound(runtime, feed, fixed)

    def warm_up(self, seconds: float, runs: int = LEAST_WARM_UP) -> float:
        """Run for so long, and at least so often; the seconds that a run takes, by the last of these. Raises
        `Rejected`."""
        start, times = perf_counter(), deque[float](maxlen=_TELLING)
        try:
            while len(times) < runs or perf_counter() - start < seconds:
                before = perf_counter()
                self._once()
                times.append(perf_counter() - before)
        except Exception as error:  # ONNX Runtime's exception classes share no base of their own
            raise Rejected(one_line(str(error))) from error
        return median(times)

    def block(self, runs: int, discarded: int = 0) -> Block:
        """`runs` runs in a row, after `discarded` ones that do not count."""
        once, block = self._once, Block([0.0] * runs, [0.0] * runs)
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            for _ in range(discarded):
                once()
            for i in range(runs):
                worked, start = thread_time(), perf_counter()
                once()
                block.seconds[i] = perf_counter() - start
                block.worked[i] = thread_time() - worked
        finally:
            if was_enabled:
                gc.enable()
        return block

    def _bound(self, runtime: Runtime, feed: Feed, fixed: bool) -> Callable[[], Any]:
        try:
            return Binding(self._session, feed, device_of(runtime.settings), fixed).run
        except TypeError as problem:
            self.copies = str(problem)
            values = dict(feed)
            return lambda: self._session.run(None, values)
        except Exception as error:  # ONNX Runtime's exception classes share no base of their own
            raise Rejected(one_line(str(error))) from error
