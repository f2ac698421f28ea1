"""Choosing which nodes stay in higher precision, by measurement.

(a) Runs on calibration data measure the ranges of activations. (b) One run measures what each node loses by itself.
(c) The quantized model runs on held-out data. Where it is not good enough, sets of the worst nodes are kept in higher
precision, as for half precision (`onnx_opt.precision.search`): of those that lose most, and of those that lose most for
each byte of their weights. The good set with the fewest bytes is the answer, and where none was good, the whole model
stays as it is and the answer says so.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_opt.passes import COUNTEREXAMPLES
from onnx_opt.precision import search as precision
from onnx_opt.precision.formats import Format
from onnx_opt.precision.measured import run_limit
from onnx_opt.precision.metrics import Metric
from onnx_opt.precision.prefixes import shortest_good
from onnx_opt.precision.samples import Meter, Sample, runtime_of
from onnx_opt.precision.trial import Bench, Lower
from onnx_opt.proof import Evidence, source_of
from onnx_opt.quantization import sensitivity
from onnx_opt.quantization.apply import quantize, scales_of
from onnx_opt.quantization.calibrate import Method, Ranges, calibrate
from onnx_opt.quantization.data import Split, split
from onnx_opt.quantization.forms import Form
from onnx_opt.quantization.placement import place
from onnx_opt.quantization.roles import Layer, Sum, role_of
from onnx_opt.validate.run import CannotLoad, Rejected, Unreadable

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value
    from onnx_opt.passes import PassContext

MARGIN = 0.75
"""The share of the tolerance that is aimed at where the held-out samples are those of the proof, or some of them."""
REASON = "it loses {:.2g} by itself, and with it the error is too large"
JUDGED = 4
"""Samples, of the held-out ones, that every trial runs on, and that figures are given for. The proof takes all."""


@dataclass
class Findings(precision.Findings):
    """What was measured: for the report. `error` is on held-out data, `samples` are those calibrated on."""

    method: str = ""
    random_data: bool = False
    held_out: int = 0
    calibration_error: float | None = None
    """The error on data that scales were made from."""
    losses: dict[str, float] = field(default_factory=dict)
    """What each node loses by itself, by its name."""

    def summary(self) -> str:
        """One line."""
        if self.unmeasured:
            return f"{self.format}: the model stays as it is: {self.unmeasured}"
        if self.refused:
            return f"{self.format}: the model stays as it is: {self.refused} ({self.total} runs of the model)"
        return (
            f"{self.format}: {self.by_search} of {self.nodes} nodes kept in higher precision, "
            f"{self.metric} {self.error or 0:.2g} on held-out data in {self.total} runs"
        )


@dataclass
class Choice:
    """The ranges that scales come from, the nodes that stay in higher precision (by their number in the main graph),
    each with the reason, and the findings behind them."""

    ranges: Ranges
    keep: dict[int, str]
    findings: Findings


@dataclass(frozen=True)
class Request:
    """What the user wishes: `data` (None: those for validation, else random ones), the most samples of them."""

    form: Form
    metric: Metric
    data: Any = None
    most: int = 128
    method: Method = "min-max"
    percent: float = 99.99
    search: bool = True


def choose(graph: Graph, context: PassContext, request: Request, fixed: Mapping[Node, str]) -> Choice:
    """Calibrate, and find out which nodes beside those `fixed` must stay in higher precision. The graph is not changed.

    Raises UsageError for data that do not fit the model.
    """
    with tempfile.TemporaryDirectory(prefix="onnx-opt-", ignore_cleanup_errors=True) as scratch:
        search = _Search(graph, context, request, dict(fixed), Path(scratch))
        try:
            return search.run()
        except (CannotLoad, Rejected, Unreadable, TypeError) as problem:
            search.findings.unmeasured = str(problem)
            return Choice(search.ranges, search.keep_all(str(problem)), search.findings)


class _Search:
    def __init__(
        self, graph: Graph, context: PassContext, request: Request, keep: dict[Node, str], scratch: Path
    ) -> None:
        self.graph, self.context, self.request, self.keep, self.scratch = graph, context, request, keep, scratch
        self.source = source_of(graph, scratch / "original")
        self.numbers = {node: number for number, node in enumerate(graph)}
        self.ranges = Ranges()
        form, metric = request.form, request.metric
        self.meter = Meter(runtime_of(context.evidence), 0)
        self.findings = Findings(form.name, metric.name, metric.tolerance, 0, 0, method=request.method)
        self.findings.executions = self.meter.executions
        self.tried: list[dict[Node, str]] = []
        self.layers: dict[Node, Layer] = {}
        self.losses: dict[Node, float] = {}

    def keep_all(self, reason: str) -> dict[int, str]:
        """Nothing is quantized."""
        layers = (number for node, number in self.numbers.items() if isinstance(role_of(node), Layer))
        return dict.fromkeys(layers, reason)

    def run(self) -> Choice:
        form, request = self.request.form, self.request
        placement = place(self.graph, form, lambda value: "", self.keep)
        if not placement.layers:
            return self._chosen(self.keep)
        with self.meter.session(self.source, "figures") as session:
            evidence = self.context.evidence or Evidence()
            data = split(self.source, session.signature, evidence, request.data, request.most)
            count = JUDGED if request.search else 0
            judged_on = (*self.context.memory.get(COUNTEREXAMPLES, ()), *islice(data.held_out, count))
            judged = [Sample(feed, session.run(feed)) for feed in judged_on]
            fitted = [Sample(feed, session.run(feed)) for feed in islice(data.calibration, len(judged))]
        self.findings.held_out, self.findings.random_data = len(judged), data.is_random
        if placement.values:
            self._calibrate(data, list(dict.fromkeys((*placement.values, *_summands(self.graph)))))
        placement = place(self.graph, form, self.ranges.unfit, self.keep)
        self.findings.nodes, self.layers = len(placement.nodes), placement.layers
        trials = run_limit(len(self.graph)) * len(judged)
        self.meter.limit = sum(self.meter.executions.values()) + trials
        self.findings.limit = self.meter.limit + len(judged) + len(fitted)  # for the figures at the end
        if not request.search or not placement.layers:
            return self._chosen(self.keep)
        ranked = self._ranked(judged[0])
        metric = request.metric
        margin = precision.SAFE_MARGIN if data.is_random else MARGIN
        bench = self._bench(judged, margin * metric.tolerance)
        keep = self._searched(bench, ranked)
        self.findings.trials = bench.outcomes
        if keep is None:
            return self._refused(bench)
        found = self._chosen(keep)
        self.findings.by_search = len(keep) - len(self.keep)
        self.findings.error = bench.outcomes[self.tried.index(keep)].error
        self.findings.calibration_error = self._error_on(fitted, keep)
        return found

    def _calibrate(self, data: Split, values: list[Value]) -> None:
        request = self.request
        self.ranges = calibrate(
            self.graph, self.source, values, data.calibration, self.meter, request.method, request.percent
        )
        self.findings.samples = self.meter.executions.get("calibration", 0)

    # -- trials --------------------------------------------------------------------------------------------------------

    def _ranked(self, sample: Sample) -> list[Node]:
        """The nodes that take part, the worst first."""
        placement = place(self.graph, self.request.form, self.ranges.unfit, self.keep)
        scales = scales_of(placement, self.ranges, self.request.form)
        source, listed = sensitivity.instrumented(self.graph, self.source, self.request.form, placement, scales)
        with self.meter.session(source, "sensitivity") as session:
            vector = session.run(sample.feed)[-1]
        found = zip(listed, vector.tolist(), strict=True)
        self.losses = {node: math.inf if math.isnan(loss) else loss for node, loss in found}
        self.findings.losses = {node.label(): loss for node, loss in self.losses.items()}
        return sorted(self.losses, key=lambda node: -self.losses[node])

    def _bench(self, samples: list[Sample], tolerance: float) -> Bench:
        form, metric = self.request.form, replace(self.request.metric, tolerance=tolerance)
        plain = Format(form.name, "", 0, math.inf, 0.0, 0.0, 0.0, form.tolerance)
        return Bench(self.source, plain, metric, list(samples), self.meter, self._lower(), self.context, self.scratch)

    def _lower(self) -> Lower:
        form, ranges = self.request.form, self.ranges

        def lower(
            graph: Graph,
            context: PassContext,
            elem_type: int,
            *,
            keep: Mapping[Node, str],
            keep_io: bool,
            magnitudes: Mapping[str, float],
        ) -> Any:
            return quantize(graph, context, form, ranges, keep)

        return lower

    def _searched(self, bench: Bench, ranked: Sequence[Node]) -> dict[Node, str] | None:
        """The smallest set found that is good, else the best that is within the tolerance at all."""
        if self._is_good(bench, ranked, 0):
            return self.tried[-1]
        found = []
        for order in (ranked, sorted(ranked, key=self._loss_per_byte, reverse=True)):
            size = shortest_good(
                len(order),
                partial(self._is_good, bench, order),
                lambda: self.meter.left >= len(bench.samples),
            )
            if size is not None:
                found.append(self._worst(order, size))
        if found:
            return min(found, key=self._bytes_of)
        return self._within_tolerance(bench)

    def _is_good(self, bench: Bench, ranked: Sequence[Node], size: int) -> bool:
        """Whether the model is good enough with the `size` first of these nodes in higher precision."""
        keep = self._worst(ranked, size)
        if self.layers.keys() <= keep.keys():
            return False
        if keep in self.tried:
            return bench.metric.accepts(bench.outcomes[self.tried.index(keep)].error)
        self.tried.append(keep)
        return bench.passes(self._numbered(keep))

    def _worst(self, ranked: Sequence[Node], size: int) -> dict[Node, str]:
        return {**self.keep, **{node: REASON.format(self.losses[node]) for node in ranked[:size]}}

    def _loss_per_byte(self, node: Node) -> float:
        """What keeping a node is worth: those without weights cost nothing."""
        return self.losses[node] / max(self._bytes_of([node]), 1)

    def _bytes_of(self, nodes: Iterable[Node]) -> int:
        """Bytes of the weights of some nodes."""
        weights = {node.inputs[self.layers[node].weight] for node in nodes if node in self.layers}
        return sum(4 * math.prod(weight.dims or ()) for weight in weights)

    def _within_tolerance(self, bench: Bench) -> dict[Node, str] | None:
        """The best set of those that were tried, where it is good though with less to spare than was hoped for. A trial
        ends at its first bad sample, so that all of them are still to be seen."""
        error, place = min((outcome.error, place) for place, outcome in enumerate(bench.outcomes))
        if not self.request.metric.accepts(error):
            return None
        bench.outcomes[place] = replace(bench.outcomes[place], error=self._error_on(bench.samples, self.tried[place]))
        return self.tried[place] if self.request.metric.accepts(bench.outcomes[place].error) else None

    def _error_on(self, samples: list[Sample], keep: Mapping[Node, str]) -> float:
        """The error over all samples."""
        bench = self._bench(samples, math.inf)
        bench.passes(self._numbered(keep))
        return bench.outcomes[-1].error

    def _numbered(self, keep: Mapping[Node, str]) -> dict[int, str]:
        return {self.numbers[node]: reason for node, reason in keep.items()}

    # -- answers -------------------------------------------------------------------------------------------------------

    def _chosen(self, keep: Mapping[Node, str]) -> Choice:
        return Choice(self.ranges, self._numbered(keep), self.findings)

    def _refused(self, bench: Bench) -> Choice:
        best = min(bench.outcomes, key=lambda outcome: outcome.error)
        metric = self.request.metric
        why = best.problem or f"{metric.name} {best.error:.2g} with {best.kept} nodes in higher precision"
        reason = f"no set of nodes that was tried stays within {metric.tolerance:g} on held-out data (the best: {why})"
        self.findings.refused = reason
        return Choice(self.ranges, self.keep_all(reason), self.findings)


def _summands(graph: Graph) -> Iterator[Value]:
    """The operands of sums: which of them is quantized depends on what is kept."""
    for node in graph:
        if isinstance(role_of(node), Sum):
            yield from node.inputs
