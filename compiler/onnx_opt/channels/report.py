"""What was padded and what was left, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt.channels.choose import BESIDE_FIXED
from onnx_opt.channels.layers import Layer, misaligned, multiple_for, product_of, unfit
from onnx_opt.channels.segments import Layout, padded_size, segments, size_of
from onnx_opt.journal import Table

if TYPE_CHECKING:
    from onnx_opt.channels.analysis import Channels
    from onnx_opt.channels.cost import Costs, Entry
    from onnx_opt.target import Target


@dataclass(frozen=True)
class LayerRow:
    """One layer: channels (taken, given; of one group) before and after, what padding adds, why it is not aligned."""

    name: str
    op: str
    before: tuple[int | None, int | None]
    after: tuple[int | None, int | None]
    flops_added: float
    bytes_added: float
    reason: str

    def cells(self) -> list[str]:
        """The row for a table."""
        from onnx_opt.report import human_bytes, human_count

        sizes = [" -> ".join("?" if size is None else str(size) for size in pair) for pair in (self.before, self.after)]
        padded = self.before != self.after
        return [
            f"{self.name} ({self.op})",
            sizes[0],
            sizes[1] if padded else "",
            human_count(self.flops_added) if padded else "",
            human_bytes(self.bytes_added) if padded else "",
            self.reason,
        ]


def new_table() -> Table:
    """A table for the cells of rows."""
    return Table(["layer", "channels", "padded to", "FLOPs added", "bytes added", "left because"])


def rows(channels: Channels, costs: Costs, target: Target, multiple: int | None) -> list[LayerRow]:
    """A row for each layer, with the leaves as they are now."""
    entries = {entry.node: entry for entry in costs.entries if entry.layer is not None}
    stops = channels.stops
    return [_row(layer, entries[layer.node], target, multiple, stops.get(layer.node, "")) for layer in channels.layers]


def _row(layer: Layer, entry: Entry, target: Target, multiple: int | None, stop: str) -> LayerRow:
    node, product = layer.node, product_of(layer.node)
    before = product.channels
    after = (_after(layer.takes, before[0]), _after(layer.gives, before[1]))
    plain = entry.flops, sum(count for count, _ in entry.moved)
    why = unfit(node, target, multiple)
    if why or after[0] is None or after[1] is None:
        reason = why
    else:
        reason = misaligned(node, after[0], after[1], multiple_for(node, target, multiple))
        if reason:
            reason = "; ".join([reason, *([stop] if stop else _reasons(layer, multiple_for(node, target, multiple)))])
    return LayerRow(
        name=node.label(),
        op=node.op,
        before=before,
        after=after,
        flops_added=entry.flops * entry.growth() - plain[0],
        bytes_added=entry.bytes() - plain[1],
        reason=reason,
    )


def _after(layout: Layout | None, size: int | None) -> int | None:
    return size if layout is None or size is None else size + padded_size(layout) - size_of(layout)


def _reasons(layer: Layer, multiple: int) -> dict[str, None]:
    """Why the leaves of a layer that keep it from being aligned have no padding."""
    found: dict[str, None] = {}
    for layout in (layer.takes, layer.gives):
        if layout is None:
            found["both operands are computed: the columns of the result are no channels"] = None
            continue
        if padded_size(layout) % multiple:
            for leaf, inner in segments(layout):
                if leaf.padded * inner % multiple:
                    found[leaf.reason or BESIDE_FIXED] = None
    return found
