"""What each node loses by being quantized alone: one run of an instrumented FP32 model measures all of them.

Beside each node stands its twin, the same operator on operands that went through QuantizeLinear and DequantizeLinear
(see `onnx_opt.precision.sensitivity`, whose loss this is).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import NodeProto, TensorProto

from onnx_opt import traits
from onnx_opt.precision.probe import Probe
from onnx_opt.precision.sensitivity import loss_of
from onnx_opt.quantization.forms import Form, Scale, stored_type
from onnx_opt.quantization.placement import Placement
from onnx_opt.quantization.roles import Move, role_of
from onnx_opt.quantization.weights import store
from onnx_opt.validate.source import Source

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value


def instrumented(
    graph: Graph, source: Source, form: Form, placement: Placement, scales: dict[Value, Scale]
) -> tuple[Source, list[Node]]:
    """The model with one more output, the last: the loss of the first result of each listed node in turn.

    What moves one operand loses nothing that its readers do not lose without it, and is not listed.
    """
    probe = Probe(source)
    twins = _Twins(probe, form, placement, scales)
    listed: list[Node] = []
    parts = {node for node in placement.nodes if not isinstance(role_of(node), Move) or len(placement.reads[node]) > 1}
    for known, node in zip(graph, probe.originals, strict=True):
        result = known.outputs[0] if known in parts and traits.is_pure(known) else None
        if result is None or result.elem_type != TensorProto.FLOAT:
            probe.nodes.append(node)
            continue
        twin = twins.of(known, node)
        name = probe.renamed_result(node, 0, result)
        probe.nodes += [node, twin]
        loss = loss_of(probe, result, name, twin.output[0])
        probe.keep(loss)
        probe.hand_over(name, result, [loss])
        listed.append(known)
    return probe.finished(), listed


class _Twins:
    def __init__(self, probe: Probe, form: Form, placement: Placement, scales: dict[Value, Scale]) -> None:
        self.probe, self.form, self.placement, self.scales = probe, form, placement, scales
        self._operands: dict[tuple[Value, int | None], str] = {}

    def of(self, known: Node, node: NodeProto) -> NodeProto:
        """The twin of a node; what it reads is appended."""
        twin = NodeProto()
        twin.CopyFrom(node)
        twin.name = f"{self.probe.fresh()}.twin"
        for index in self.placement.reads.get(known, ()):
            twin.input[index] = self._activation(known.inputs[index])
        layer = self.placement.layers.get(known)
        weight = known.inputs[layer.weight] if layer is not None else None
        if layer is not None and weight is not None and weight.constant is not None:
            rank = weight.constant.ndim
            twin.input[layer.weight] = self._weight(weight, layer.channels(known, rank), layer.summed(known, rank))
        for index, name in enumerate(twin.output):
            if name:
                twin.output[index] = self.probe.fresh()
                self.probe.declare(twin.output[index], known.outputs[index])
        return twin

    def _activation(self, value: Value) -> str:
        if (value, None) not in self._operands:
            scale = self.scales[self.placement.group(value)]
            zero = np.asarray(scale.zero_point).astype(stored_type(self.form.activations))
            operands = self.probe.constant(np.float32(scale.scale)), self.probe.constant(zero)
            self._operands[value, None] = self._pair(value.name, *operands)
        return self._operands[value, None]

    def _weight(self, weight: Value, channels: int | None, summed: int) -> str:
        axis = summed if self.form.block else channels
        key = weight, -1 if axis is None else axis
        if key not in self._operands:
            assert weight.constant is not None
            stored = store(weight.constant, self.form, channels, summed)
            attrs: dict[str, Any] = {} if axis is None else {"axis": axis}
            if stored.block:
                attrs["block_size"] = stored.block
            scales = self.probe.constant(stored.scales)
            zeros = self.probe.constant(np.zeros(stored.scales.shape, stored_type(self.form.weights)))
            self._operands[key] = self._pair(weight.name, scales, zeros, **attrs)
        return self._operands[key]

    def _pair(self, name: str, scale: str, zero: str, **attrs: Any) -> str:
        quantized = self.probe.add("QuantizeLinear", name, scale, zero, **attrs)
        return self.probe.add("DequantizeLinear", quantized, scale, zero, **attrs)
