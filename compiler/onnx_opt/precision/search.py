"""Choosing which nodes stay in FP32, by measurement.

(a) One run per sample measures the range of every value: what half precision cannot hold stays. (b) One run measures
what each remaining node loses by itself: what turns into Inf or NaN stays, the others are ranked. (c) The lowered model
is run in true half precision. Where it is not good enough, sets of the worst nodes are tried: growing ones until one
is good, then smaller ones between it and the last bad one, as long as runs are left. Nothing is taken for granted
about a set that was not tried: the smallest set that was good is the answer. Where none was, the whole model stays in
FP32 and the answer says so.

The number of runs is bounded: 10 in all up to 500 nodes, 16 from 5,000 on.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_opt.precision import sensitivity
from onnx_opt.precision.formats import FORMATS, Format
from onnx_opt.precision.measured import Measured, measure
from onnx_opt.precision.metrics import Metric, find_metric, tolerance_of
from onnx_opt.precision.prefixes import shortest_good
from onnx_opt.precision.samples import Sample
from onnx_opt.precision.trial import Bench, Lower, Outcome
from onnx_opt.validate.figures import finite
from onnx_opt.validate.run import CannotLoad, Rejected, Unreadable

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node
    from onnx_opt.passes import PassContext
    from onnx_opt.validate import Source

MARGIN, SAFE_MARGIN = 0.8, 0.5
"""The share of the tolerance that is aimed at, since the proof meets other samples than these few: by the model without
any node in FP32 that could be lowered, where most runs are left for choosing anew; by all other sets."""
MATRIX = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""What pays most in half precision: the last set that is tried keeps all else."""


@dataclass
class Findings:
    """What was measured: for the report."""

    format: str
    metric: str
    tolerance: float
    nodes: int
    limit: int
    executions: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    by_range: int = 0
    by_loss: int = 0
    by_search: int = 0
    trials: list[Outcome] = field(default_factory=list)
    error: float | None = None
    """The error of the chosen set in true half precision."""
    refused: str = ""
    """Why the whole model stays in FP32."""
    unmeasured: str = ""
    """Why nothing could be measured."""
    layers: list[dict[str, Any]] = field(default_factory=list)
    """Each node that was measured by itself: its name, operator, loss, and why it stays in FP32 ("": it does not)."""

    @property
    def total(self) -> int:
        """Runs of the model, in all."""
        return sum(self.executions.values())

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        plain = asdict(self) | {"total_executions": self.total, "error": finite(self.error)}
        plain["trials"] = [asdict(trial) | {"error": finite(trial.error)} for trial in self.trials]
        return plain

    def summary(self) -> str:
        """One line."""
        if self.unmeasured:
            return f"{self.format}: nothing was measured: {self.unmeasured}"
        runs = f"{self.total} runs of the model"
        if self.refused:
            return f"{self.format}: the model stays in FP32: {self.refused} ({runs})"
        kept = self.by_range + self.by_loss + self.by_search
        return f"{self.format}: {kept} of {self.nodes} nodes kept in FP32, {self.metric} {self.error:.2g} in {runs}"


class Choice(dict["Node", str]):
    """The nodes that must stay in FP32, each with the reason, and the `findings` behind them."""

    def __init__(self, keep: Mapping[Node, str], findings: Findings) -> None:
        super().__init__(keep)
        self.findings = findings


def choose(
    graph: Graph,
    context: PassContext,
    elem_type: int,
    *,
    lower: Lower,
    fixed: Mapping[Node, str] | None = None,
    static: Mapping[Node, str] | None = None,
    keep_io: bool = True,
    metric: str = "max-rel",
    tolerance: float | None = None,
    measured: Measured | None = None,
) -> Choice:
    """The nodes that must stay in FP32 for the model to be good enough in half precision.

    `lower` is the lowering that will be applied; `fixed` are nodes that stay in any case (they are part of the answer),
    `static` those that `lower` keeps by itself (they are not). The data come from `context.evidence`; `metric` and
    `tolerance` (see `onnx_opt.precision.metrics`) decide what is good, the tolerance of the evidence where none is
    given; `measured` is what `measure` gave for the graph, or for an earlier form of it. The graph is not changed.
    Raises UsageError for data or a metric that cannot be used.
    """
    form = FORMATS[elem_type]
    if tolerance is None and context.evidence is not None:
        tolerance = tolerance_of(context.evidence.tolerance)
    found = find_metric(metric, tolerance, form)
    measured = measured or measure(graph, context)
    with tempfile.TemporaryDirectory(prefix="onnx-opt-", ignore_cleanup_errors=True) as scratch:
        search = _Search(graph, context, form, found, lower, keep_io, Path(scratch), dict(static or {}), measured)
        return search.run(dict(fixed or {}))


class _Search:
    def __init__(
        self,
        graph: Graph,
        context: PassContext,
        form: Format,
        metric: Metric,
        lower: Lower,
        keep_io: bool,
        scratch: Path,
        static: dict[Node, str],
        measured: Measured,
    ) -> None:
        from onnx_opt.proof import source_of

        self.graph, self.context, self.form, self.metric, self.static = graph, context, form, metric, static
        self.lower, self.keep_io, self.scratch = lower, keep_io, scratch
        self.source: Source = source_of(graph, scratch / "original")
        self.numbers = {node: n for n, node in enumerate(n for g in graph.model.all_graphs() for n in g)}
        count = len(self.numbers)
        self.measured, self.meter = measured, measured.meter
        self.findings = Findings(form.name, metric.name, metric.tolerance, count, self.meter.limit)
        self.findings.executions = self.meter.executions
        self.tried: list[dict[Node, str]] = []
        self.losses: Mapping[Node, float] = {}

    def run(self, keep: dict[Node, str]) -> Choice:
        if self.measured.problem:
            self.findings.unmeasured = self.measured.problem
            return Choice(keep, self.findings)
        # What was wrong decides alone: runs are few, and the proof holds the answer against the other samples.
        samples = self.measured.samples[: self.measured.learned] or self.measured.samples
        self.findings.samples = len(samples)
        reasons = self.measured.reasons(self.graph, self.context, self.form.elem_type)
        self.findings.by_range = self._add(keep, reasons)
        try:
            ranked = self._ranked(keep, samples[-1])
        except (CannotLoad, Rejected, Unreadable) as reason:
            self.findings.unmeasured = str(reason)
            return Choice(keep, self.findings)
        bench = Bench(
            self.source,
            self.form,
            self._within(MARGIN),
            list(samples),
            self.meter,
            self.lower,
            self.context,
            self.scratch,
            self.keep_io,
            self.measured.ranges.largest,
        )
        self.findings.trials = bench.outcomes
        kept = self.findings.by_range + self.findings.by_loss
        is_refuted = self.measured.learned > 0 and kept == self.measured.kept
        self.measured.kept = kept
        self.findings.layers = self._layers(keep)
        chosen = self._search(bench, keep, ranked, is_refuted)
        if chosen is None:
            chosen = self._within_tolerance(bench.outcomes)
        if chosen is None:
            return self._refuse(bench.outcomes)
        self.findings.by_search = len(chosen) - len(keep)
        self.findings.error = max((o.error for o in bench.outcomes if o.kept == len(chosen)), default=None)
        self.findings.layers = self._layers(chosen)
        return Choice(chosen, self.findings)

    def _refuse(self, outcomes: Sequence[Outcome]) -> Choice:
        best = min(outcomes, key=lambda outcome: outcome.error, default=Outcome(0, math.inf, "no runs were left"))
        why = (
            best.problem or f"{self.metric.name} {best.error:.2g} with {best.kept} of {len(self.numbers)} nodes in FP32"
        )
        reason = f"no set of nodes that was tried stays within {self.metric.tolerance:g} (the best: {why})"
        self.findings.refused = reason
        return Choice(dict.fromkeys(self.numbers, reason), self.findings)

    # -- measuring -----------------------------------------------------------------------------------------------------

    def _ranked(self, keep: dict[Node, str], sample: Sample) -> list[Node]:
        """The nodes that remain, the worst first; those that break by themselves are added to `keep`."""
        if self.graph.opsets.get("", 0) < sensitivity.OLDEST_OPSET:
            return [node for node in self.graph if node not in keep and node not in self.static]
        sums = self.context.target.half_sums
        floors = self.measured.substitutes(self.graph, self.form.elem_type).floors
        source, listed = sensitivity.instrumented(
            self.graph, self.source, self.form, sums, floors, {**keep, **self.static}
        )
        with self.meter.session(source, "sensitivity") as session:
            losses = sensitivity.losses(listed, session.run(sample.feed)[-1])
        broken = f"its result becomes Inf or NaN in {self.form.name}"
        self.losses = losses
        self.findings.by_loss = self._add(keep, {node: broken for node, loss in losses.items() if math.isinf(loss)})
        rest = [node for node in losses if node not in keep and node not in self.static]
        return sorted(rest, key=lambda node: -losses[node])  # stable: equal ones in the order of the graph

    def _layers(self, kept: Mapping[Node, str]) -> list[dict[str, Any]]:
        """What is known of each node that was measured by itself, in the order of the graph."""
        return [
            {"node": node.label(), "op": node.op, "loss": finite(float(f"{loss:.3g}")), "kept": kept.get(node, "")}
            for node, loss in self.losses.items()
        ]

    def _add(self, keep: dict[Node, str], reasons: Mapping[Node, str]) -> int:
        new = {node: reason for node, reason in reasons.items() if node not in keep and node not in self.static}
        for node, reason in new.items():
            keep.update(dict.fromkeys(self._with_bodies(node), reason))
        return len(new)

    def _with_bodies(self, node: Node) -> Iterator[Node]:
        """A node, what is in its subgraphs, and in the local function that it calls."""
        pending = [node]
        seen = set()
        while pending:
            current = pending.pop()
            yield current
            function = self.graph.model.function(current)
            bodies = [body for _, _, body in current.bodies] + ([function] if function is not None else [])
            for body in bodies:
                if body not in seen:
                    seen.add(body)
                    pending.extend(body)

    # -- searching -----------------------------------------------------------------------------------------------------

    def _search(
        self, bench: Bench, keep: dict[Node, str], ranked: Sequence[Node], is_refuted: bool
    ) -> dict[Node, str] | None:
        """The smallest set found that is good; None where none was. `is_refuted`: `keep` by itself is not."""
        if not is_refuted and self._passes(bench, keep):
            return keep
        bench.metric = self._within(SAFE_MARGIN)
        good = shortest_good(
            len(ranked),
            lambda size: self._passes(bench, self._worst(keep, ranked, size)),
            lambda: self._affordable(bench),
        )
        if not good:
            others = [node for node in ranked if node.op not in MATRIX]
            all_but_products = self._worst(keep, others, len(others))
            return all_but_products if self._affordable(bench) and self._passes(bench, all_but_products) else None
        return self._worst(keep, ranked, good)

    def _within(self, margin: float) -> Metric:
        return replace(self.metric, tolerance=margin * self.metric.tolerance)

    def _affordable(self, bench: Bench) -> bool:
        return self.meter.left >= len(bench.samples)

    def _worst(self, keep: Mapping[Node, str], ranked: Sequence[Node], count: int) -> dict[Node, str]:
        """`keep`, the `count` worst nodes, and what computes their operands: a node that loses much, as a difference of
        nearly equal numbers does, loses it because its operands were rounded."""
        found = dict(keep)
        for place, node in enumerate(ranked[:count], 1):
            reason = f"it is number {place} of those that lose most, and without them the error is too large"
            found.update(dict.fromkeys(self._with_bodies(node), reason))
            reason = f"it computes an operand of '{node.label()}', which loses too much of what was rounded"
            for source in (value.producer for value in node.inputs):
                if source is not None and source.graph is self.graph and source not in self.static:
                    for inner in self._with_bodies(source):
                        found.setdefault(inner, reason)
        return found

    def _within_tolerance(self, outcomes: Sequence[Outcome]) -> dict[Node, str] | None:
        """The best set of those that were tried and are good, though with less to spare than was hoped for."""
        good = [(o.error, n) for n, o in enumerate(outcomes) if self.metric.accepts(o.error)]
        return self.tried[min(good)[1]] if good else None

    def _passes(self, bench: Bench, keep: dict[Node, str]) -> bool:
        self.tried.append(keep)
        return bench.passes({self.numbers[node]: reason for node, reason in keep.items()})
