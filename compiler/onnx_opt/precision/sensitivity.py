"""How much each node loses in half precision by itself: one run of an instrumented FP32 model measures all of them.

Beside each node stands its twin: the same operator on the same operands, rounded to half precision, its result rounded
too. What is measured is

    ||twin - node|| / ||node||      (Euclidean norms over all elements)

per result, Inf where the twin is Inf or NaN and the node is not; of integers and booleans the share that differs. The
FP32 results go on to the next node, so that every node is judged on the operands it would have had, and a loss is
charged to the node that causes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto, TensorProto

from onnx_opt import traits
from onnx_opt.precision.formats import Format
from onnx_opt.precision.probe import Probe, may_be_empty, subgraphs
from onnx_opt.precision.roundtrips import Rounder
from onnx_opt.validate.source import Source

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value

_COUNTED = frozenset({TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64})
"""Results besides floating-point ones of which the share that differs is taken."""
_SIZES = frozenset({"Shape", "Size"})
"""Operators that look at no element."""
OLDEST_OPSET = 11
"""Before it, Equal takes no floating-point numbers."""


def instrumented(
    graph: Graph,
    source: Source,
    form: Format,
    sums: frozenset[str],
    floors: Mapping[str, float] | None = None,
    keep: Collection[Node] = (),
) -> tuple[Source, list[Node]]:
    """The model with one more output, the last: the loss of each result of the listed nodes in turn (a node with two
    results is listed twice).

    `source` is `graph` as a model. Nodes that give something else in every run, or nothing that can be compared, have
    no twin. `floors` are the least half numbers that stand in values where half precision has a substitute for what it
    does not hold (see `Substitutes`); values that hold masks are not compared. What is to `keep` FP32 inside of a
    subgraph does so in the twin.
    """
    probe, floors = Probe(source), floors or {}
    twins = _Twins(probe, form, sums, floors, keep)
    listed: list[Node] = []
    for known, node in zip(graph, probe.originals, strict=True):
        wanted = [value for value in known.outputs if _is_compared(value)] if _has_twin(known) else []
        wanted = [value for value in wanted if floors.get(value.name, 0.0) >= 0.0]
        if not wanted:
            probe.nodes.append(node)
            continue
        twin = twins.of(known, node)
        names = {value.name: index for index, value in enumerate(known.outputs)}
        renamed = [probe.renamed_result(node, names[value.name], value) for value in wanted]
        probe.nodes.append(node)
        probe.nodes += twin
        for value, name in zip(wanted, renamed, strict=True):
            loss = loss_of(probe, value, name, twins.results[value.name])
            probe.keep(loss)
            probe.hand_over(name, value, [loss])
            listed.append(known)
    return probe.finished(), listed


def losses(listed: list[Node], vector: np.ndarray) -> Mapping[Node, float]:
    """The worst loss of each listed node."""
    found: dict[Node, float] = {}
    for node, loss in zip(listed, vector.tolist(), strict=True):
        found[node] = max(found.get(node, 0.0), np.inf if np.isnan(loss) else loss)
    return found


def _has_twin(node: Node) -> bool:
    """Whether a second node beside it would do the same, and rounding concerns it at all."""
    if not (traits.is_pure(node) or traits.carries_bodies(node)) and not _is_call(node):
        return False
    return node.op not in _SIZES and (any(_is_rounded(value) for value in node.inputs) or bool(node.bodies))


def _is_call(node: Node) -> bool:
    return node.graph is not None and node.graph.model.function(node) is not None


def _is_rounded(value: Value) -> bool:
    return bool(value.name) and value.elem_type == TensorProto.FLOAT


def _is_compared(value: Value) -> bool:
    if not value.name or value.constant is not None:
        return False
    return _is_rounded(value) or (value.elem_type in _COUNTED and value.content is None)


class _Twins:
    """Makes the twins of nodes."""

    def __init__(
        self, probe: Probe, form: Format, sums: frozenset[str], floors: Mapping[str, float], keep: Collection[Node]
    ) -> None:
        self.probe, self.form, self.sums, self.floors, self.keep = probe, form, sums, floors, keep
        self.results: dict[str, str] = {}
        """Result of a node -> the twin's."""
        self._operands: dict[str, str] = {}

    def of(self, known: Node, node: NodeProto) -> list[NodeProto]:
        """The nodes of the twin; `results` then knows what they compute."""
        twin = NodeProto()
        twin.CopyFrom(node)
        twin.name = f"{self.probe.fresh()}.twin"
        rounder = Rounder(self.probe.fresh, self.probe.opset, self.sums)
        for index, value in enumerate(known.inputs):
            if _is_rounded(value):
                twin.input[index] = self._rounded(rounder, value.name)
        halves = {}
        for index, value in enumerate(known.outputs):
            if value.name:
                self.results[value.name] = twin.output[index] = self.probe.fresh()
                self.probe.declare(twin.output[index], value)
                if _is_rounded(value):
                    halves[twin.output[index]] = self.form.elem_type
        self._round_bodies(known, twin)
        rounder.node(twin, halves, known.inputs[0].rank if known.inputs else None)
        return rounder.made

    def _rounded(self, rounder: Rounder, name: str) -> str:
        if name not in self._operands:
            value = name
            if name in self.floors:
                value = self._raised(rounder, name)
            self._operands[name] = rounder.rounded(value, self.form.elem_type)
        return self._operands[name]

    def _raised(self, rounder: Rounder, name: str) -> str:
        """A masked value from the lowest half number on; of one with an epsilon, what is positive from the least on."""
        floor = self.floors[name]
        raised = rounder.add("Max", [name, self.probe.constant(np.float32(floor))])
        if floor < 0:
            return raised
        positive = rounder.add("Greater", [name, self.probe.constant(np.float32(0))])
        return rounder.add("Where", [positive, raised, name])

    def _round_bodies(self, known: Node, twin: NodeProto) -> None:
        """Round after every node in the subgraphs of a twin, however deep."""
        pairs = [(body, proto) for (_, _, body), proto in zip(known.bodies, subgraphs(twin), strict=True)]
        for graph, proto in pairs:  # grows while it is walked
            for inner, node in zip(graph, proto.node, strict=True):
                pairs += [(body, g) for (_, _, body), g in zip(inner.bodies, subgraphs(node), strict=True)]
        for graph, proto in reversed(pairs):  # inner ones first: what an outer one writes are copies
            rounder = Rounder(self.probe.fresh, self.probe.opset, self.sums)
            for inner, node in zip(graph, proto.node, strict=True):
                rounded = () if inner in self.keep else filter(_is_rounded, inner.outputs)
                halves = {value.name: self.form.elem_type for value in rounded}
                rounder.node(node, halves, inner.inputs[0].rank if inner.inputs else None)
            del proto.node[:]
            proto.node.extend(rounder.made)


def loss_of(probe: Probe, value: Value, name: str, twin: str) -> str:
    """The name of the scalar loss of the result `value`, called `name` in the model, and `twin` in its twin."""
    empty = may_be_empty(value.dims)
    same = probe.add("Equal", twin, name)
    if value.elem_type != TensorProto.FLOAT:
        return probe.reduced("ReduceMean", probe.add("Cast", probe.add("Not", same), to=TensorProto.FLOAT), empty)
    # Equal infinities differ by nothing; what is Inf or NaN in the twin alone makes the norm so.
    distance = probe.add("Where", same, probe.constant(np.float32(0)), probe.add("Sub", twin, name))
    norms = [probe.reduced("ReduceL2", each, empty) for each in (distance, name)]
    tiny = probe.constant(np.float32(np.finfo(np.float32).tiny))
    return probe.add("Div", norms[0], probe.add("Max", norms[1], tiny))
