"""From a failing case to a small one: delta debugging of pipeline, feeds, outputs, nodes, attributes, constants."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import onnx
import onnx.parser

from . import edits
from .judge import Finding
from .protos import Feed
from .ways import Way, single_passes
from .worker import LIMIT, Died, Failed, Worker

SECONDS = 120.0
"""How long one case may take to shrink."""
HANG_SECONDS = 1800.0
HANG_LIMIT = 2.0
"""Seconds of work after which a smaller model that never ends is given up: each that still hangs costs them."""
WARM_UP = onnx.parser.parse_model(
    '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 3] x) => (float[3, n] y) '
    "{ a = Transpose (x) b = Transpose (a) c = Transpose (b) y = Relu (c) }"
)
"""What is optimized first in a new process: its modules are imported once they are needed, which takes seconds."""


@dataclass
class Small:
    """A failing case: the model, what it is fed with, the way it takes, and what is wrong with it."""

    model: onnx.ModelProto
    feeds: Sequence[Feed]
    way: Way
    finding: Finding


def shrink(worker: Worker, model: bytes, feeds: Sequence[Feed], way: Way, finding: Finding) -> Small:
    """The smallest case that was found to fail in the same manner."""
    return _Shrinker(worker, Small(onnx.ModelProto.FromString(model), feeds, way, finding)).run()


class _Shrinker:
    def __init__(self, worker: Worker, case: Small):
        self.worker, self.best = worker, case
        hangs = case.finding.kind == "hang"
        self.deadline = time.monotonic() + (HANG_SECONDS if hangs else SECONDS)
        self.limit = HANG_LIMIT if hangs else LIMIT
        self.prunes = True
        """Whether what nothing reads can go, always; it can't where the fault is in how the compiler treats that."""

    def run(self) -> Small:
        """Edit until nothing makes it smaller."""
        self._take_first(replace(self.best, feeds=[feed]) for feed in self.best.feeds)
        self._simplify_way()
        self.prunes = self._take_first([replace(self.best, model=edits.pruned(self.best.model))])
        before = -1
        while before != (before := self._size()) and time.monotonic() < self.deadline:
            self._edit(edits.fewer_outputs)
            if not self.prunes:
                self._edit(edits.without_node)
                self._edit(edits.without_declarations)
            self._cut()
            for edit in (edits.bypass, edits.fewer_attributes, edits.plainer):
                self._edit(edit)
        self._edit(edits.fixed_sizes(self.best.feeds[0]))
        self._edit(edits.simpler_constants)
        self._simplify_feeds()
        self._simplify_way()
        return self.best

    def _size(self) -> int:
        return len(self.best.model.SerializeToString())

    def _fails(self, case: Small) -> Finding | None:
        """The finding, where `case` fails in the same manner as the first one."""
        wanted = self.best.finding
        names = {value.name for value in case.model.graph.input}
        case.feeds = [{name: value for name, value in feed.items() if name in names} for feed in case.feeds]
        arguments = case.model.SerializeToString(), case.feeds, case.way
        if self.worker.is_fresh:
            self.worker.call("try_model", WARM_UP.SerializeToString(), [{"x": np.ones((2, 3), np.float32)}], Way("O3"))
        try:
            found = self.worker.call("try_model", *arguments, limit=self.limit)
        except Died as death:
            kind = "hang" if death.hangs else "crash"
            if wanted.kind != kind or death.stage.partition(" ")[0] not in ("optimize", "run", "compare"):
                return None
            return Finding(str(case.way), kind, wanted.text)
        except Failed:
            return None
        if not isinstance(found, Finding) or found.kind != wanted.kind:
            return None
        if found.kind == "failed" and found.text.split(":")[0] != wanted.text.split(":")[0]:
            return None
        return found

    def _take_first(self, cases: Iterable[Small]) -> bool:
        """Go on with the first of `cases` that fails."""
        for case in cases:
            if time.monotonic() > self.deadline:
                return False
            found = self._fails(case)
            if found is not None:
                self.best = replace(case, finding=found)
                return True
        return False

    def _edit(self, edit: edits.Edit) -> None:
        """Apply an edit as often as it leaves a failing case that is not larger, or is simpler."""
        for _ in range(200):
            current = self.best.model.SerializeToString()
            made = (edits.pruned(each) if self.prunes else each for each in edit(self.best.model))
            candidates = (replace(self.best, model=each) for each in made if each.SerializeToString() != current)
            if not self._take_first(candidates):
                return

    def _cut(self) -> None:
        """Replace what comes before the fault by its results."""
        while time.monotonic() < self.deadline:
            try:
                values = self.worker.call("interior_values", self.best.model.SerializeToString(), self.best.feeds)
            except (Died, Failed):
                return
            feeds = [{**feed, **row} for feed, row in zip(self.best.feeds, values, strict=True)]
            model = self.best.model
            made = chain(edits.earlier_output(values)(model), edits.cut(values)(model))
            tidy = (edits.pruned(each) if self.prunes else each for each in made)
            smaller = (
                replace(self.best, model=each, feeds=feeds)
                for each in tidy
                if len(each.graph.node) < len(model.graph.node)
            )
            if not self._take_first(smaller):
                return

    def _simplify_way(self) -> None:
        way = self.best.way
        self._take_first(replace(self.best, way=simple) for simple in _simpler_ways(way) if simple != way)

    def _simplify_feeds(self) -> None:
        for name in list(self.best.feeds[0]):
            array = self.best.feeds[0][name]
            if isinstance(array, np.ndarray):
                made = ([{**self.best.feeds[0], name: simple}] for simple in edits.simpler(array))
                self._take_first(replace(self.best, feeds=feeds) for feeds in made)


def _simpler_ways(way: Way) -> Iterator[Way]:
    """One pass, then two of them, then all but one of the way."""
    names = single_passes(not way.keeps_precision)
    yield from (Way(name) for name in names)
    if way.target != "portable" or way.dims:
        yield Way(way.pipeline)
        yield Way(way.pipeline, dims=way.dims)
        yield Way(way.pipeline, way.target)
    yield from (Way(f"{one},{two}") for one in names for two in names)
    yield Way("O1")
    yield Way("O2")
    inner = way.pipeline.removeprefix("repeat(").removesuffix(")").split(",")
    if len(inner) > 2:
        yield from (Way(",".join(inner[:i] + inner[i + 1 :])) for i in range(len(inner)))
