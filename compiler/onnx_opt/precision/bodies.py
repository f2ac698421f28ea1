"""Measuring inside of If, Loop and Scan: what a subgraph measures leaves it as one more result of its node.

A branch gives a vector, with zeros for what the other branch measures. The body of a loop gives one in every iteration,
which the node stacks; the largest magnitudes over all iterations count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.precision.control import SCAN_WITHOUT_BATCH
from onnx_opt.precision.probe import Probe, subgraphs

if TYPE_CHECKING:
    import onnx

    from onnx_opt.ir import Graph, Node

Instrument = Callable[[Probe, "Graph"], list[str]]
"""Measures in a graph; the names of what is measured, two numbers for each."""

DEEPEST = 16
"""Levels of subgraphs inside of each other that are measured."""
_AXES_AS_OPERAND = 18


def instrument(probe: Probe, known: Node, node: onnx.NodeProto, measure: Instrument) -> list[str]:
    """Append `node` (which is `known`) to the probe, with measurements inside of it; the names of what is measured."""
    if probe.depth == DEEPEST or not _is_measured(known):
        probe.nodes.append(node)
        return []
    inner = [probe.inside(proto) for proto in subgraphs(node)]
    names = [measure(each, body) for each, (_, _, body) in zip(inner, known.bodies, strict=True)]
    if known.op == "If":
        _pad(inner, [2 * len(found) for found in names])
    for each in inner:
        each.close(probe.fresh())
    vector = probe.fresh()
    node.output.append(vector)
    probe.nodes.append(node)
    probe.measured.append(vector if known.op == "If" else _over_iterations(probe, vector, 2 * len(names[0])))
    return [name for found in names for name in found]


def _is_measured(node: Node) -> bool:
    if node.domain or not node.bodies:
        return False
    given = len(node.bodies[0][2].outputs) - (node.op == "Loop")
    if len(node.outputs) != given:  # one more result would be taken for one that is left out
        return False
    # What a Scan says of the order of its results would have to speak of one more.
    plain = not node.attribute("scan_output_directions") and not node.attribute("scan_output_axes")
    return node.op in ("If", "Loop") or (node.op == "Scan" and node.version >= SCAN_WITHOUT_BATCH and plain)


def _pad(branches: list[Probe], sizes: list[int]) -> None:
    """Zeros before and after what each branch measures, in place of the others."""
    for place, branch in enumerate(branches):
        before, after = (np.zeros(sum(part), np.float32) for part in (sizes[:place], sizes[place + 1 :]))
        branch.measured = [branch.constant(before), *branch.measured, branch.constant(after)]


def _over_iterations(probe: Probe, stacked: str, size: int) -> str:
    """The largest magnitudes of a stack of vectors; 0 where there were no iterations."""
    none = probe.constant(np.zeros((1, size), np.float32))
    magnitudes = probe.add("Concat", none, probe.add("Abs", stacked), axis=0)
    if probe.opset >= _AXES_AS_OPERAND:
        return probe.add("ReduceMax", magnitudes, probe.constant(np.zeros(1, np.int64)), keepdims=0)
    return probe.add("ReduceMax", magnitudes, axes=[0], keepdims=0)
