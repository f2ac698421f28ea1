"""Rows for what works along axes: windows, reductions, normalizations, borders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.channels.behaviour import Behaviour, dims_of, need, normal
from onnx_opt.channels.content import UNKNOWN, ZERO, Content, Range, hull, is_squarable, of_array, widened

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.channels.holes import Contents
    from onnx_opt.ir import Node

Keep = Callable[["Node", Content], Content]


def same(node: Node, content: Content) -> Content:
    """The result holds what the operand does."""
    return content


def rounded(node: Node, content: Content) -> Content:
    """A mean of equal numbers is that number, up to rounding."""
    return widened(content)


def with_zeros(node: Node, content: Content) -> Content:
    """Windows may reach beyond the border, where there are zeros."""
    return widened(hull((content, ZERO)))


def only_zeros(node: Node, content: Content) -> Content:
    """Zeros stay zeros; of anything else nothing is known."""
    return ZERO if content == ZERO else UNKNOWN


def unknown(node: Node, content: Content) -> Content:
    return UNKNOWN


def constant_axes(node: Node, attribute: str, operand: int | None, rank: int) -> list[int] | None:
    """Axes from an operand or an attribute; None where there are none. Raises Stopped where they are not constant."""
    value = node.input(operand) if operand is not None else None
    if value is not None:
        need(value.constant is not None, "its axes are only known when the model runs")
        return [normal(int(axis), rank) for axis in np.ravel(value.constant)]  # type: ignore[arg-type]
    listed = node.attribute(attribute)
    return None if listed is None else [normal(int(axis), rank) for axis in np.ravel(listed)]


@dataclass(frozen=True)
class Along(Behaviour):
    """Every axis passes, but for those in `stops`, from the axis attribute on (`axis`, with `to_end`), and from dim
    `spatial_from` on. `parameters` are 1-D operands for dim 1 with what they are padded with."""

    axis: str = ""
    to_end: Callable[[Node], bool] = lambda node: False
    why: str = "works along them"
    spatial_from: int | None = None
    stops: tuple[int, ...] = ()
    parameters: tuple[tuple[int, float], ...] = ()
    keeps: Keep = only_zeros
    refuses: Callable[[Node], str] = lambda node: ""

    def operands(self, node: Node) -> Iterable[int]:
        return (0, *(index for index, _ in self.parameters))

    def link(self, node: Node, channels: Channels) -> None:
        reason = self.refuses(node)
        need(not reason, reason)
        x, out = node.inputs[0], node.outputs[0]
        rank = len(dims_of(x))
        need(
            all(len(dims_of(result)) == rank for result in node.outputs if result.name), "its results have other ranks"
        )
        for axis in range(rank):
            if axis in self._stopped(node, rank):
                channels.stop(x, axis, f"{node.op} '{node.label()}' {self.why}")
                continue
            layout = channels.operand(node, 0, axis)
            for result in node.outputs:
                if result.name:
                    channels.give(result, axis, layout)
        for index, fill in self.parameters:
            if node.input(index) is not None:
                channels.same(channels.operand(node, index, 0, fill), channels.of(out, 1))

    def _stopped(self, node: Node, rank: int) -> Sequence[int]:
        found = list(self.stops)
        if self.axis:
            axis = normal(int(node.attribute(self.axis, -1)), rank)
            found += range(axis, rank) if self.to_end(node) else [axis]
        if self.spatial_from is not None:
            found += range(self.spatial_from, rank)
        return found

    def content(self, node: Node, contents: Contents) -> None:
        for axis in contents.holed(node.outputs[0]):
            found = contents.operand(node, 0, axis)
            if self.parameters and axis == 1:
                constant = all(node.inputs[index].constant is not None for index, _ in self.parameters)
                contents.give(node.outputs[0], axis, ZERO if constant and is_squarable(found) else UNKNOWN)
                continue
            contents.give(node.outputs[0], axis, self.keeps(node, found))


@dataclass(frozen=True)
class Reducing(Behaviour):
    """Reductions: the axes that are left pass. `absorbs` says whether zeros in a reduced dim change nothing."""

    absorbs: bool = False
    keeps: Keep = only_zeros

    def link(self, node: Node, channels: Channels) -> None:
        x, out = node.inputs[0], node.outputs[0]
        gone = self._gone(node)
        for axis in range(len(dims_of(x))):
            if axis not in gone:
                channels.give(out, self._after(node, axis, gone), channels.operand(node, 0, axis))
            elif not self.absorbs:
                channels.stop(x, axis, f"{node.op} '{node.label()}' reduces them")

    def _gone(self, node: Node) -> list[int]:
        rank = len(dims_of(node.inputs[0]))
        if node.op in ("ArgMax", "ArgMin"):
            return [normal(int(node.attribute("axis", 0)), rank)]
        axes = constant_axes(node, "axes", 1, rank)
        if not axes and node.attribute("noop_with_empty_axes", 0):
            return []
        return axes or list(range(rank))

    def _after(self, node: Node, axis: int, gone: list[int]) -> int:
        return axis if node.attribute("keepdims", 1) else axis - sum(other < axis for other in gone)

    def content(self, node: Node, contents: Contents) -> None:
        gone = self._gone(node)
        for axis in range(len(dims_of(node.inputs[0]))):
            if axis in gone:
                contents.take_in(node, 0, axis, exact=True)
            else:
                found = self.keeps(node, contents.operand(node, 0, axis))
                contents.give(node.outputs[0], self._after(node, axis, gone), found)


class Padding(Behaviour):
    """Pad: along axes that it does not touch, channels pass."""

    def link(self, node: Node, channels: Channels) -> None:
        x, out = node.inputs[0], node.outputs[0]
        dims, after = dims_of(x), dims_of(out)
        amounts = self._amounts(node, len(dims))
        for axis in range(len(dims)):
            if amounts[axis] == (0, 0) and dims[axis] == after[axis]:
                channels.give(out, axis, channels.operand(node, 0, axis))
            else:
                channels.stop(x, axis, f"Pad '{node.label()}' pads them")

    def _amounts(self, node: Node, rank: int) -> list[tuple[Any, Any]]:
        if node.version < 11:
            flat: list[Any] = list(node.attribute("pads") or node.attribute("paddings") or [])
            axes: list[int] | None = None
        else:
            content = node.inputs[1].content
            need(content is not None, "its amounts are only known when the model runs")
            assert content is not None
            flat, axes = content.ravel().tolist(), constant_axes(node, "", 3, rank)
        listed = axes if axes is not None else list(range(rank))
        need(len(flat) == 2 * len(listed), "its amounts do not fit its operand")
        amounts: list[tuple[Any, Any]] = [(0, 0)] * rank
        for position, axis in enumerate(listed):
            amounts[axis] = (flat[position], flat[position + len(listed)])
        return amounts

    def content(self, node: Node, contents: Contents) -> None:
        for axis in contents.holed(node.outputs[0]):
            found = contents.operand(node, 0, axis)
            if node.attribute("mode", "constant") == "constant":
                found = hull((found, self._number(node)))
            contents.give(node.outputs[0], axis, found)

    def _number(self, node: Node) -> Content:
        if node.version < 11:
            number = float(node.attribute("value", 0.0))
            return Range(number, number)
        operand = node.input(2)
        if operand is None:
            return ZERO
        return of_array(operand.constant) if operand.constant is not None else UNKNOWN
