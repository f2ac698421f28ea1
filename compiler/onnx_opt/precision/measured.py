"""What runs of a model in FP32 show: the ranges of its values, and what it makes of a few samples."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_opt.precision import ranges
from onnx_opt.precision.formats import FORMATS
from onnx_opt.precision.probe import OLDEST_OPSET
from onnx_opt.precision.samples import Meter, Sample, collect, runtime_of
from onnx_opt.precision.static import Constants
from onnx_opt.precision.substitutes import Substitutes, find_substitutes
from onnx_opt.validate.run import CannotLoad, Rejected, Unreadable, Value

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node
    from onnx_opt.passes import PassContext

FEWEST_RUNS, MOST_RUNS = 10, 16
FEWEST_LEFT = 3
"""Runs without which there is no use in choosing anew: the ranges and losses of another sample, and a trial."""
FEW_NODES, MANY_NODES = 500, 5000


@dataclass
class Measured:
    """The ranges of the values of a model, what it makes of a few samples in FP32, and the meter of the runs.

    Values keep their names through rewrites, so that the ranges hold for a graph that was rewritten since; what is new
    in it has none."""

    ranges: ranges.Ranges
    samples: list[Sample]
    meter: Meter
    problem: str = ""
    """Why nothing was measured."""
    learned: int = 0
    """How many of the samples, the first ones, are counterexamples."""
    kept: int = 0
    """How many nodes stayed in FP32 for their ranges and losses when last was chosen."""

    def learn(self, graph: Graph, context: PassContext, feeds: Sequence[Mapping[str, Value]]) -> bool:
        """Measure the graph on inputs, too, that an earlier choice was wrong on; whether runs were left for that."""
        from onnx_opt.proof import source_of

        for feed in feeds[self.learned :]:
            if self.problem or self.meter.left < FEWEST_LEFT:
                return False
            with tempfile.TemporaryDirectory(prefix="onnx-opt-", ignore_cleanup_errors=True) as scratch:
                source, names = ranges.instrumented(graph, source_of(graph, Path(scratch)))
                try:
                    with self.meter.session(source, "ranges") as session:
                        outputs = session.run(feed)
                except (CannotLoad, Rejected, Unreadable):
                    return False
            self.ranges.add(names, outputs.pop())
            self.samples.insert(self.learned, Sample(dict(feed), outputs))
            self.learned += 1
        return True

    def reasons(self, graph: Graph, context: PassContext, elem_type: int) -> dict[Node, str]:
        """The nodes that these ranges keep in FP32, and why; masks are no reason."""
        found = self.ranges.without(self.substitutes(graph, elem_type).masked)
        return dict(ranges.overflowing(graph, found, FORMATS[elem_type], context.target.half_sums))

    def substitutes(self, graph: Graph, elem_type: int) -> Substitutes:
        """The masks and epsilons for which these ranges allow half numbers."""
        return find_substitutes(list(graph.model.graph.nested()), Constants(elem_type), self.ranges.largest)

    def broken(self, graph: Graph, context: PassContext, elem_type: int) -> tuple[set[Node], set[Node]]:
        """The nodes of the main graph whose operands half precision holds and whose results it does not; and those of
        which it holds both, but not the sum inside."""
        form, found = FORMATS[elem_type], self.ranges
        sound = [node for node in graph if not found.of_values(node.inputs, form)]
        results = {node for node in sound if found.of_values(node.outputs, form)}
        sums = {node for node in sound if found.of_sum(node, form, context.target.half_sums)}
        return results, sums - results


def measure(graph: Graph, context: PassContext) -> Measured:
    """Run the model once per sample and measure the range of every value. The graph is not changed.

    Raises UsageError for data that cannot be used."""
    from onnx_opt.proof import source_of

    count = sum(len(scope) for scope in graph.model.all_graphs())
    measured = Measured(ranges.Ranges(), [], Meter(runtime_of(context.evidence), run_limit(count)))
    if graph.opsets.get("", OLDEST_OPSET) < OLDEST_OPSET:
        measured.problem = f"operator sets before {OLDEST_OPSET} are not measured"
        return measured
    with tempfile.TemporaryDirectory(prefix="onnx-opt-", ignore_cleanup_errors=True) as scratch:
        source, names = ranges.instrumented(graph, source_of(graph, Path(scratch)))
        try:
            measured.samples = collect(source, context.evidence, measured.meter, "ranges")
        except (CannotLoad, Rejected, Unreadable, TypeError) as reason:
            measured.problem = str(reason)
    for sample in measured.samples:
        measured.ranges.add(names, sample.outputs.pop())
    return measured


def run_limit(nodes: int) -> int:
    """The most runs for a model of that many nodes."""
    share = math.log(max(nodes, FEW_NODES) / FEW_NODES) / math.log(MANY_NODES / FEW_NODES)
    return FEWEST_RUNS + math.floor((MOST_RUNS - FEWEST_RUNS) * min(share, 1.0))
