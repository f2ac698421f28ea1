"""Instruments watch a pipeline run: they time it, print what it makes of the graph, and tell how far it is.

They see every run of every pass and change nothing; passes know nothing of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from onnx_opt.errors import UsageError
from onnx_opt.passes import Pass, PassContext, nearest

if TYPE_CHECKING:
    from onnx_opt.ir import Graph
    from onnx_opt.pipeline import Pipeline

__all__ = ["Announce", "Instrument", "Log", "PassRun", "PrintAfter", "PrintAfterChange", "Timing"]

Write = Callable[[str], object]

_log = logging.getLogger(__name__)
# Silent unless the program that uses this says otherwise.
logging.getLogger("onnx_opt").addHandler(logging.NullHandler())


class Instrument:
    """Called around every run of a pass."""

    def before(self, pass_: Pass, graph: Graph, context: PassContext) -> None:
        """A pass is about to run."""

    def after(
        self, pass_: Pass, graph: Graph, context: PassContext, seconds: float, rewrites: int, changed: bool
    ) -> None:
        """A pass ran for `seconds` and made `rewrites`; `changed` where it edited the graph at all."""


@dataclass(frozen=True)
class PassRun:
    """One run of a pass."""

    name: str
    seconds: float
    rewrites: int
    nodes: int


@dataclass
class Timing(Instrument):
    """Records the time and the rewrites of each run."""

    runs: list[PassRun] = field(default_factory=list)

    def after(
        self, pass_: Pass, graph: Graph, context: PassContext, seconds: float, rewrites: int, changed: bool
    ) -> None:
        self.runs.append(PassRun(pass_.name, seconds, rewrites, len(graph)))

    def totals(self) -> list[PassRun]:
        """The runs of each pass together, in the order in which passes first ran; `nodes` is what the last run left."""
        totals: dict[str, PassRun] = {}
        for run in self.runs:
            old = totals.get(run.name, PassRun(run.name, 0.0, 0, 0))
            totals[run.name] = PassRun(run.name, old.seconds + run.seconds, old.rewrites + run.rewrites, run.nodes)
        return list(totals.values())


@dataclass
class PrintAfter(Instrument):
    """Writes the graph as text after each run of the named passes."""

    names: Collection[str]
    write: Write

    def after(
        self, pass_: Pass, graph: Graph, context: PassContext, seconds: float, rewrites: int, changed: bool
    ) -> None:
        if pass_.name in self.names:
            self.write(f"# after {pass_.name}\n{_text(graph)}\n")


@dataclass
class PrintAfterChange(Instrument):
    """Writes the graph as text after each run of a pass that left it different."""

    write: Write
    _last: str | None = None

    def before(self, pass_: Pass, graph: Graph, context: PassContext) -> None:
        if self._last is None:
            self._last = _text(graph)

    def after(
        self, pass_: Pass, graph: Graph, context: PassContext, seconds: float, rewrites: int, changed: bool
    ) -> None:
        if not changed:
            return
        text = _text(graph)
        if text != self._last:
            self.write(f"# after {pass_.name}\n{text}\n")
        self._last = text


@dataclass
class Announce(Instrument):
    """Tells which pass runs, and lets long passes tell how far they are."""

    tell: Callable[[str, int, int], object]
    """Called with the pass name, the units done, and their total (0: not known)."""

    def before(self, pass_: Pass, graph: Graph, context: PassContext) -> None:
        self.tell(pass_.name, 0, 0)
        context.report_progress = partial(self.tell, pass_.name)


class Log(Instrument):
    """Writes a line on each run to the logger of this module: at level INFO where it changed something, else DEBUG."""

    def after(
        self, pass_: Pass, graph: Graph, context: PassContext, seconds: float, rewrites: int, changed: bool
    ) -> None:
        level = logging.INFO if changed else logging.DEBUG
        _log.log(level, "%s: %d rewrites in %.3f s, %d nodes", pass_.name, rewrites, seconds, len(graph))


def check_pass_names(names: Collection[str], pipeline: Pipeline) -> None:
    """Raise UsageError for a name that is no pass of this pipeline."""
    known = list(dict.fromkeys(p.name for p in pipeline.passes()))
    for name in names:
        if name not in known:
            remedy = nearest(name, known, f"it runs {', '.join(known) or 'nothing'}")
            raise UsageError(f"the pipeline has no pass '{name}'", remedy=remedy)


def _text(graph: Graph) -> str:
    from onnx_opt.text import format_graph

    return format_graph(graph)
