"""Measuring how long a model takes, alone or beside another one.

Two models take turns in short blocks, in changing order, so that whatever else the machine does hits both; what is said
of them is the ratio of each round, not that of two averages. They are loaded anew a few times, for where a model comes
to lie in memory makes a difference of its own. With one thread it is processor time that is compared: what other
processes take does not count.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

from onnx_opt import worker
from onnx_opt.runtime.execute import Sample, execute, load_error, located
from onnx_opt.runtime.latency import LEAST_ROUNDS, Latency, Ratio
from onnx_opt.runtime.settings import CPU
from onnx_opt.runtime.stopwatch import Block, Load
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
SITTINGS, LOADING = 4, 0.25
"""How often two models are loaded, as long as that takes no more than this part of the time to measure."""
DISTURBED = 0.05
"""The part of the time that others may have the processor before it is mentioned."""

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
    """One model: its latency, what loading it took (the least of a few times), its providers in order, and what the
    user should know."""

    name: str
    latency: Latency
    load: Load
    providers: list[str]
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.name,
            "latency_ms": self.latency.to_dict(),
            "load_s": self.load.seconds,
            "load_processor_s": self.load.worked,
            "providers": self.providers,
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Bench:
    """What came out: one model or two, and for two their ratio (above 1 the second is faster) by `clock`, "wall
    time" or "processor time"; `sample` is what the first ran on, `feeds` what each did."""

    models: list[Measured]
    ratio: Ratio | None
    clock: str
    sample: Sample
    feeds: list[Feed] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        inputs = {name: {"type": str(a.dtype), "shape": list(a.shape)} for name, a in self.sample.fed().items()}
        return {
            "inputs": inputs,
            "chosen_dims": dict(self.sample.sizes),
            "models": [measured.to_dict() for measured in self.models],
            "speedup": {**self.ratio.to_dict(), "clock": self.clock} if self.ratio else None,
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
    subjects = [_Subject(models[0], runtime, sample.feed, [], fixed)]
    for model in models[1:]:
        feed, notes = _inputs_of(model, looking, sample, {"dims": dims, "shapes": shapes, "seed": seed})
        subjects.append(_Subject(model, runtime, feed, notes, fixed))
    _measure(subjects, effort, tell)
    by_work = runtime.threads == 1 and runtime.settings.provider == CPU
    ratio = Ratio.of(*(subject.per_round(by_work) for subject in subjects)) if len(models) > 1 else None
    clock = "processor time" if by_work else "wall time"
    return Bench([subject.measured() for subject in subjects], ratio, clock, sample, [each.feed for each in subjects])


class _Subject:
    """A model, and its blocks round by round; while it is open, it is in the worker."""

    def __init__(self, model: Source, runtime: Runtime, feed: Feed, notes: list[str], fixed: bool) -> None:
        self.model, self.runtime, self.feed, self.notes, self.fixed = model, runtime, feed, notes, fixed
        self.blocks: list[Block] = []
        self.loads: list[Load] = []
        self.providers: list[str] = []
        self.runs = 1  # of a block
        self._handle: int | None = None

    def open(self, warm_up: float) -> None:
        """Load it, and run it for so many seconds."""
        self._place = worker.shared()
        with located(self.model):
            arguments = (self.model.absolute(), self.runtime, dict(self.feed), self.fixed)
            self._handle = self._place.make(_STOPWATCH, *arguments)
            self.providers = self._place.get(self._handle, "providers")
            self.loads.append(self._place.get(self._handle, "load"))
            if (copies := self._place.get(self._handle, "copies")) and len(self.loads) == 1:
                self.notes.append(f"inputs and outputs are copied in each run: {copies}")
            seconds = self._place.call(self._handle, "warm_up", warm_up)
        self.runs = max(1, math.ceil(BLOCK_S / max(seconds, 1e-7)))

    def run(self, runs: int, discarded: int) -> None:
        """One block."""
        with located(self.model):
            self.blocks.append(self._place.call(self._handle or 0, "block", runs, discarded))

    def close(self) -> None:
        if self._handle is not None:
            self._place.drop(self._handle)
        self._handle = None

    def per_round(self, by_work: bool) -> list[float]:
        """What a run of each round took."""
        return [median(block.worked if by_work else block.seconds) for block in self.blocks]

    def measured(self) -> Measured:
        seconds = [each for block in self.blocks for each in block.seconds]
        notes, worked = list(self.notes), sum(map(sum, (block.worked for block in self.blocks)))
        if self.runtime.settings.provider == CPU and (lost := 1 - worked / sum(seconds)) > DISTURBED:
            notes.append(f"for {lost:.0%} of the time it had no processor: other work on this machine disturbs")
        load = Load(*map(min, zip(*self.loads, strict=True)))
        return Measured(self.model.name, Latency.of(seconds), load, self.providers, notes)


def _measure(subjects: Sequence[_Subject], effort: Effort, tell: Tell) -> None:
    """Run the models in as many sittings as their loading allows, in each in another order."""
    number, sittings = 0, 1
    while number < sittings:
        order = subjects if number % 2 == 0 else subjects[::-1]
        tell("warming up", 0, 0)
        try:
            for subject in order:
                subject.open(effort.warm_up / (1 if number == 0 else SITTINGS))
            if number == 0:
                sittings = _sittings(subjects, effort)
            _take_turns(order, replace(effort, seconds=effort.seconds / sittings), sittings, tell)
        finally:
            for subject in subjects:
                subject.close()
        number += 1


def _sittings(subjects: Sequence[_Subject], effort: Effort) -> int:
    if len(subjects) == 1 or effort.iterations is not None:
        return 1
    loading = sum(subject.loads[0].seconds for subject in subjects)
    return max(1, min(SITTINGS, int(LOADING * effort.seconds * len(subjects) / max(loading, 1e-6))))


def _take_turns(subjects: Sequence[_Subject], effort: Effort, sittings: int, tell: Tell) -> None:
    """One sitting. Beside another model, the first run of a block does not count: it finds caches and threads as the
    other left them."""
    discarded = 0 if len(subjects) == 1 else 1
    for number, runs in enumerate(_schedule(subjects, effort, sittings, tell)):
        order = list(zip(subjects, runs, strict=True))
        for subject, count in order if number % 2 == 0 else reversed(order):
            subject.run(count, discarded)


def _schedule(subjects: Sequence[_Subject], effort: Effort, sittings: int, tell: Tell) -> Iterator[list[int]]:
    """For each round, how many runs of each model."""
    if effort.iterations is not None:
        yield from _counted(subjects, effort.iterations, tell)
        return
    limit, started, rounds = effort.seconds * len(subjects), time.monotonic(), 0
    least = 1 if len(subjects) == 1 else math.ceil(LEAST_ROUNDS / sittings)
    patience = max(PATIENCE * limit, LEAST_PATIENCE_S / sittings)
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
