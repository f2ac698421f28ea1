"""Trying a set of FP32 nodes: the model lowered without them, run in true half precision, held against FP32."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from onnx_opt.precision.evaluate import true_half
from onnx_opt.precision.formats import Format
from onnx_opt.precision.metrics import Metric
from onnx_opt.precision.samples import Meter, Sample
from onnx_opt.validate import Source
from onnx_opt.validate.lowered import fitted, restored
from onnx_opt.validate.run import CannotLoad, Rejected, Session, Unreadable, Value

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node
    from onnx_opt.passes import PassContext


class Lower(Protocol):
    """What `onnx_opt.precision.lower` does."""

    def __call__(
        self,
        graph: Graph,
        context: PassContext,
        elem_type: int,
        *,
        keep: Mapping[Node, str],
        keep_io: bool,
        magnitudes: Mapping[str, float],
    ) -> Any: ...


@dataclass(frozen=True)
class Outcome:
    """What came of one set: how many nodes were to stay FP32, and the error, infinite where the model did not run for
    the reason `problem`."""

    kept: int
    error: float
    problem: str = ""


@dataclass
class Bench:
    """Tries sets of FP32 nodes of one model. `source` is the model in FP32, `scratch` a folder for large ones."""

    source: Source
    form: Format
    metric: Metric
    samples: list[Sample]
    meter: Meter
    lower: Lower
    context: PassContext
    scratch: Path
    keep_io: bool = True
    magnitudes: Mapping[str, float] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    def passes(self, keep: Mapping[int, str]) -> bool:
        """Whether the model with those nodes in FP32 (by their number in the order of all graphs) is good on every
        sample. Stops at the first bad one, which the next set meets first."""
        error, problem = 0.0, ""
        try:
            with self.meter.session(self._in_half(keep), "checks") as session:
                for index, sample in enumerate(self.samples):
                    error = max(error, self._error(sample, self._outputs(session, sample)))
                    if not self.metric.accepts(error):
                        self.samples.insert(0, self.samples.pop(index))
                        break
        except (CannotLoad, Rejected, Unreadable) as reason:
            error, problem = math.inf, str(reason)
        self.outcomes.append(Outcome(len(keep), error, problem))
        return self.metric.accepts(error)

    def _outputs(self, session: Session, sample: Sample) -> list[Value]:
        outputs = session.run(fitted(sample.feed, session.signature, self.form.dtype))
        return restored(outputs, sample.outputs, self.form.dtype)

    def _error(self, sample: Sample, outputs: Sequence[Value]) -> float:
        return self.metric.error(sample.outputs, outputs)

    def _in_half(self, keep: Mapping[int, str]) -> Source:
        """The lowered model, as an FP32 model that rounds. Works on a copy of the model."""
        from onnx_opt.passes import PassContext
        from onnx_opt.proof import source_of

        graph = load_source(self.source)
        nodes = (node for scope in graph.model.all_graphs() for node in scope)
        chosen = {node: keep[number] for number, node in enumerate(nodes) if number in keep}
        apart = PassContext(self.context.target, jobs=self.context.jobs)
        self.lower(graph, apart, self.form.elem_type, keep=chosen, keep_io=self.keep_io, magnitudes=self.magnitudes)
        return true_half(source_of(graph, self.scratch / "lowered"), self.context.target.half_sums)


def load_source(source: Source) -> Graph:
    """A source as a graph."""
    from onnx_opt.ir import load
    from onnx_opt.ir.load import load_bytes

    if source.path is not None:
        return load(source.path)
    folder = source.external_folder
    return load_bytes(source.data or b"", folder / "model.onnx" if folder is not None else None)
