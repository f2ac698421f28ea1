"""Running models on samples, and counting how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.validate import Reference, Runtime, Source
from onnx_opt.validate.collect import Collection, Record
from onnx_opt.validate.compare import leaves
from onnx_opt.validate.figures import is_float
from onnx_opt.validate.run import Session, Value
from onnx_opt.validate.userdata import user_feeds

if TYPE_CHECKING:
    from onnx_opt.proof import Evidence

LARGEST_INPUT = 16.0
"""Random inputs beyond that are no common ones."""
SAMPLES = 2
"""Samples that decisions are made on: each costs a run of every candidate. The proof at the end takes all there are."""


@dataclass(frozen=True)
class Sample:
    """Inputs, and what a model made of them."""

    feed: dict[str, Value]
    outputs: list[Value]


class CountedSession(Session):
    """A session that counts its runs: those that came to an end."""

    def __init__(self, source: Source, meter: Meter) -> None:
        super().__init__(source, meter.runtime)
        self._meter, self._purpose = meter, meter.purpose

    def run(self, feed: Any) -> list[Value]:
        outputs = super().run(feed)
        self._meter.executions[self._purpose] = self._meter.executions.get(self._purpose, 0) + 1
        return outputs


@dataclass
class Meter:
    """Runs models for a stated purpose; `executions` counts the runs by purpose. `limit` is the most there may be."""

    runtime: Runtime = field(default_factory=Runtime)
    limit: int = 10
    purpose: str = ""
    executions: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return self.limit - sum(self.executions.values())

    def session(self, source: Source, purpose: str) -> CountedSession:
        """A session of a model; raises CannotLoad."""
        self.purpose = purpose
        return CountedSession(source, self)


def collect(source: Source, evidence: Evidence | None, meter: Meter, purpose: str) -> list[Sample]:
    """A few samples that the model in `source` runs on, with its outputs: the user's first ones, else random ones.

    Raises CannotLoad, and Rejected where it runs on nothing that was tried.
    """
    with meter.session(source, purpose) as session:
        if evidence is not None and evidence.data is not None:
            feeds = islice(user_feeds(evidence.data, session.signature), SAMPLES)
            return [Sample(feed, session.run(feed)) for feed in feeds]
        collection = Collection(_reference(source, evidence, meter.runtime), session)
        collection.collect()
        if not collection.records:
            from onnx_opt.validate.run import Rejected

            raise Rejected(collection.failure())
        # The last ones have indices over the whole of what they index.
        return [Sample(record.feed, record.outputs) for record in common(collection.records)[-SAMPLES:]]


def common(records: Sequence[Record]) -> list[Record]:
    """The records that half precision is judged on: the user's, else those of random inputs of common magnitudes.

    The proof of other rewrites also draws inputs far larger than what networks are fed. FP32 is right on those and half
    precision need not be.
    """
    given = [record for record in records if record.origin.startswith("user")]
    return given or [record for record in records if _magnitude(record) <= LARGEST_INPUT] or list(records)


def _magnitude(record: Record) -> float:
    arrays = [array for value in record.feed.values() for _, array in leaves(value)]
    floats = [array.astype(np.float32) for array in arrays if is_float(array.dtype) and array.size]
    return max((float(np.abs(array).max()) for array in floats), default=0.0)


def _reference(source: Source, evidence: Evidence | None, runtime: Runtime) -> Reference:
    if evidence is None:
        return Reference(source, samples=SAMPLES, budget=0.0, runtime=runtime)
    shapes: dict[str, Sequence[int]] = {
        name: [size for size in sizes if size is not None]
        for name, sizes in evidence.shapes.items()
        if None not in sizes
    }
    return Reference(
        source, dims=evidence.dims, shapes=shapes, seed=evidence.seed, samples=SAMPLES, budget=0.0, runtime=runtime
    )


def runtime_of(evidence: Evidence | None) -> Runtime:
    """How to run, with the user's libraries of custom operators."""
    if evidence is None:
        return Runtime(reuse=False)
    return Runtime(evidence.jobs, tuple(map(Path, evidence.custom_ops)), reuse=False)
