"""Receptive fields: which pixels of a picture each element of each value is computed from.

Along one direction of the picture, element o of a value depends on the pixels

    scale * o + low  ...  scale * o + high

and on no others (Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", 2019, with
rational scales, so that upsampling has one too). `scale` is the stride of the value in pixels. The bounds also hold
for positions that padding makes up: whatever is padded at the border of a tile lies outside of the tile.

What has no such bounds, such as a mean over the picture, gets a reason instead. Sizes must be known: the graph is one
whose inputs have fixed shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING

from onnx_opt import traits

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value

TRAIT = "receptive"
traits.define(TRAIT, "which elements along an axis a result is computed from (a Locality)")


@dataclass(frozen=True)
class Reach:
    """How a value runs along one direction of the picture.

    `axis` is the axis of the value that does, None where none does. `reason` says why elements depend on pixels out of
    bounds, '' where they don't. `rounds` names what computes positions in floating point, so that far from the origin
    they round otherwise.
    """

    axis: int | None
    scale: Fraction = Fraction(1)
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)
    reason: str = ""
    rounds: str = ""

    def on(self, axis: int | None) -> Reach:
        """The same along another axis."""
        return replace(self, axis=axis)

    def through(self, step: Fraction | int, low: Fraction | int, high: Fraction | int) -> Reach:
        """Of a result whose element o reads the elements step * o + low to step * o + high of this value."""
        return replace(
            self, scale=self.scale * step, low=self.low + self.scale * low, high=self.high + self.scale * high
        )

    def everywhere(self, reason: str, axis: int | None = None) -> Reach:
        """Of a result that depends on all of the picture; `axis` is the axis that still runs along it."""
        return replace(self, axis=axis, reason=self.reason or reason)


class Mixed(Exception):
    """A node mixes what is far apart; the message completes a sentence that begins with the operator."""


Locality = Callable[["Node", Mapping[int, Reach]], "Reach | list[Reach]"]
"""From a node, and how those of its operands run along the picture that depend on it, to its result (or results).
Raises Mixed."""


@dataclass(frozen=True)
class Fields:
    """The reach of every value that depends on the picture, for one direction of it."""

    reaches: Mapping[Value, Reach]

    @property
    def alignment(self) -> int:
        """Pixels by whose multiples the picture may be shifted so that every value is shifted by whole elements."""
        local = (reach for reach in self.reaches.values() if reach.axis is not None and not reach.reason)
        return lcm(*(reach.scale.numerator for reach in local))


def receptive_fields(graph: Graph, picture: Value, axis: int) -> Fields:
    """How all values run along `axis` of the input `picture`; all sizes must be known."""
    reaches: dict[Value, Reach] = {picture: Reach(axis)}
    for node in graph:
        read = {index: reaches[value] for index, value in enumerate(node.inputs) if value in reaches}
        captured = next((reaches[value] for value in _captured(node) if value in reaches), None)
        if captured is not None:
            results = [captured.everywhere(f"{_named(node)} runs a subgraph on the picture")] * len(node.outputs)
        elif not read:
            continue
        else:
            results = _results(node, read)
        for value, reach in zip(node.outputs, results, strict=False):
            if value.name and value.constant is None:
                reaches[value] = reach
    return Fields(reaches)


def _results(node: Node, read: Mapping[int, Reach]) -> list[Reach]:
    """The reach of each result."""
    try:
        found = _locality(node)(node, read)
    except Mixed as why:
        found = next(iter(read.values())).everywhere(f"{_named(node)} {why}")
    if isinstance(found, list):
        return found
    others = found.everywhere(f"the further results of {_named(node)} are not followed")
    return [found, *[others] * (len(node.outputs) - 1)]


def _locality(node: Node) -> Locality:
    known: Locality | None = traits.ask(node.domain, node.op, TRAIT)
    if known is not None and traits.is_known(node):
        return known
    if traits.is_elementwise(node.domain, node.op) and traits.is_pure(node):
        return pointwise
    raise Mixed("is not known to work on neighbouring pixels only")


def _named(node: Node) -> str:
    return f"{node.op} '{node.label()}'"


def _captured(node: Node) -> list[Value]:
    """The values of this graph that subgraphs of the node read."""
    found = []
    for _, _, body in node.bodies:
        for scope in body.nested():
            found += [value for inner in scope for value in inner.inputs if value.graph is node.graph]
    return found


# -- what rows of the table are made of --------------------------------------------------------------------------------


def size_of(value: Value, axis: int) -> int:
    """The size of a value along an axis; Mixed where it is unknown."""
    dims = value.dims
    if dims is None or not -len(dims) <= axis < len(dims) or not isinstance(dims[axis], int):
        raise Mixed("has operands or results of unknown size")
    return int(dims[axis])


def rank_of(value: Value) -> int:
    """The number of dims; Mixed where it is unknown."""
    if value.rank is None:
        raise Mixed("has operands or results of unknown rank")
    return value.rank


def only(read: Mapping[int, Reach], index: int = 0) -> Reach:
    """The reach of the one operand that may depend on the picture."""
    if set(read) != {index}:
        raise Mixed("takes parameters that depend on the picture")
    return read[index]


def join(node: Node, read: Mapping[int, Reach], operands: int, broadcasts: bool = True) -> Reach:
    """Of a result that is computed from elements at the same place, those of the first `operands` operands; those of
    lower rank broadcast."""
    rank = rank_of(node.outputs[0]) if broadcasts else 0
    placed = []
    for index, reach in read.items():
        if index >= operands:
            raise Mixed("takes parameters that depend on the picture")
        shift = rank - rank_of(node.inputs[index]) if broadcasts else 0
        placed.append(reach if reach.axis is None else reach.on(reach.axis + shift))
    along = [reach for reach in placed if reach.axis is not None]
    if not along:
        return _first_reason(placed)
    if len({(reach.axis, reach.scale) for reach in along}) > 1:
        raise Mixed("joins values that run along the picture in different ways")
    whole = replace(
        along[0],
        low=min(reach.low for reach in along),
        high=max(reach.high for reach in along),
        reason=next((reach.reason for reach in placed if reach.reason), ""),
        rounds=next((reach.rounds for reach in placed if reach.rounds), ""),
    )
    assert whole.axis is not None
    for index in range(min(operands, len(node.inputs))):
        if index not in read and node.inputs[index].name and _varies(node.inputs[index], whole.axis, rank):
            what = f"{_named(node)} takes '{node.inputs[index].name}', which varies over the picture by itself"
            return whole.everywhere(what, whole.axis)
    return whole


def _first_reason(reaches: list[Reach]) -> Reach:
    return next((reach for reach in reaches if reach.reason), reaches[0])


def _varies(value: Value, axis: int, rank: int) -> bool:
    """Whether a value that does not depend on the picture has more than one element along its direction."""
    dims = value.dims
    if dims is None:
        return True
    place = axis - (rank - len(dims)) if rank else axis
    return 0 <= place < len(dims) and dims[place] != 1


def pointwise(node: Node, read: Mapping[int, Reach]) -> Reach:
    """Elements of the result come from elements at the same place."""
    arity = traits.elementwise_arity(node.domain, node.op)
    return join(node, read, len(node.inputs) if arity in (0, traits.VARIADIC) else arity)
