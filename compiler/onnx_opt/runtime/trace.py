"""From a graph that ONNX Runtime made back to the nodes of the file that it was made from.

ONNX Runtime keeps no record of what it fuses. But fused or not, a node computes its outputs from its inputs, and most
values keep their names: what lies between them in the file is what the node computes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt.validate.walk import all_nodes

if TYPE_CHECKING:
    import onnx

_ADDED = re.compile(r"(_nchwc|_nhwc|_token_\d+|/\w*Fusion/?)$")
_CAST = "InsertedPrecisionFreeCast_"
"""What ONNX Runtime adds to the names of the nodes that it makes: for a layout, a number, an optimization, a type."""


@dataclass(frozen=True)
class Step:
    """A node: what it is called, and which values it reads and gives."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def steps_of(model: onnx.ModelProto) -> list[Step]:
    """The nodes of a model, those of subgraphs and functions included."""
    return [Step(node.name, node.op_type, tuple(node.input), tuple(node.output)) for node in all_nodes(model)]


def trace(file: Sequence[Step], graph: Sequence[Step]) -> dict[str, list[str]]:
    """Node of the graph that ran -> the nodes of the file that it computes: those between its inputs and its outputs.

    Values that the graph still has by their names bound the search, so each node is looked at about once.
    """
    producers = {name: node for node in file for name in node.outputs if name}
    meant = _meant(file, graph)
    kept = {meant.get(name, name) for node in graph for name in (*node.inputs, *node.outputs)}
    found: dict[str, list[str]] = {}
    for node in graph:
        given = {meant.get(name, name) for name in node.inputs}
        pending = [name for output in node.outputs if (name := meant.get(output, output)) not in given]
        inside: dict[str, None] = {}
        while pending:
            producer = producers.get(pending.pop())
            if producer is None or producer.name in inside:
                continue
            if producer.op != "Constant":
                inside[producer.name] = None
            pending += [name for name in producer.inputs if name not in kept]
        found[node.name] = list(reversed(inside))
    return found


def _meant(file: Sequence[Step], graph: Sequence[Step]) -> dict[str, str]:
    """Value of the graph that ran, under a name of its own -> the value of the file that it is in another layout or
    precision: ONNX Runtime calls its nodes by the value that they compute, or by the node that they replace."""
    nodes = {node.name: node for node in file}
    values = {name for node in nodes.values() for name in (*node.inputs, *node.outputs)}
    found: dict[str, str] = {}
    for node in graph:
        base = _base(node.name)
        if node.op == "ReorderInput":
            found[node.outputs[0]] = found.get(node.inputs[0], node.inputs[0])
        elif not node.outputs or node.outputs[0] in values:
            continue
        elif base in values:
            found[node.outputs[0]] = base
        elif base in nodes:
            pairs = zip(node.outputs, nodes[base].outputs, strict=False)
            found |= {name: original for name, original in pairs if name and name not in values}
    return found


def _base(name: str) -> str:
    """A node's name without what ONNX Runtime adds to it."""
    name = name.removeprefix(_CAST)
    while (shorter := _ADDED.sub("", name)) != name:
        name = shorter
    return name
