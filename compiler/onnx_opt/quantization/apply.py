"""The edits: weights stored in few bits, QuantizeLinear and DequantizeLinear around what computes in integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.ir.origin import Origin
from onnx_opt.quantization.calibrate import Ranges
from onnx_opt.quantization.forms import Form, Scale, scale_of, stored_type
from onnx_opt.quantization.placement import Placement, place
from onnx_opt.quantization.roles import Layer
from onnx_opt.quantization.weights import Stored, store, store_bias

if TYPE_CHECKING:
    from onnx_opt.ir import Constant, Graph, Node, Value
    from onnx_opt.passes import PassContext

RULE = "quantize"
UNDONE = "it was taken back"


@dataclass
class Quantization:
    """What `quantize` did."""

    placement: Placement
    kept: dict[Node, str] = field(default_factory=dict)
    """Nodes that could have been part of it, and why they are not."""
    weights: int = 0
    """Weights that are stored in the form."""
    bytes_before: int = 0
    bytes_after: int = 0
    """Of these weights, with their scales."""


def quantize(
    graph: Graph, context: PassContext, form: Form, ranges: Ranges, keep: Mapping[Node, str] | None = None
) -> Quantization:
    """Quantize the main graph `graph` in place, with scales from `ranges`.

    `keep` maps nodes that stay in higher precision to the reason that the report gives. Each node that takes part is
    one rewrite of `context`, so that validation can take it back.
    """
    kept = dict(keep or {})
    placement = place(graph, form, ranges.unfit, kept)
    refused = {node: UNDONE for node in placement.nodes if not _admitted(node, context)}
    if refused:
        kept |= refused
        placement = place(graph, form, ranges.unfit, kept)
    done = Quantization(placement, {**placement.declined, **kept})
    if placement.nodes:
        _Rewriter(graph, form, ranges, done).run()
        graph.model.settle()
    for node, reason in done.kept.items():
        context.declined(RULE, node, reason)
    return done


def scales_of(placement: Placement, ranges: Ranges, form: Form) -> dict[Value, Scale]:
    """The scale of each group of values, by the value that stands for it."""
    members: dict[Value, list[Value]] = {}
    for value in placement.values:
        members.setdefault(placement.group(value), []).append(value)
    return {group: scale_of(*ranges.of(values), form) for group, values in members.items()}


def _admitted(node: Node, context: PassContext) -> bool:
    if not context.admit(RULE, node):
        return False
    context.applied(RULE, [node.label()], node.origin, [value.name for value in node.outputs if value.name])
    return True


class _Rewriter:
    def __init__(self, graph: Graph, form: Form, ranges: Ranges, done: Quantization) -> None:
        self.graph, self.form, self.done = graph, form, done
        self.placement = done.placement
        self.scales = scales_of(self.placement, ranges, form)
        self._constants: dict[Value, list[Constant]] = {}
        self._weights: dict[tuple[Value, int | None], tuple[Value, Stored]] = {}

    def run(self) -> None:
        for node, layer in self.placement.layers.items():
            self._layer(node, layer)
        for value in self.placement.values:
            self._value(value)

    # -- activations ---------------------------------------------------------------------------------------------------

    def _value(self, value: Value) -> None:
        """Let the quantized readers of a value read it through one pair."""
        uses = [use for use in value.uses if self.placement.is_read(*use)]
        scale = self._scale_of(value)
        place = value.producer.next if value.producer is not None else self.graph.head
        origin = Origin.merge(RULE, [value.producer.origin if value.producer else Origin.of_node(value.name)])
        for op in ("QuantizeLinear", "DequantizeLinear"):
            node = self.graph.make_node(op, [value, *scale], name=f"{value.name}_{op}", origin=origin)
            self.graph.insert(node, place)
            value = node.outputs[0]
        for user, index in uses:
            self.graph.set_input(user, index, value)

    def _scale_of(self, value: Value) -> list[Constant]:
        """Scale and zero point, held once for all values that share them."""
        group = self.placement.group(value)
        if group not in self._constants:
            scale, dtype = self.scales[group], stored_type(self.form.activations)
            self._constants[group] = [
                self.graph.add_constant(np.asarray(scale.scale, np.float32), f"{group.name}_scale"),
                self.graph.add_constant(np.asarray(scale.zero_point).astype(dtype), f"{group.name}_zero_point"),
            ]
        return self._constants[group]

    # -- weights -------------------------------------------------------------------------------------------------------

    def _layer(self, node: Node, layer: Layer) -> None:
        weight = node.inputs[layer.weight]
        array = weight.constant
        if array is not None:
            scales: np.ndarray | None = self._store(node, layer, weight, array)
        else:
            scales = weight.producer.inputs[1].constant if weight.producer is not None else None
        if self.form.integer_bias and layer.bias is not None and scales is not None:
            self._bias(node, layer, scales)

    def _store(self, node: Node, layer: Layer, weight: Value, array: np.ndarray) -> np.ndarray:
        """Let a layer read its weight from where it is stored in the form; the scales of that."""
        channels = layer.channels(node, array.ndim)
        axis = layer.summed(node, array.ndim) if self.form.block else channels
        if (weight, axis) not in self._weights:
            stored = store(array, self.form, channels, layer.summed(node, array.ndim))
            self._weights[weight, axis] = self._dequantized(weight, stored, node), stored
            self.done.weights += 1
            self.done.bytes_before += array.nbytes
            self.done.bytes_after += stored.nbytes
        value, stored = self._weights[weight, axis]
        self._replace(node, layer.weight, value)
        return stored.scales

    def _replace(self, node: Node, index: int, value: Value) -> None:
        """Let a node read another value; a Constant that loses its last reader would stay in the file."""
        old = node.inputs[index]
        self.graph.set_input(node, index, value)
        if old.producer is not None and old.producer.graph is self.graph and not old.uses:
            self.graph.erase(old.producer)

    def _dequantized(self, weight: Value, stored: Stored, before: Node) -> Value:
        operands = [
            self.graph.add_constant(stored.values, f"{weight.name}_{self.form.name}"),
            self.graph.add_constant(stored.scales, f"{weight.name}_scale"),
        ]
        if not self.form.block:  # ONNX Runtime makes no QGemm of weights without
            zeros = np.zeros(stored.scales.shape, stored.values.dtype)
            operands.append(self.graph.add_constant(zeros, f"{weight.name}_zero_point"))
        attrs = {} if stored.axis is None else {"axis": stored.axis}
        if stored.block:
            attrs["block_size"] = stored.block
        origin = Origin.merge(RULE, [before.origin])
        name = f"{weight.name}_DequantizeLinear"
        node = self.graph.make_node("DequantizeLinear", operands, attrs, name=name, origin=origin)
        self.graph.insert(node, before)
        return node.outputs[0]

    def _bias(self, node: Node, layer: Layer, weight_scales: np.ndarray) -> None:
        """Store a bias in the units of the integer sum. One of another shape, or too large for that, stays FP32."""
        assert layer.bias is not None
        bias = node.input(layer.bias)
        array = bias.constant if bias is not None else None
        if bias is None or array is None or array.ndim != 1 or weight_scales.size not in (1, array.size):
            return
        scale = self.scales[self.placement.group(node.inputs[layer.data])].scale
        scales = np.asarray(scale * weight_scales, np.float32)
        integers = store_bias(array, scales) if (scales > 0).all() and np.isfinite(array).all() else None
        if integers is None:
            return
        operands = [
            self.graph.add_constant(integers, f"{bias.name}_int32"),
            self.graph.add_constant(scales, f"{bias.name}_scale"),
        ]
        attrs = {} if scales.ndim == 0 else {"axis": 0}
        origin = Origin.merge(RULE, [node.origin])
        name = f"{bias.name}_DequantizeLinear"
        dequantize = self.graph.make_node("DequantizeLinear", operands, attrs, name=name, origin=origin)
        self.graph.insert(dequantize, node)
        self._replace(node, layer.bias, dequantize.outputs[0])
