"""Measuring how long a model takes, alone or beside another one.

Two models take turns in short blocks, in changing order, so that whatever else the machine does hits both; what is said
of them is the ratio of each round, not that of two averages.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from onnx_opt import worker
from onnx_opt.runtime.execute import Sample, execute, load_error, located
from onnx_opt.runtime.latency import LEAST_ROUNDS, Latency, Ratio
from onnx_opt.validate.figures import is_float
from onnx_opt.validate.run import CannotLoad, Feed, Runtime, Session
from onnx_opt.validate.signature import Signature
from onnx_opt.validate.sizes import Fixed
from onnx_opt.validate.source import Source
from onnx_opt.validate.userdata import Data

_STOPWATCH = "onnx_opt.runtime.stopwatch:Stopwatch"
BLOCK_S = 0.02
"""Seconds that one turn takes: long beside the switch from one model to the other, short beside what disturbs."""
PATIENCE, LEAST_PATIENCE_S = 4.0, 5.0
"""Times the duration asked for, and seconds at least, that a comparison of slow models may take for rounds enough."""

Tell = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Effort:
    """How long to measure: `seconds` for each model, or `iterations` of each where that is given; before that,
    `warm_up` seconds."""

    seconds: float = 5.0
    iterations: int | None = None
    warm_up: float = 0.5


@dataclass(frozen=True)
class Measured:
    """One model: its latency, how its providers are ordered, and what the user should know."""

    name: str
    latency: Latency
    providers: list[str]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.name,
            "latency_ms": self.latency.to_dict(),
            "providers": self.providers,
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Bench:
    """What came out: one model or two, and for two their ratio (above 1 the second is faster); `sample` is what
    the first ran on, `feeds` what each did."""

    models: list[Measured]
    ratio: Ratio | None
    sample: Sample
    feeds: list[Feed] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        inputs = {name: {"type": str(a.dtype), "shape": list(a.shape)} for name, a in self.sample.fed().items()}
        return {
            "inputs": inputs,
            "chosen_dims": dict(self.sample.sizes),
            "models": [measured.to_dict() for measured in self.models],
            "speedup": self.ratio.to_dict() if self.ratio else None,
        }


def bench(
    models: Sequence[Source],
    runtime: Runtime,
    effort: Effort | None = None,
    *,
    data: Data | None = None,
    dims: Mapping[str, Fixed] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    fixed: bool = False,
    looking: Runtime | None = None,
    tell: Tell | None = None,
) -> Bench:
    """Measure one model, or two against each other, on the first sample of `data` or on a random one.

    `fixed` keeps outputs in one place, as CUDA graphs need it; `looking` is what tries inputs, where `runtime` cannot
    since it holds to the first (a CUDA graph). Raises as `execute` does.
    """
    effort, tell = effort or Effort(), tell or (lambda what, done, total: None)
    looking = looking or runtime
    tell("looking for inputs", 0, 0)
    sample = execute(models[0], looking, data, dims, shapes, seed, limit=1)[0]
    subjects: list[_Subject] = []
    try:
        for model in models:
            tell("warming up", 0, 0)
            feed: Feed = sample.feed
            notes: list[str] = []
            if subjects:
                feed, notes = _inputs_of(model, looking, sample, {"dims": dims, "shapes": shapes, "seed": seed})
            subjects.append(_Subject(model, runtime, feed, notes, fixed))
            subjects[-1].warm_up(effort)
        rounds = _take_turns(subjects, effort, tell)
    finally:
        for subject in subjects:
            subject.close()
    ratio = Ratio.of(*([median(block) for block in blocks] for blocks in rounds)) if len(models) > 1 else None
    measured = [subject.measured(blocks) for subject, blocks in zip(subjects, rounds, strict=True)]
    return Bench(measured, ratio, sample, [subject.feed for subject in subjects])


class _Subject:
    """A model in the worker."""

    def __init__(self, model: Source, runtime: Runtime, feed: Feed, notes: list[str], fixed: bool) -> None:
        self.model, self.feed, self.notes = model, feed, notes
        self._place = worker.shared()
        with located(model):
            self._handle = self._place.make(_STOPWATCH, model.absolute(), runtime, dict(feed), fixed)
            self.providers: list[str] = self._place.get(self._handle, "providers")
            if copies := self._place.get(self._handle, "copies"):
                self.notes.append(f"inputs and outputs are copied in each run: {copies}")
        self.runs = 1  # of a block

    def warm_up(self, effort: Effort) -> None:
        with located(self.model):
            seconds = self._place.call(self._handle, "warm_up", effort.warm_up)
        self.runs = max(1, math.ceil(BLOCK_S / max(seconds, 1e-7)))

    def block(self, runs: int, discarded: int) -> list[float]:
        with located(self.model):
            times: list[float] = self._place.call(self._handle, "block", runs, discarded)
        return times

    def measured(self, blocks: Sequence[Sequence[float]]) -> Measured:
        latency = Latency.of([seconds for block in blocks for seconds in block])
        return Measured(self.model.name, latency, self.providers, self.notes)

    def close(self) -> None:
        self._place.drop(self._handle)


def _take_turns(subjects: Sequence[_Subject], effort: Effort, tell: Tell) -> list[list[list[float]]]:
    """The blocks of each model, round by round. Beside another model, the first run of a block does not count: it finds
    caches and threads as the other left them."""
    rounds: list[list[list[float]]] = [[] for _ in subjects]
    discarded = 0 if len(subjects) == 1 else 1
    for number, runs in enumerate(_schedule(subjects, effort, tell)):
        order = list(enumerate(subjects))
        for index, subject in order if number % 2 == 0 else reversed(order):
            rounds[index].append(subject.block(runs[index], discarded))
    return rounds


def _schedule(subjects: Sequence[_Subject], effort: Effort, tell: Tell) -> Iterator[list[int]]:
    """For each round, how many runs of each model."""
    if effort.iterations is not None:
        yield from _counted(subjects, effort.iterations, tell)
        return
    limit, started, rounds = effort.seconds * len(subjects), time.monotonic(), 0
    least, patience = 1 if len(subjects) == 1 else LEAST_ROUNDS, max(PATIENCE * limit, LEAST_PATIENCE_S)
    while True:
        spent = time.monotonic() - started
        if rounds and spent >= limit and (rounds >= least or spent > patience):
            return
        tell("measuring", round(10 * min(spent, limit)), round(10 * limit))
        yield [subject.runs for subject in subjects]
        rounds += 1


def _counted(subjects: Sequence[_Subject], iterations: int, tell: Tell) -> Iterator[list[int]]:
    """Rounds that add up to so many runs of each model."""
    rounds = max(math.ceil(iterations / subject.runs) for subject in subjects)
    rounds = max(rounds, min(iterations, LEAST_ROUNDS))
    for number in range(rounds):
        tell("measuring", number, rounds)
        yield [iterations * (number + 1) // rounds - iterations * number // rounds] * len(subjects)


# -- what the second model is run on -----------------------------------------------------------------------------------


def _inputs_of(model: Source, runtime: Runtime, sample: Sample, given: Mapping[str, Any]) -> tuple[Feed, list[str]]:
    """The first model's inputs, else random ones of its own; and what the user should know."""
    try:
        with Session(model, runtime) as session:
            feed = feed_for(session.signature, sample.feed)
    except CannotLoad as problem:
        raise load_error(problem, model) from problem
    if feed is not None:
        return feed, []
    return execute(model, runtime, None, **given)[0].feed, ["its inputs are others: it ran on random ones of its own"]


def feed_for(signature: Signature, feed: Feed) -> dict[str, Any] | None:
    """`feed` as another model takes it: the same inputs, floats in its precision; None where its inputs are others."""
    slots = {slot.name: slot for slot in (*signature.inputs, *signature.overridable)}
    if set(feed) - set(slots) or {slot.name for slot in signature.inputs} - set(feed):
        return None
    found: dict[str, Any] = {}
    for name, value in feed.items():
        wanted = slots[name].type.dtype
        if isinstance(value, np.ndarray) and wanted is not None and value.dtype != wanted:
            if not (is_float(value.dtype) and is_float(wanted)):
                return None
            value = value.astype(wanted)
        shape = slots[name].shape
        if isinstance(value, np.ndarray) and shape is not None and not _fits(value.shape, shape):
            return None
        found[name] = value
    return found


def _fits(given: Sequence[int], declared: Sequence[int | str | None]) -> bool:
    return len(given) == len(declared) and all(
        not isinstance(d, int) or d == g for d, g in zip(declared, given, strict=True)
    )
