"""The range of every floating-point value in FP32: what half precision could not hold.

One run per sample measures all of them, and holds no more of them at a time than the model itself does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from onnx_opt import traits
from onnx_opt.precision import bodies
from onnx_opt.precision.constraints import CARRIES, MASK
from onnx_opt.precision.formats import HEADROOM, Format
from onnx_opt.precision.probe import Probe, may_be_empty
from onnx_opt.validate.source import Source

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value

SUMS = frozenset({"Add", "Sub", "Sum"})


@dataclass
class Ranges:
    """The largest magnitude of each measured value, over all samples so far. A value that was not measured, or was NaN,
    is not in it; values of two branches that bear one name are taken together."""

    largest: dict[str, float] = field(default_factory=dict)

    def add(self, names: list[str], vector: np.ndarray) -> None:
        """Take in what a run of the model that `instrumented` made gave: a maximum and a minimum for each name."""
        for name, (high, low) in zip(names, vector.reshape(-1, 2).tolist(), strict=True):
            # An infinity is the same in half precision; what it hides the check of the whole graph finds.
            finite = [abs(bound) for bound in (high, low) if np.isfinite(bound)]
            if finite:
                self.largest[name] = max(self.largest.get(name, 0.0), *finite)

    def without(self, names: Collection[str]) -> Ranges:
        """The ranges of all but some values."""
        return Ranges({name: largest for name, largest in self.largest.items() if name not in names})

    def of_values(self, values: Iterable[Value], form: Format) -> str:
        """What is wrong with the first of some values that half precision cannot hold; '' where it holds all."""
        for value in values:
            found = problem(self.largest.get(value.name), form, HEADROOM)
            if found and not vanishes(value, self.largest, form):
                return f"'{value.name}' {found}"
        return ""

    def of_sum(self, node: Node, form: Format, sums: frozenset[str]) -> str:
        """What is wrong with the sum inside of a node, where `sums` names it as one that half precision must hold."""
        if node.op not in sums or node.domain:
            return ""
        total = _times(self.largest.get(node.outputs[0].name), _summed(node))
        return problem(total, form, HEADROOM, only_large=True)

    def reason(self, node: Node, form: Format, sums: frozenset[str]) -> str:
        """Why the ranges of its operands and results forbid half precision for a node; or ''.

        `sums` are the operators of which the sum, too, must be a half number.
        """
        if found := self.of_values(node.inputs, form):
            return f"operand {found}"
        if found := self.of_values(node.outputs, form):
            return f"result {found}"
        found = self.of_sum(node, form, sums)
        return f"the sum inside of it {found}" if found else ""


def vanishes(value: Value, magnitudes: Mapping[str, float], form: Format) -> bool:
    """Whether a value is so small that half precision keeps nothing of it, and would drop it from the sums that it goes
    into anyway: it is beyond the last place of them."""
    pending, seen = [value], {value}
    while pending:
        current = pending.pop()
        magnitude = magnitudes.get(current.name)
        if magnitude is None or magnitude >= form.smallest or any(user.is_graph for user, _ in current.uses):
            return False
        for user in current.users:
            result = user.outputs[0]
            is_sum = not user.domain and user.op in SUMS
            if is_sum and magnitude <= form.error * magnitudes.get(result.name, 0.0):
                continue
            if not is_sum and traits.ask(user.domain, user.op, MASK) != CARRIES:
                return False
            pending += [each for each in user.outputs if each.name and each not in seen]
            seen.update(user.outputs)
    return True


def problem(magnitude: float | None, form: Format, headroom: float = 1.0, only_large: bool = False) -> str:
    """What is wrong with a value of that largest magnitude in half precision; '' where nothing is or none is known."""
    if magnitude is None or magnitude == 0.0:
        return ""
    if magnitude * headroom > form.largest:
        kind = "overflows" if magnitude > form.largest else "comes too close to the largest number of"
        return f"reaches {magnitude:.3g}, which {kind} {form.name} ({form.largest:.5g})"
    if magnitude < form.smallest and not only_large:
        return f"stays below {magnitude:.2g}, of which {form.name} keeps next to nothing"
    return ""


def _summed(node: Node) -> float | None:
    """How many elements a mean adds up for each of its results; None where that is not known."""
    if node.op not in ("ReduceMean", "GlobalAveragePool"):
        return None
    counts = [_elements(value) for value in (node.inputs[0], node.outputs[0])]
    return counts[0] / counts[1] if counts[0] and counts[1] else None


def _elements(value: Value) -> int | None:
    dims = value.dims
    if dims is None or not all(isinstance(dim, int) for dim in dims):
        return None
    return int(np.prod(dims, dtype=np.int64))


def _times(magnitude: float | None, count: float | None) -> float | None:
    return None if magnitude is None or count is None else magnitude * count


def is_measured(value: Value) -> bool:
    """Whether a value is a tensor of FP32 numbers that are only known when the model runs."""
    return bool(value.name) and value.elem_type == TensorProto.FLOAT and value.constant is None


def instrumented(graph: Graph, source: Source, only: Collection[Value] | None = None) -> tuple[Source, list[str]]:
    """The model with one more output, the last: maximum and minimum of each of the named values in turn.

    `source` is `graph` as a model; the names are those of inputs and results of the main graph and of the subgraphs of
    If, Loop and Scan, of those in `only` where that is given. Of a subgraph it is the largest magnitude over all
    iterations.
    """
    probe = Probe(source)
    names = _instrument(probe, graph, lambda value: is_measured(value) and (only is None or value in only))
    return probe.finished(), names


def _instrument(probe: Probe, graph: Graph, is_wanted: Callable[[Value], bool]) -> list[str]:
    """Measure in one graph and in those inside of it; the names of what is measured, in order."""
    names: list[str] = []
    for value in filter(is_wanted, graph.inputs):
        _measure(probe, value.name, value)
        names.append(value.name)
    for known, node in zip(graph, probe.originals, strict=True):
        wanted = {index: value for index, value in enumerate(known.outputs) if is_wanted(value)}
        renamed = {index: probe.renamed_result(node, index, value) for index, value in wanted.items()}
        names += bodies.instrument(probe, known, node, partial(_instrument, is_wanted=is_wanted))
        for index, value in wanted.items():
            probe.hand_over(renamed[index], value, _measure(probe, renamed[index], value))
            names.append(value.name)
    return names


def _measure(probe: Probe, name: str, value: Value) -> list[str]:
    scalars = [probe.reduced(op, name, may_be_empty(value.dims)) for op in ("ReduceMax", "ReduceMin")]
    for scalar in scalars:
        probe.keep(scalar)
    return scalars


def overflowing(graph: Graph, ranges: Ranges, form: Format, sums: frozenset[str]) -> Mapping[Node, str]:
    """The nodes of a graph and its subgraphs that the measured ranges keep in FP32, and why."""
    found = ((node, ranges.reason(node, form, sums)) for scope in graph.nested() for node in scope)
    return {node: reason for node, reason in found if reason}
