"""The kinds of locality that operators have; the table says which operator has which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING

from onnx_opt.analysis.receptive import Mixed, Reach, join, only, rank_of, size_of
from onnx_opt.parameters import parameter

if TYPE_CHECKING:
    from onnx_opt.ir import Node

Axes = Callable[["Node", int], Sequence[int]]
"""The axes over which a node with an operand of that rank computes something, counted from the front."""


def follows(node: Node, read: Mapping[int, Reach]) -> Reach:
    """The result has the places of the first operand; no other one may depend on the picture."""
    return only(read)


def quantized(node: Node, read: Mapping[int, Reach]) -> Reach:
    """QuantizeLinear and DequantizeLinear: with one scale, or one for each element of another axis."""
    reach = only(read)
    if reach.axis is None or rank_of(node.inputs[1]) == 0 or size_of(node.inputs[1], -1) == 1:
        return reach
    if rank_of(node.inputs[1]) > 1 or int(node.attribute("axis", 1)) % rank_of(node.inputs[0]) == reach.axis:
        raise Mixed("scales places of the picture differently")
    return reach


def sizes(node: Node, read: Mapping[int, Reach]) -> list[Reach]:
    """Shape and Size: known, since the sizes of the picture are."""
    return []


@dataclass(frozen=True)
class Over:
    """Computes something over `axes`, which then are gone where the operator `reduces` and keeps no dims."""

    axes: Axes
    reduces: bool = False

    def __call__(self, node: Node, read: Mapping[int, Reach]) -> Reach:
        reach = only(read)
        if reach.axis is None:
            return reach
        rank = rank_of(node.inputs[0])
        axes = {axis % rank for axis in self.axes(node, rank)}
        if reach.axis in axes:
            kept = None if self.reduces else reach.axis
            return reach.everywhere(f"{node.op} '{node.label()}' works over the whole picture", kept)
        if not self.reduces or node.attribute("keepdims", 1):
            return reach
        return reach.on(reach.axis - sum(axis < reach.axis for axis in axes))


@dataclass(frozen=True)
class Windowed:
    """A window slides over the dims behind batch and channels; `kernel` is the operand with the weights."""

    kernel: int | None = None
    data: int = 0

    def __call__(self, node: Node, read: Mapping[int, Reach]) -> Reach:
        reach = only(read, self.data)
        if reach.axis is None or reach.axis == 0:
            return reach
        index = reach.axis - 2
        if index < 0:
            raise Mixed("sums over the picture")
        size, stride, dilation = self._extent(node, index), *_steps(node, index)
        begin = _pads(node, self.data, reach.axis, (size - 1) * dilation + 1, stride)[0]
        return reach.through(stride, -begin, (size - 1) * dilation - begin)

    def _extent(self, node: Node, index: int) -> int:
        shape = node.attribute("kernel_shape")
        if shape:
            return int(shape[index])
        if self.kernel is None:
            raise Mixed("has no kernel_shape")
        return size_of(node.inputs[self.kernel], index + 2)


def _steps(node: Node, index: int) -> tuple[int, int]:
    """Stride and dilation along a spatial axis."""
    strides, dilations = node.attribute("strides"), node.attribute("dilations")
    return int(strides[index]) if strides else 1, int(dilations[index]) if dilations else 1


def _pads(node: Node, data: int, axis: int, extent: int, stride: int) -> tuple[int, int]:
    """Padding before and after, also where the operator chooses it by the size."""
    mode = node.attribute("auto_pad", "NOTSET") or "NOTSET"
    if mode == "VALID":
        return 0, 0
    if mode == "NOTSET":
        pads = node.attribute("pads") or [0] * (2 * (rank_of(node.inputs[data]) - 2))
        return int(pads[axis - 2]), int(pads[axis - 2 + len(pads) // 2])
    before, after = size_of(node.inputs[data], axis), size_of(node.outputs[0], axis)
    total = max((after - 1) * stride + extent - before, 0)
    less = total // 2
    return (less, total - less) if mode == "SAME_UPPER" else (total - less, less)


def transposed_window(node: Node, read: Mapping[int, Reach]) -> Reach:
    """ConvTranspose: element i of the operand goes to the elements i * stride - pad + k * dilation of the result."""
    reach = only(read)
    if reach.axis is None or reach.axis == 0:
        return reach
    index = reach.axis - 2
    if index < 0:
        raise Mixed("sums over the picture")
    stride, dilation = _steps(node, index)
    extent = (size_of(node.inputs[1], reach.axis) - 1) * dilation
    if node.attribute("output_shape") or (node.attribute("auto_pad", "NOTSET") or "NOTSET") not in ("NOTSET", "VALID"):
        raise Mixed("chooses its padding by the size of the picture")
    begin = _pads(node, 0, reach.axis, extent + 1, stride)[0]
    if begin > extent:
        raise Mixed("cuts off more than its kernel adds")
    spare = stride - 1  # elements that no input reaches count with the nearest ones
    return reach.through(Fraction(1, stride), Fraction(begin - extent - spare, stride), Fraction(begin + spare, stride))


# -- moving elements ---------------------------------------------------------------------------------------------------


def transposed(node: Node, read: Mapping[int, Reach]) -> Reach:
    """Transpose."""
    reach = only(read)
    if reach.axis is None:
        return reach
    perm = node.attribute("perm") or list(range(rank_of(node.inputs[0])))[::-1]
    return reach.on(list(perm).index(reach.axis))


def padded(node: Node, read: Mapping[int, Reach]) -> Reach:
    """Pad: moves elements on, or cuts some off."""
    reach = only(read)
    if reach.axis is None:
        return reach
    rank, given, chosen = rank_of(node.inputs[0]), parameter(node, "pads").numbers, parameter(node, "axes")
    if given is None or not chosen.known:
        raise Mixed("pads by amounts that only the run tells")
    axes = list(range(rank)) if chosen.numbers is None else [int(axis) % rank for axis in chosen.numbers]
    if reach.axis not in axes:
        return reach
    place = axes.index(reach.axis)
    begin, end = int(given[place]), int(given[place + len(axes)])
    if (begin or end) and node.attribute("mode", "constant") == "wrap":
        raise Mixed("wraps the picture around")
    return _cut(reach.through(1, -max(begin, 0), -max(begin, 0)), max(-begin, 0), max(-end, 0))


def _cut(reach: Reach, begin: int, end: int) -> Reach:
    """Elements cut off at both ends: what stands in their place later must lie outside of the picture as well."""
    return reach.through(1, 0, begin + end)


def sliced(node: Node, read: Mapping[int, Reach]) -> Reach:
    """Slice: from its beginning, so that tiles begin alike."""
    reach = only(read)
    if reach.axis is None:
        return reach
    rank = rank_of(node.inputs[0])
    starts, ends = parameter(node, "starts").numbers, parameter(node, "ends").numbers
    chosen, steps = parameter(node, "axes"), parameter(node, "steps")
    if starts is None or ends is None or not (chosen.known and steps.known):
        raise Mixed("cuts at places that only the run tells")
    axes = list(range(len(starts))) if chosen.numbers is None else [int(axis) % rank for axis in chosen.numbers]
    if reach.axis not in axes:
        return reach
    place, size = axes.index(reach.axis), size_of(node.inputs[0], reach.axis)
    step = int(steps.numbers[place]) if steps.numbers else 1
    if step < 1:
        raise Mixed("turns the picture around")
    start, end, _ = slice(int(starts[place]), int(ends[place]), step).indices(size)
    left = max(size - (start + max(end - start - 1, 0) // step * step) - 1, 0)
    return reach.through(step, 0, start + max(left - step + 1, 0) + step - 1)


def reshaped(node: Node, read: Mapping[int, Reach]) -> Reach:
    """Reshape, Flatten, Squeeze, Unsqueeze: the axis along the picture may be split, or stand outermost in a group."""
    reach = only(read)
    if reach.axis is None:
        return reach
    before = [size_of(node.inputs[0], axis) for axis in range(rank_of(node.inputs[0]))]
    after = [size_of(node.outputs[0], axis) for axis in range(rank_of(node.outputs[0]))]
    old, new = _group(before, after, reach.axis)
    if not new:
        raise Mixed("mixes the directions of the picture")
    if old[0] != reach.axis:
        raise Mixed("joins the picture with other dims")
    inner_old = prod(before[axis] for axis in old[1:])
    inner_new = prod(after[axis] for axis in new[1:])
    if len(new) > 1 and len(old) > 1 and inner_old != inner_new:
        raise Mixed("mixes the picture with other dims")
    if len(old) == len(new) == 1 or inner_old == inner_new:
        return reach.on(new[0])
    if len(new) == 1:  # o = i * inner + j
        return reach.through(Fraction(1, inner_old), Fraction(1 - inner_old, inner_old), 0).on(new[0])
    return reach.through(inner_new, 0, inner_new - 1).on(new[0])  # i = o * inner + j


def _group(before: Sequence[int], after: Sequence[int], axis: int) -> tuple[list[int], list[int]]:
    """The smallest runs of axes with equal products that have `axis` among the first; dims of 1 are left out."""
    old, new = [a for a, d in enumerate(before) if d != 1], [a for a, d in enumerate(after) if d != 1]
    i = j = 0
    while i < len(old) and j < len(new):
        first, second = [old[i]], [new[j]]
        i, j = i + 1, j + 1
        left, right = before[first[0]], after[second[0]]
        while left != right:
            if left < right and i < len(old):
                first.append(old[i])
                left, i = left * before[old[i]], i + 1
            elif right < left and j < len(new):
                second.append(new[j])
                right, j = right * after[new[j]], j + 1
            else:
                return [], []
        if axis in first:
            return first, second
    return [], []


def joined(node: Node, read: Mapping[int, Reach]) -> Reach:
    """Concat: beside each other, not one behind the other along the picture."""
    axis = int(node.attribute("axis", 1)) % rank_of(node.outputs[0])
    if any(reach.axis == axis for reach in read.values()):
        raise Mixed("joins parts of the picture")
    return join(node, read, len(node.inputs), broadcasts=False)


def split(node: Node, read: Mapping[int, Reach]) -> list[Reach]:
    """Split: all parts run along the picture alike."""
    reach = only(read)
    if reach.axis == int(node.attribute("axis", 0)) % rank_of(node.inputs[0]):
        raise Mixed("splits the picture")
    return [reach] * len(node.outputs)


def expanded(node: Node, read: Mapping[int, Reach]) -> Reach:
    """Expand and Tile: other axes get larger."""
    reach = only(read)
    if reach.axis is None:
        return reach
    axis = reach.axis + rank_of(node.outputs[0]) - rank_of(node.inputs[0])
    if size_of(node.outputs[0], axis) != size_of(node.inputs[0], reach.axis):
        raise Mixed("repeats the picture")
    return reach.on(axis)


def gathered(node: Node, read: Mapping[int, Reach]) -> Reach:
    """Gather: along another axis."""
    reach = only(read)
    if reach.axis is None:
        return reach
    axis = int(node.attribute("axis", 0)) % rank_of(node.inputs[0])
    if reach.axis == axis:
        raise Mixed("picks places of the picture")
    return reach.on(reach.axis + (rank_of(node.inputs[1]) - 1 if reach.axis > axis else 0))


def blocks(node: Node, read: Mapping[int, Reach]) -> Reach:
    """DepthToSpace and SpaceToDepth: blocks of channels become blocks of pixels, or the other way round."""
    reach, block = only(read), int(node.attribute("blocksize"))
    if reach.axis is None or reach.axis == 0:
        return reach
    if reach.axis == 1:
        raise Mixed("mixes the picture with its channels")
    if node.op == "SpaceToDepth":
        return reach.through(block, 0, block - 1)
    return reach.through(Fraction(1, block), Fraction(1 - block, block), 0)


# -- products ----------------------------------------------------------------------------------------------------------


def product(node: Node, read: Mapping[int, Reach]) -> Reach:
    """MatMul: a sum over the last axis of the first operand, and over the last but one of the second."""
    rank = rank_of(node.outputs[0])
    placed: dict[int, Reach] = {}
    for index, reach in read.items():
        own = rank_of(node.inputs[index])
        if min(rank_of(value) for value in node.inputs[:2]) < 2:
            raise Mixed("multiplies vectors")
        if reach.axis == own - 1 - index:
            raise Mixed("sums over the picture")
        placed[index] = reach if reach.axis is None else reach.on(reach.axis + rank - own)
    return _joined_products(node, placed, rank)


def _joined_products(node: Node, placed: Mapping[int, Reach], rank: int) -> Reach:
    along = {(reach.axis, reach.scale, reach.low, reach.high) for reach in placed.values() if reach.axis is not None}
    if len(along) > 1:
        raise Mixed("multiplies values that run along the picture in different ways")
    found = next((reach for reach in placed.values() if reach.axis is not None), next(iter(placed.values())))
    why = next((reach.reason for reach in placed.values() if reach.reason), "")
    if found.axis is not None and found.axis < rank - 2:
        for index in {0, 1} - set(placed):
            dims = node.inputs[index].dims or ()
            place = found.axis - rank + len(dims)
            if place >= 0 and dims[place] != 1:
                raise Mixed("multiplies each place by another matrix")
    return found if not why or found.reason else found.everywhere(why, found.axis)


def gemm(node: Node, read: Mapping[int, Reach]) -> Reach:
    """Gemm: rows of the first operand."""
    reach = only(read)
    if reach.axis is not None and reach.axis != (1 if node.attribute("transA", 0) else 0):
        raise Mixed("sums over the picture")
    return reach if reach.axis is None else reach.on(0)


# -- resampling --------------------------------------------------------------------------------------------------------

_SUPPORT = {"nearest": 1, "linear": 1, "cubic": 2, "bilinear": 1}


def resampled(node: Node, read: Mapping[int, Reach]) -> Reach:
    """Resize and Upsample: a place o comes from around step * o + offset."""
    reach = only(read)
    if reach.axis is None:
        return reach
    factor = _factor(node, reach.axis)
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Mixed("chooses its scale by the size of the picture")
    if factor == 1:
        return reach
    step = 1 / factor
    how = node.attribute("coordinate_transformation_mode", "half_pixel") if node.version >= 11 else "asymmetric"
    mode = str(node.attribute("mode", "nearest"))
    exact = size_of(node.outputs[0], reach.axis) == size_of(node.inputs[0], reach.axis) * factor
    if how in ("half_pixel", "pytorch_half_pixel") or (how == "half_pixel_symmetric" and exact):
        offset = (step - 1) / 2
    elif how == "asymmetric":
        offset = Fraction(0)
    else:
        raise Mixed(f"places samples by the size of the picture ({how})")
    if mode not in _SUPPORT:
        raise Mixed(f"samples by an unknown mode ({mode})")
    support = Fraction(_SUPPORT[mode])
    if node.attribute("antialias", 0) and step > 1:
        support = support * step + 1
    found = reach.through(step, offset - support, offset + support)
    binary = all(number & (number - 1) == 0 for number in (step.numerator, step.denominator))
    if binary or reach.rounds:
        return found
    return Reach(found.axis, found.scale, found.low, found.high, found.reason, f"{node.op} '{node.label()}'")


def _factor(node: Node, axis: int) -> Fraction:
    """By how much the axis grows: the scale as it is written, else the ratio of the sizes."""
    scales, axes = parameter(node, "scales"), node.attribute("axes")
    rank = rank_of(node.inputs[0])
    places = list(range(rank)) if axes is None else [int(each) % rank for each in axes]
    if axis not in places:
        return Fraction(1)
    if scales.numbers:
        return Fraction(scales.numbers[places.index(axis)]).limit_denominator(1 << 12)
    return Fraction(size_of(node.outputs[0], axis), size_of(node.inputs[0], axis))
