"""Rows for what sums over channels with weights: convolutions and matrix products.

With weights of zero a layer takes in whatever finite numbers its padding holds, and computes zeros (or what its bias is
padded with) for the padding of its result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt.channels.behaviour import Behaviour, dims_of, need, normal
from onnx_opt.channels.content import UNKNOWN, ZERO, Content, Range, add, of_array
from onnx_opt.channels.layers import Layer
from onnx_opt.channels.segments import Layout, fresh, padded_size, scaled

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.channels.apply import Edit
    from onnx_opt.channels.holes import Contents
    from onnx_opt.ir import Node


SUMMAND = 3
"""The operand of a fused Conv that is added to its result."""


def activated(node: Node, content: Content) -> Content:
    """Content after the activation that a fused operator holds, if any."""
    kind = node.attribute("activation", "")
    if content is None or not kind:
        return content
    if kind in ("Sigmoid", "HardSigmoid"):
        return Range(0, 1)
    if kind == "Relu":
        return Range(max(content.low, 0), max(content.high, 0))
    return ZERO if content == ZERO and kind in ("LeakyRelu", "Tanh") else UNKNOWN


@dataclass(frozen=True)
class Convolution(Behaviour):
    """Conv and ConvTranspose: channels in dim 1, weights [outer, inner of a group, kernel...]."""

    transposed: bool = False

    def operands(self, node: Node) -> Iterable[int]:
        return range(4)

    def link(self, node: Node, channels: Channels) -> None:
        x, w = node.inputs[:2]
        rank = len(dims_of(x))
        need(len(dims_of(w)) == rank >= 3, "its weights have another rank than its operand")
        for axis in range(2, rank):
            channels.stop(x, axis, f"it is a spatial dim of {node.op} '{node.label()}'")
            channels.stop(w, axis, f"it is a spatial dim of {node.op} '{node.label()}'")
        outer, inner = dims_of(w)[:2]
        groups = int(node.attribute("group", 1))
        need(
            isinstance(outer, int) and isinstance(inner, int) and outer % groups == 0, "its weights have no known size"
        )
        first, second = channels.operand(node, 1, 0), channels.operand(node, 1, 1)
        need(first is not None and second is not None, "its weights are empty")
        assert first is not None and second is not None
        takes, gives, each = self._dims(channels, first, second, groups, outer // groups, inner)
        channels.same(channels.operand(node, 0, 1), takes)
        if node.input(2) is not None:
            channels.same(channels.operand(node, 2, 0), gives)
        channels.give(node.outputs[0], 1, gives)
        channels.give(node.outputs[0], 0, channels.operand(node, 0, 0))
        if node.input(SUMMAND) is not None:
            self._link_summand(node, channels, gives)
        channels.layer(Layer(node, *each))

    def _link_summand(self, node: Node, channels: Channels, gives: Layout) -> None:
        """What a fused Conv adds to its result has the same dims."""
        value = node.inputs[SUMMAND]
        need(len(dims_of(value)) == len(dims_of(node.inputs[0])), "what it adds has another rank")
        channels.same(channels.operand(node, SUMMAND, 1), gives)
        for axis in range(len(dims_of(value))):
            if axis != 1:
                channels.stop(value, axis, f"{node.op} '{node.label()}' adds them up")

    def _dims(
        self, channels: Channels, first: Layout, second: Layout, groups: int, own: int, inner: int
    ) -> tuple[Layout, Layout, tuple[Layout, Layout]]:
        """The channels of operand and result, and those of one group."""
        if groups == 1:
            return (first, second, (first, second)) if self.transposed else (second, first, (second, first))
        if self.transposed:
            one = first if own == 1 else fresh(own)
            if own == 1:  # each channel gives `inner` channels
                channels.same(second, fresh(inner, "it belongs to one channel of its operand"))
                return first, scaled(first, inner), (first, scaled(first, inner))
            channels.same(first, one * groups)
            return first, second * groups, (one, second)
        if inner == 1:  # each channel gives `own` channels
            takes = fresh(groups)
            channels.same(first, scaled(takes, own))
            return takes, first, (takes, first)
        one = fresh(own)
        channels.same(first, one * groups)
        return second * groups, first, (second, one)

    def content(self, node: Node, contents: Contents) -> None:
        contents.take_in(node, 0, 1)
        for axis in (0, 1):  # weights that are computed
            if node.inputs[1].constant is None and contents.is_holed(node, 1, axis):
                contents.take_in(node, 1, axis, exact=True)
        found = contents.operand(node, 2, 0)
        if node.input(SUMMAND) is not None:
            more = contents.operand(node, SUMMAND, 1)
            found = add(found, more) if found is not None and more is not None else UNKNOWN
        contents.give(node.outputs[0], 1, activated(node, found))

    def rebuild(self, node: Node, edit: Edit) -> None:
        groups = int(node.attribute("group", 1))
        takes = edit.operand_layout(node, 0, 1)
        outer, inner = dims_of(node.inputs[1])[:2]
        one_each = (outer // groups if self.transposed else inner) == 1
        if groups > 1 and one_each and takes is not None:  # padding brings more groups
            node.set_attr("group", padded_size(takes))


class Product(Behaviour):
    """Gemm and MatMul: y[m, n] = sum over k of a[m, k] * b[k, n]."""

    def operands(self, node: Node) -> Iterable[int]:
        return range(3)

    def axes(self, node: Node) -> tuple[tuple[int | None, int], tuple[int, int | None]]:
        """((m, k) in a, (k, n) in b), counted from the front; None for an axis that a vector lacks."""
        a, b = (len(dims_of(value)) for value in node.inputs[:2])
        need(a > 0 and b > 0, "an operand is a scalar")
        need(min(a, b) > 1 or max(a, b) <= 2, "it multiplies a stack of matrices with a vector")
        return (a - 2 if a > 1 else None, a - 1), (b - 2 if b > 1 else 0, b - 1 if b > 1 else None)

    def link(self, node: Node, channels: Channels) -> None:
        (m, k), (also_k, n) = self.axes(node)
        takes = channels.operand(node, 0, k)
        channels.same(takes, channels.operand(node, 1, also_k))
        rank = len(dims_of(node.outputs[0]))
        gives = None
        if n is not None:
            gives = channels.operand(node, 1, n)
            channels.give(node.outputs[0], rank - 1, gives)
        if m is not None:
            channels.give(node.outputs[0], rank - (2 if n is not None else 1), channels.operand(node, 0, m))
        self.link_others(node, channels, gives)
        channels.layer(Layer(node, takes, gives if _has_weights(node) else None))

    def link_others(self, node: Node, channels: Channels, gives: Layout | None) -> None:
        """The dims in front of the matrices, which broadcast."""
        out = node.outputs[0]
        rank = len(dims_of(out))
        for axis in range(rank - 2):
            parts = [channels.operand(node, index, own) for index, own in self._fronts(node, axis, rank)]
            for part in parts[1:]:
                channels.same(parts[0], part)
            if parts:
                channels.give(out, axis, parts[0])
            for index in (0, 1):
                value = node.inputs[index]
                own = axis - rank + len(dims_of(value))
                if own >= 0 and dims_of(value)[own] == 1:
                    channels.stop(value, own, f"it is broadcast by {node.op} '{node.label()}'")

    def content(self, node: Node, contents: Contents) -> None:
        (m, k), (also_k, n) = self.axes(node)
        self._sum(node, contents, k, also_k)
        rank = len(dims_of(node.outputs[0]))
        if n is not None:
            contents.give(
                node.outputs[0], rank - 1, self._after(node, contents, contents.operand(node, 1, n), rank - 1)
            )
        if m is not None:
            axis = rank - (2 if n is not None else 1)
            contents.give(node.outputs[0], axis, self._after(node, contents, contents.operand(node, 0, m), axis))
        for axis in range(rank - 2):
            found = [contents.operand(node, index, own) for index, own in self._fronts(node, axis, rank)]
            contents.give(node.outputs[0], axis, ZERO if ZERO in found and UNKNOWN not in found else UNKNOWN)

    def _fronts(self, node: Node, axis: int, rank: int) -> list[tuple[int, int]]:
        owns = [(index, axis - rank + len(dims_of(node.inputs[index]))) for index in (0, 1)]
        return [(index, own) for index, own in owns if own >= 0 and dims_of(node.inputs[index])[own] != 1]

    def _sum(self, node: Node, contents: Contents, k: int, also_k: int) -> None:
        """Of what meets in padding, one factor must be zero and the other one finite."""
        a, b = contents.operand(node, 0, k), contents.operand(node, 1, also_k)
        if ZERO not in (a, b):
            contents.take_in(
                node,
                0 if node.inputs[0].constant is None else 1,
                k if node.inputs[0].constant is None else also_k,
                True,
            )
            return
        contents.take_in(node, 0, k)
        contents.take_in(node, 1, also_k)

    def _after(self, node: Node, contents: Contents, factor: Content, axis: int) -> Content:
        """The content of the result where a row or column of a factor is padding."""
        return ZERO if factor == ZERO else UNKNOWN


class MatrixProduct(Product):
    """Gemm: alpha * a * b + beta * c, either factor transposed."""

    def axes(self, node: Node) -> tuple[tuple[int | None, int], tuple[int, int | None]]:
        need(all(len(dims_of(value)) == 2 for value in node.inputs[:2]), "an operand is no matrix")
        a = (1, 0) if node.attribute("transA", 0) else (0, 1)
        b = (1, 0) if node.attribute("transB", 0) else (0, 1)
        return a, b

    def link_others(self, node: Node, channels: Channels, gives: Layout | None) -> None:
        c = node.input(2)
        if c is None:
            return
        need(
            node.domain or node.version >= 7 or not node.attribute("broadcast", 0) or len(dims_of(c)) <= 2,
            "it broadcasts by an attribute",
        )
        out = node.outputs[0]
        for own, dim in enumerate(dims_of(c)):
            axis = normal(own - len(dims_of(c)), 2)
            if dim != 1:
                channels.same(channels.operand(node, 2, own), channels.of(out, axis))
            elif c.constant is None:
                channels.stop(c, own, f"it is broadcast by {node.op} '{node.label()}'")

    def _after(self, node: Node, contents: Contents, factor: Content, axis: int) -> Content:
        return activated(node, self._before_activation(node, contents, factor, axis))

    def _before_activation(self, node: Node, contents: Contents, factor: Content, axis: int) -> Content:
        c = node.input(2)
        if factor != ZERO or c is None:
            return ZERO if factor == ZERO else UNKNOWN
        own = axis - 2 + len(dims_of(c))
        if own >= 0 and contents.is_holed(node, 2, own):
            found = contents.operand(node, 2, own)
        else:
            found = of_array(c.constant) if c.constant is not None else UNKNOWN
        if found is None:
            return UNKNOWN
        beta = float(node.attribute("beta", 1.0))
        ends = sorted((found.low * beta, found.high * beta))
        return add(ZERO, Range(*ends))


def _has_weights(node: Node) -> bool:
    """Whether one factor is a constant, or dequantized from one: the columns of the result are channels then."""
    value = node.inputs[1]
    source = value.producer
    return value.constant is not None or (
        source is not None and source.op == "DequantizeLinear" and source.inputs[0].constant is not None
    )
