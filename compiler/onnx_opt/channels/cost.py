"""What padding costs and gains: floating-point operations, bytes, and by the target's model the time of each node.

A layer takes as long as its arithmetic or as moving its operands and its result, whichever is more (the roofline model:
Williams et al., 2009); any other node as long as moving its result. How fast the arithmetic is depends on how well the
channels are aligned.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import gcd, log2, prod
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from onnx_opt import types
from onnx_opt.channels.layers import CONVOLUTIONS, Layer, arithmetic, product_of, taps
from onnx_opt.channels.segments import Layout, Leaf, all_leaves, has_holes, padded_size, size_of
from onnx_opt.errors import UsageError
from onnx_opt.layout.weigh import Weights
from onnx_opt.target import CostModel

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.ir import Node, Value

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}
PROFILE_FORMAT = 1


@dataclass(frozen=True)
class Measured(CostModel):
    """Figures of a device in place of a model. `rates` are operations per second by (operator, dtype, bytes to which
    the channels are aligned, logarithm of the layer's operations)."""

    rates: Mapping[tuple[str, str, int], tuple[tuple[float, float], ...]] = field(default_factory=dict)

    def rate(self, op: str, dtype: str, k: int, n: int, flops: float) -> float:
        """The measured rate of the layer nearest in size; the model's where none is like it."""
        group = "Conv" if op in CONVOLUTIONS else "MatMul"
        rows = self.rates.get((group, dtype, aligned_bytes(dtype, k, n)))
        if not rows:
            return super().rate(op, dtype, k, n, flops)
        size = log2(max(flops, 1.0))
        return min(rows, key=lambda row: abs(row[0] - size))[1]


def aligned_bytes(dtype: str, k: int, n: int) -> int:
    """The largest power of two, up to 16, that the bytes of both channel dims are multiples of."""
    return gcd(k * BYTES.get(dtype, 4), n * BYTES.get(dtype, 4), 16)


def read_profile(path: str | Path, base: CostModel | None) -> CostModel:
    """The cost model that bench/gpu_padding.py wrote. Raises UsageError for anything else."""
    try:
        found = json.loads(Path(path).read_text())
        assert found["format"] == PROFILE_FORMAT
        return _measured(found, base or CostModel())
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", path=path) from error
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise UsageError("it is no profile", path=path, remedy="write one with bench/gpu_padding.py") from error


def _measured(found: dict[str, Any], base: CostModel) -> Measured:
    times: dict[tuple[str, str, int], dict[int, list[float]]] = {}
    for row in found["rows"]:
        dtype, k, n = str(row["dtype"]), int(row["k"]), int(row["n"])
        flops, seconds = float(row["flops"]), float(row["seconds"])
        sizes = times.setdefault((str(row["op"]), dtype, aligned_bytes(dtype, k, n)), {})
        sizes.setdefault(round(log2(flops)), []).append(flops / seconds)
    rates = {
        key: tuple((float(size), median(values)) for size, values in sorted(sizes.items()))
        for key, sizes in sorted(times.items())
    }
    return Measured(base.flops, float(found["bandwidth"]), float(found["launch"]), base.shares, rates)


@dataclass
class Entry:
    """A node: what it moves and computes with its leaves as they are now."""

    node: Node
    layer: Layer | None
    moved: list[tuple[float, list[Layout]]]
    """(bytes without padding, dims that grow) of each tensor that it moves."""
    flops: float = 0.0
    dtype: str = ""

    def growth(self) -> float:
        """By what its operations grow."""
        return prod((padded_size(dim) / max(size_of(dim), 1) for dim in self._dims()), start=1.0)

    def _dims(self) -> list[Layout]:
        if self.layer is None:
            return []
        takes = None if product_of(self.node).is_depthwise else self.layer.takes
        return [dim for dim in (takes, self.layer.gives) if dim is not None]

    def bytes(self) -> float:
        return sum(_grown(count, layouts) for count, layouts in self.moved)

    def seconds(self, model: CostModel) -> float:
        moving = model.launch + self.bytes() / model.bandwidth
        if self.layer is None:
            return moving
        product = product_of(self.node)
        if product.is_depthwise:
            return moving
        k = padded_size(self.layer.takes) if self.layer.takes is not None else product.k or 1
        n = padded_size(self.layer.gives) if self.layer.gives is not None else product.n or 1
        flops = self.flops * self.growth()
        return max(moving, model.launch + flops / model.rate(self.node.op, self.dtype, k, n, flops))


def _grown(count: float, layouts: Iterable[Layout]) -> float:
    return count * prod((padded_size(layout) / max(size_of(layout), 1) for layout in layouts), start=1.0)


class Costs:
    """The entries of a graph, by the leaves that they depend on."""

    def __init__(self, channels: Channels):
        self.channels = channels
        self._weights = Weights(channels.graph.model.graph.inputs)
        self._layers = {layer.node: layer for layer in channels.layers}
        self.entries: list[Entry] = []
        self.of_leaf: dict[Leaf, list[Entry]] = {}
        for node in channels.graph:
            self._add(node)

    def _add(self, node: Node) -> None:
        layer = self._layers.get(node)
        outputs = [self._value(value) for value in node.outputs if value.name]
        if layer is None:
            moved = outputs
        else:
            moved = [
                *outputs,
                *(self._operand(node, index) for index in range(len(node.inputs)) if node.inputs[index].name),
            ]
        entry = Entry(node, layer, moved)
        if layer is not None:
            entry.dtype, entry.flops = arithmetic(node), self._flops(node)
        layouts = [layout for _, dims in moved for layout in dims] + entry._dims()
        found = all_leaves(layouts)
        if layer is not None or any(leaf.multiple > 1 for leaf in found):
            self.entries.append(entry)
        for leaf in found:
            if leaf.multiple > 1:
                self.of_leaf.setdefault(leaf, []).append(entry)
        for value in node.outputs:
            if value.is_graph_output:
                self._add_copy(node, value)

    def _add_copy(self, node: Node, value: Value) -> None:
        """What it takes to give out a value without its padding."""
        count, layouts = self._value(value)
        for leaf in all_leaves(layouts):
            if leaf.multiple > 1:
                self.of_leaf.setdefault(leaf, []).append(_Copy(node, None, [(count, [])], watched=layouts))

    def _value(self, value: Value) -> tuple[float, list[Layout]]:
        dims = self.channels.axes.get(value, {})
        size = self._weights.bytes_of(value) if value.dims is not None else 1
        return float(size), [
            layout for layout in dims.values() if any(leaf.multiple > 1 for leaf in all_leaves([layout]))
        ]

    def _operand(self, node: Node, index: int) -> tuple[float, list[Layout]]:
        slot = self.channels.slots.get((node, index))
        if slot is None:
            return self._value(node.inputs[index])
        return float(self._weights.bytes_of(node.inputs[index])), list(slot.axes.values())

    def _flops(self, node: Node) -> float:
        """Operations of a layer without padding; a multiplication and an addition are two."""
        product, source = product_of(node), node.inputs[0] if node.op == "ConvTranspose" else node.outputs[0]
        count = self._weights.bytes_of(source) * 8 / types.element_bits(source.elem_type) if source.elem_type else 1.0
        width = product.n if node.op == "ConvTranspose" else product.k
        return 2.0 * count * (width or 1) * taps(node)

    def totals(self) -> tuple[float, float]:
        """(operations, bytes) of all layers and of what they move."""
        return _totals(self.entries)

    def around(self, leaf: Leaf) -> tuple[float, float]:
        """(operations, bytes) of what depends on a leaf."""
        return _totals(entry for entry in self.of_leaf.get(leaf, ()) if not isinstance(entry, _Copy))

    def seconds_around(self, leaf: Leaf, model: CostModel) -> float:
        """The time of everything that depends on a leaf."""
        return sum(entry.seconds(model) for entry in self.of_leaf.get(leaf, ()))


def _totals(entries: Iterable[Entry]) -> tuple[float, float]:
    flops = moved = 0.0
    for entry in entries:
        flops, moved = flops + entry.flops * entry.growth(), moved + entry.bytes()
    return flops, moved


@dataclass
class _Copy(Entry):
    """A selection before a graph output, which is there only while the output has padding."""

    watched: list[Layout] = field(default_factory=list)

    def seconds(self, model: CostModel) -> float:
        return super().seconds(model) if any(map(has_holes, self.watched)) else 0.0
