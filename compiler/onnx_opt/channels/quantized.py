"""QuantizeLinear and DequantizeLinear, per tensor and per channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from onnx_opt import types
from onnx_opt.channels.behaviour import Behaviour, dims_of, need, normal
from onnx_opt.channels.content import UNKNOWN, ZERO, Content, Range, multiply, of_array, subtract, widened

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.channels.holes import Contents
    from onnx_opt.ir import Node

SCALE_OF_PADDING, ZERO_POINT_OF_PADDING = 1, 0


class Quantizing(Behaviour):
    """Every axis passes; scales and zero points of single channels are padded with 1 and 0, and constants that are
    dequantized so that zeros come out."""

    def operands(self, node: Node) -> Iterable[int]:
        return range(3)

    def link(self, node: Node, channels: Channels) -> None:
        x, out = node.inputs[0], node.outputs[0]
        dims, scale = dims_of(x), node.inputs[1]
        need(not node.attribute("block_size", 0), "it is quantized by blocks")
        per_axis = self._axis(node)
        for axis in range(len(dims)):
            layout = channels.operand(node, 0, axis)
            channels.give(out, axis, layout)
            if axis == per_axis:
                channels.same(channels.operand(node, 1, 0, SCALE_OF_PADDING), layout)
                if node.input(2) is not None:
                    channels.same(channels.operand(node, 2, 0, ZERO_POINT_OF_PADDING), layout)
        self._fill(node, channels, per_axis)
        need(scale.constant is not None, "its scale is only known when the model runs")

    def _axis(self, node: Node) -> int | None:
        """The axis whose channels have scales of their own."""
        scale = dims_of(node.inputs[1])
        need(len(scale) <= 1, "it is quantized by blocks")
        rank = len(dims_of(node.inputs[0]))
        if not scale or scale[0] == 1:
            return None
        return normal(int(node.attribute("axis", 1)), rank) if node.version >= 13 else None

    def _fill(self, node: Node, channels: Channels, per_axis: int | None) -> None:
        """Let a constant that is dequantized be padded with its zero point."""
        slot, zero = channels.slots.get((node, 0)), node.input(2)
        if slot is None or zero is None:
            return
        need(zero.constant is not None, "its zero point is only known when the model runs")
        assert zero.constant is not None
        if per_axis is None:
            slot.fill = np.ravel(zero.constant)[0].item()
        elif (node, 2) in channels.slots:
            slot.like = channels.slots[node, 2], per_axis

    def content(self, node: Node, contents: Contents) -> None:
        for axis in contents.holed(node.outputs[0]):
            contents.give(node.outputs[0], axis, self._computed(node, contents, axis))

    def _computed(self, node: Node, contents: Contents, axis: int) -> Content:
        if node.op == "DequantizeLinear" and (node, 0) in contents.channels.slots:
            return ZERO
        x, scale, zero = contents.operand(node, 0, axis), self._scale(node, axis), self._zero(node, axis)
        if x is None or scale is None or zero is None or scale.low <= 0:
            return UNKNOWN
        if node.op == "DequantizeLinear":
            found = multiply(_of(subtract(x, zero)), scale)
            return found if found == ZERO else widened(found)
        return self._quantized(node, x, scale, zero)

    def _quantized(self, node: Node, x: Range, scale: Range, zero: Range) -> Content:
        dtype = types.numpy_dtype(node.outputs[0].elem_type)
        if dtype is None or dtype.kind not in "iu":
            return ZERO if x == ZERO and zero == ZERO else UNKNOWN
        if x == ZERO:
            return zero
        info = np.iinfo(dtype)
        ends = [value / each for value in x for each in scale]
        low, high = min(ends) - 1 + zero.low, max(ends) + 1 + zero.high
        return Range(min(max(low, info.min), info.max), min(max(high, info.min), info.max))

    def _scale(self, node: Node, axis: int) -> Content:
        if self._axis(node) == axis:
            return Range(SCALE_OF_PADDING, SCALE_OF_PADDING)
        constant = node.inputs[1].constant
        return of_array(constant) if constant is not None else UNKNOWN

    def _zero(self, node: Node, axis: int) -> Content:
        value = node.input(2)
        if value is None or self._axis(node) == axis:
            return ZERO
        return of_array(value.constant) if value.constant is not None else UNKNOWN


def _of(content: Content) -> Range:
    assert content is not None
    return content
