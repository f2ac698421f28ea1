"""Which channels to pad: all that layers want aligned, less what consumers can't take in and what does not pay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd, lcm
from typing import TYPE_CHECKING

from onnx_opt.channels.cost import Costs
from onnx_opt.channels.holes import Contents, settle
from onnx_opt.channels.layers import INPUT_CHANNELS, Layer, multiple_for, unfit
from onnx_opt.channels.segments import Layout, Leaf, leaves, padded_size, segments

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.target import CostModel, Target

BESIDE_FIXED = "the channels beside them are fixed"
ROUNDS = 4
"""Taking padding away can make other padding pay less. Few models need a second round."""


@dataclass
class Choice:
    """What is padded is said by the leaves. `order` are those with padding, each with the layers that touch it."""

    contents: Contents
    order: dict[Leaf, list[Layer]]
    costs: Costs

    def drop(self, leaves: Iterable[Leaf], reason: str) -> None:
        """Leave leaves as they are, though they could be padded."""
        for leaf in leaves:
            _drop(leaf, reason)
        self.contents = settle(self.contents.channels)
        self.order = {each: layers for each, layers in self.order.items() if each.padded != each.size}


def choose(
    channels: Channels, target: Target, multiple: int | None, model: CostModel | None, max_overhead: float | None
) -> Choice:
    """Set the padded sizes of all leaves."""
    wishes = Wishes(channels, target, multiple)
    wishes.grant()
    costs = Costs(channels)
    settle(channels)
    wanted = wishes.granted()
    if model is not None:
        _weigh(wanted, costs, model)
    if max_overhead is not None:
        _limit(wanted, costs, model, max_overhead)
    wishes.drop_useless()
    contents = settle(channels)
    return Choice(contents, wishes.granted(), costs)


class Wishes:
    """The dims that layers want to be multiples of something."""

    def __init__(self, channels: Channels, target: Target, multiple: int | None):
        self.dims: list[tuple[Layout, int]] = []
        self.dims_of: dict[Leaf, list[int]] = {}
        """Which of `dims` a leaf is part of."""
        self.layers_of: dict[Leaf, list[Layer]] = {}
        for layer in channels.layers:
            each = multiple_for(layer.node, target, multiple)
            if each >= 2 and not unfit(layer.node, target, multiple):
                for layout in _dims(layer):
                    self._add(layer, layout, each)

    def _add(self, layer: Layer, layout: Layout, multiple: int) -> None:
        for leaf in leaves(layout):
            self.dims_of.setdefault(leaf, []).append(len(self.dims))
            layers = self.layers_of.setdefault(leaf, [])
            if layers[-1:] != [layer]:
                layers.append(layer)
        self.dims.append((layout, multiple))

    def granted(self) -> dict[Leaf, list[Layer]]:
        """The leaves with padding, and the layers that they are part of."""
        return {leaf: layers for leaf, layers in self.layers_of.items() if leaf.padded != leaf.size}

    def grant(self) -> None:
        """Pad leaves until every dim is aligned that can be. Padding a leaf for one layer may bring another one out of
        alignment, which then wants the leaves beside it padded too."""
        work = dict.fromkeys(reversed(range(len(self.dims))))
        while work:
            number, _ = work.popitem()
            for leaf in _demand(*self.dims[number]):
                work.update(dict.fromkeys(self.dims_of[leaf]))

    def drop_useless(self) -> None:
        """Take away padding that makes no dim aligned, because leaves beside it have none."""
        for leaf in self.granted():
            mine = [self.dims[number] for number in self.dims_of[leaf]]
            if not leaf.at_input and all(padded_size(layout) % multiple for layout, multiple in mine):
                _drop(leaf, BESIDE_FIXED)


def _demand(layout: Layout, multiple: int) -> list[Leaf]:
    """Ask the leaves of a dim that is not aligned for their part in it; returns those that give more than before."""
    row = list(segments(layout))
    fixed = sum(leaf.size * inner for leaf, inner in row if leaf.pin)
    if fixed % multiple or padded_size(layout) % multiple == 0:
        return []
    changed = []
    for leaf, inner in row:
        part = multiple // gcd(multiple, inner)
        if not leaf.pin and leaf.multiple % part:
            leaf.multiple = lcm(leaf.multiple, part)
            leaf.padded = _padded(leaf)
            changed.append(leaf)
    return changed


def _dims(layer: Layer) -> Iterable[Layout]:
    return [layout for layout in (layer.takes, layer.gives) if layout is not None]


def _padded(leaf: Leaf) -> int:
    if leaf.at_input and leaf.size <= INPUT_CHANNELS and leaf.multiple % INPUT_CHANNELS == 0:
        return INPUT_CHANNELS
    return -(-leaf.size // leaf.multiple) * leaf.multiple


def _drop(leaf: Leaf, reason: str) -> None:
    leaf.padded, leaf.refusal = leaf.size, reason


def _weigh(wanted: Iterable[Leaf], costs: Costs, model: CostModel) -> None:
    """Take away, one after the other, what the model says costs as much as it gains."""
    for _ in range(ROUNDS):
        changed = False
        for leaf in wanted:
            if leaf.padded == leaf.size:
                continue
            gain = _gain(leaf, costs, model)
            if gain <= 0:
                padded = f"padding {leaf.size} channels to {_padded(leaf)}"
                _drop(leaf, f"{padded} does not pay: {_seconds(-gain)} slower by the model")
                changed = True
        if not changed:
            return


def _gain(leaf: Leaf, costs: Costs, model: CostModel) -> float:
    """Seconds that the padding of a leaf saves, everything else as it is."""
    padded = leaf.padded
    after = costs.seconds_around(leaf, model)
    leaf.padded = leaf.size
    before = costs.seconds_around(leaf, model)
    leaf.padded = padded
    return before - after


def _seconds(seconds: float) -> str:
    return f"{max(seconds, 0) * 1e6:.3g} us"


def _limit(wanted: Iterable[Leaf], costs: Costs, model: CostModel | None, percent: float) -> None:
    """Take padding away until operations and bytes grow by no more than `percent`, what gains least for what it adds
    first."""
    held = [leaf for leaf in wanted if leaf.padded != leaf.size]
    flops, moved = costs.totals()
    without = _without(held, costs)
    ranked = sorted(held, key=lambda leaf: _worth(leaf, costs, model))
    for leaf in ranked:
        if flops <= without[0] * (1 + percent / 100) and moved <= without[1] * (1 + percent / 100):
            return
        before = costs.around(leaf)
        _drop(leaf, f"padding {leaf.size} channels to {leaf.padded} would add more than {percent:g}% to the model")
        after = costs.around(leaf)
        flops, moved = flops - before[0] + after[0], moved - before[1] + after[1]


def _without(held: Iterable[Leaf], costs: Costs) -> tuple[float, float]:
    """Operations and bytes of the model without any padding."""
    padded = [(leaf, leaf.padded) for leaf in held]
    for leaf, _ in padded:
        leaf.padded = leaf.size
    found = costs.totals()
    for leaf, size in padded:
        leaf.padded = size
    return found


def _worth(leaf: Leaf, costs: Costs, model: CostModel | None) -> float:
    """What a leaf gains for the share that it adds; without a model, the less it adds the better."""
    added = leaf.padded / leaf.size - 1
    return -added if model is None else _gain(leaf, costs, model) / added
