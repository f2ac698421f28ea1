"""The ranges that activations have on calibration data.

One instrumented run per sample measures the smallest and the largest element of every value that is to be quantized.
The methods that cut ranges run each sample once more and count (see `thresholds`); values that would take too much
memory at once are counted in several runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from onnx_opt.precision import ranges
from onnx_opt.quantization import thresholds
from onnx_opt.quantization.thresholds import Histogram
from onnx_opt.validate import Source

if TYPE_CHECKING:
    from onnx import ModelProto

    from onnx_opt.ir import Graph, Value
    from onnx_opt.precision.samples import Meter
    from onnx_opt.validate.run import Feed

Method = Literal["min-max", "entropy", "percentile"]
FETCHED = 256 << 20
"""Bytes of activations that one run gives out."""
UNKNOWN_SIZE = 1 << 18
"""Elements that a value of unknown size is taken to have."""


@dataclass
class Ranges:
    """Name of a value -> its smallest and largest element on all samples; `infinite` are those that were not finite."""

    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)
    infinite: set[str] = field(default_factory=set)

    def unfit(self, value: Value) -> str:
        """Why a value has no scale; '' where it has one."""
        if value.name in self.infinite:
            return f"'{value.name}' becomes infinite or NaN"
        return "" if value.name in self.bounds else f"nothing is known of the range of '{value.name}'"

    def add(self, names: Sequence[str], vector: np.ndarray) -> None:
        """Take in a maximum and a minimum for each name."""
        for name, (high, low) in zip(names, vector.reshape(-1, 2).tolist(), strict=True):
            if not (math.isfinite(high) and math.isfinite(low)):
                self.infinite.add(name)
                continue
            known = self.bounds.get(name, (low, high))
            self.bounds[name] = min(known[0], low), max(known[1], high)

    def cut(self, name: str, threshold: float) -> None:
        """Leave out magnitudes beyond the threshold."""
        low, high = self.bounds[name]
        self.bounds[name] = max(low, -threshold), min(high, threshold)

    def of(self, values: Iterable[Value]) -> tuple[float, float]:
        """The smallest range that holds those of all values."""
        lows, highs = zip(*(self.bounds[value.name] for value in values if value.name in self.bounds), strict=True)
        return min(lows), max(highs)


def calibrate(
    graph: Graph,
    source: Source,
    values: Sequence[Value],
    feeds: Iterable[Feed],
    meter: Meter,
    method: Method = "min-max",
    percent: float = 99.99,
) -> Ranges:
    """The ranges of `values` on `feeds` (which are read once for each run over all of them). `source` is `graph` as a
    model. Raises CannotLoad, Rejected and Unreadable as runs do."""
    found = Ranges()
    instrumented, names = ranges.instrumented(graph, source, set(values))
    with meter.session(instrumented, "calibration") as session:
        for feed in feeds:
            found.add(names, session.run(feed)[-1])
    if method != "min-max":
        known = [value for value in values if value.name in found.bounds and value.name not in found.infinite]
        for name, histogram in _histograms(source, known, found, feeds, meter):
            is_entropy = method == "entropy"
            cut = thresholds.entropy(histogram) if is_entropy else thresholds.percentile(histogram, percent)
            found.cut(name, cut)
    return found


def _histograms(
    source: Source, values: Sequence[Value], found: Ranges, feeds: Iterable[Feed], meter: Meter
) -> Iterator[tuple[str, Histogram]]:
    for part in _batches(values):
        counted = {value.name: Histogram(max(map(abs, found.bounds[value.name]))) for value in part}
        fed = {value.name for value in part if value.is_graph_input}
        exposed, names = _exposed(source, [name for name in counted if name not in fed])
        with meter.session(exposed, "histograms") as session:
            for feed in feeds:
                outputs = session.run(feed)
                for name, array in zip(names, outputs[-len(names) :] if names else (), strict=True):
                    counted[name].add(array)
                for name in fed:
                    counted[name].add(feed[name])
        yield from counted.items()


def _batches(values: Sequence[Value]) -> Iterator[list[Value]]:
    """The values in parts that fit into memory together."""
    part: list[Value] = []
    total = 0
    for value in values:
        size = 4 * _elements(value)
        if part and total + size > FETCHED:
            yield part
            part, total = [], 0
        part.append(value)
        total += size
    if part:
        yield part


def _elements(value: Value) -> int:
    dims = value.dims
    if dims is None or not all(isinstance(dim, int) for dim in dims):
        return UNKNOWN_SIZE
    return math.prod(dims)


def _exposed(source: Source, names: Sequence[str]) -> tuple[Source, list[str]]:
    """The model with those inner values as its last outputs."""
    from onnx import TensorProto, ValueInfoProto, helper

    model: ModelProto = source.skeleton()
    for name in names:
        copy = f"onnx_opt.shown.{name}"  # what is an output already can't be one twice
        model.graph.node.append(helper.make_node("Identity", [name], [copy]))
        info = ValueInfoProto(name=copy)
        info.type.tensor_type.elem_type = TensorProto.FLOAT
        model.graph.output.append(info)
    return source.with_proto(model), list(names)
