"""Channels of one graph chosen, padded and reported: the whole of the work of the `pad-channels` pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.channels import report
from onnx_opt.channels.analysis import Channels
from onnx_opt.channels.apply import apply
from onnx_opt.channels.choose import Choice, choose
from onnx_opt.channels.layers import Layer
from onnx_opt.ir import Origin

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node
    from onnx_opt.journal import Table
    from onnx_opt.passes import PassContext
    from onnx_opt.target import CostModel

RULE = "pad-channels"


def pad(
    graph: Graph,
    context: PassContext,
    multiple: int | None,
    inputs: bool,
    max_overhead: float | None,
    model: CostModel | None,
    table: Table,
) -> None:
    """Pad the channels of a graph, and record for every layer what was done or why not; `table` gets a row for each."""
    channels = Channels(graph, with_inputs=inputs)
    if not channels.layers:
        return
    choice = choose(channels, context.target, multiple, model, max_overhead)
    _admit(choice, context)
    found = report.rows(channels, choice.costs, context.target, multiple)
    for layer, row in zip(channels.layers, found, strict=True):
        if row.reason:
            context.declined(RULE, layer.node, row.reason)
    table.rows += [row.cells() for row in found]
    if choice.order:
        with graph.model.transaction():
            apply(channels, choice.contents, RULE)


def new_table() -> Table:
    """A table for the layers of a model."""
    return report.new_table()


def says_more(table: Table, before: Table | None) -> bool:
    """Whether this run, and not an earlier one, is what the user wants to read of."""
    return bool(table.rows) and (before is None or any(row[2] for row in table.rows))


def _admit(choice: Choice, context: PassContext) -> None:
    """Ask for each leaf; each is a rewrite of its own, since each could be left out."""
    refused = []
    for leaf, layers in choice.order.items():
        if context.admit(f"{RULE} {leaf.size}", layers[0].node):
            nodes = _nodes(layers)
            origin = Origin.merge(RULE, [node.origin for node in nodes])
            values = [value.name for node in nodes for value in node.outputs if value.name]
            context.applied(RULE, [node.label() for node in nodes], origin, values)
        else:
            refused.append(leaf)
    if refused:
        choice.drop(refused, "it was taken back, or a search for a wrong rewrite left it out")


def _nodes(layers: list[Layer]) -> list[Node]:
    return list(dict.fromkeys(layer.node for layer in layers))
