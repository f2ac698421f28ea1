"""Bringing many outputs up to date: what has to be made is made by an executor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from onnx_opt.builds.by_value import fetched, shipped
from onnx_opt.builds.stamps import Stamps, State
from onnx_opt.builds.tasks import Outcome, Task, run_task
from onnx_opt.errors import OnnxOptError, single_line


@dataclass(frozen=True)
class Update:
    """How outputs are made. `ahead` is how many are handed out at a time; `threads` what each may use, 0 for all;
    `max_memory` a bound for each, where none was given; `by_value` sends models and results instead of their paths."""

    stamps: Stamps
    cache: bool = True
    check: bool = False
    threads: int = 0
    max_memory: int | None = None
    by_value: bool = False
    ahead: int = 1000

    def run(self, states: Sequence[State], executor: Executor) -> Iterator[tuple[State, Outcome]]:
        """Make each of them; they come as they get done."""
        waiting = list(reversed(states))
        running: dict[Future[Outcome], State] = {}
        while waiting or running:
            while waiting and len(running) < self.ahead:
                state = waiting.pop()
                try:
                    running[executor.submit(run_task, self._task(state))] = state
                except Exception as error:  # a file that can't be read, a pool that broke
                    yield state, _failed(state, error)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield self._finished(running.pop(future), future)

    def _task(self, state: State) -> Task:
        step = state.step
        words = ["--json", "--cache" if self.cache else "--no-cache"]
        if self.check:
            words.append("--check")
        if self.threads and not step.given["jobs"]:
            words.append(f"--jobs={self.threads}")
        if self.max_memory and step.given["max_memory"] is None:
            words.append(f"--max-memory={self.max_memory}")
        if self.by_value:
            return shipped(state, words)
        if not self.check:
            for path in (step.output, *step.sides):
                path.parent.mkdir(parents=True, exist_ok=True)
        return Task(step.name, tuple(step.arguments(*words)), str(Path.cwd()), step.timeout)

    def _finished(self, state: State, future: Future[Outcome]) -> tuple[State, Outcome]:
        try:
            outcome = future.result()
            if self.by_value and outcome.code == 0:
                fetched(state.step, outcome.files)
        except CancelledError:
            raise
        except Exception as error:  # a pool that broke, a node that is lost, results that can't be written
            return state, _failed(state, error)
        if outcome.code == 0 and not self.check:
            with suppress(OSError):  # without it, the output is made again next time
                self.stamps.write(state)
        return state, outcome


def _failed(state: State, error: Exception) -> Outcome:
    text = str(error) if isinstance(error, OnnxOptError) else f"{type(error).__name__}: {error}"
    return Outcome(state.step.name, 1, f"onnx-opt: error: {single_line(text)}")
