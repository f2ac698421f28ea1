"""Activation memory over one run of a graph, and what each of its nodes costs, at given sizes of the dynamic dims.

The model of memory is the one that all runtimes share: a value is held from the node that computes it to the last
that reads it. Inputs are the caller's and outputs are handed to the caller, so these are held to the end. Views
(Reshape and its like) hold nothing of their own. Weights are not activations, nor is what is computed of them alone.
What a runtime does beyond that (computing in place, workspaces of kernels, rounding up of blocks) is not in the
figures: they compare graphs, not runtimes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from onnx_opt import traits
from onnx_opt.ir import Constant
from onnx_opt.layout.weigh import Weights
from onnx_opt.report import flops_at

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
"""Operators whose result is their first operand's memory."""
_UNNAMED = re.compile(r"(.*)\[(\d+)\]")
"""How validation calls a dim that the model gives no name: input[axis]."""


@dataclass(frozen=True)
class Memory:
    """`live[i]` are the bytes held while node `i` of the main graph runs; `unknown` counts the values of unknown rank,
    which are in no figure."""

    nodes: list[str]
    live: list[int]
    unknown: int

    @property
    def peak(self) -> int:
        """The most bytes held at once."""
        return max(self.live, default=0)

    @property
    def peak_node(self) -> str:
        """The node that runs while the most is held; the first of several."""
        return self.nodes[self.live.index(self.peak)] if self.live else ""


@dataclass(frozen=True)
class Cost:
    """What one run of a node takes: floating-point operations (a multiplication and an addition are two; of Conv, Gemm,
    MatMul and their like, 0 of others), and the bytes of its operands, weights included, and of its results."""

    node: Node
    flops: int
    read: int
    written: int

    @property
    def bytes(self) -> int:
        return self.read + self.written

    @property
    def intensity(self) -> float:
        """Floating-point operations a byte: below the ratio of a device's speeds, memory is what limits the node."""
        return self.flops / self.bytes if self.bytes else 0.0


def sizes_tested(tested: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Symbol -> the largest size that a proof ran it at, from the report's "sizes"."""
    sizes = {name: max(found) for name, found in tested.items() if found}
    unnamed = {match: size for name, size in sizes.items() if (match := _UNNAMED.fullmatch(name))}
    return sizes | {f"?{match[1]}.{match[2]}": size for match, size in unnamed.items()}


def weights_of(graph: Graph, sizes: Mapping[str, int] | None = None) -> Weights:
    """The bytes of the graph's values. A symbol that `sizes` does not name counts as the layout analysis takes it: its
    upper bound, else 1 for a batch and 64 for any other."""
    return Weights(graph.model.graph.inputs, sizes)


def activations(graph: Graph, weights: Weights) -> Memory:
    """The activation memory of a main graph. A node with subgraphs holds the peak of its largest one as well; what
    local functions hold inside is not known."""
    peaks: dict[Graph, int] = {}
    unknown = 0
    for scope in reversed(list(graph.nested())):  # inner ones first
        live, strange = _live(scope, weights, peaks)
        unknown += strange
        peaks[scope] = max(live, default=0)
    return Memory([node.label() for node in graph], live, unknown)


def _live(graph: Graph, weights: Weights, peaks: Mapping[Graph, int]) -> tuple[list[int], int]:
    """The bytes held at each node of one graph, and how many values are of unknown rank. `peaks` are the most bytes
    that the subgraphs of its nodes hold."""
    places = {node: place for place, node in enumerate(graph)}
    end = len(places) - 1
    owners: dict[Value, Value] = {}
    fixed: set[Value] = set()
    held: dict[Value, list[int]] = {value: [0, end] for value in graph.inputs if not isinstance(value, Constant)}
    for node, place in places.items():
        if _is_fixed(node, fixed):
            fixed.update(node.outputs)
            continue
        aliased = _owner(node, owners, held)
        for value in node.outputs:
            if not value.name:
                continue
            last = max((_place(user, graph, places, end) for user, _ in value.uses), default=place)
            if aliased is not None:
                owners[value] = aliased
                held[aliased][1] = max(held[aliased][1], last)
            else:
                held[value] = [place, max(place, last)]
    changes = [0] * (end + 2)
    unknown = 0
    for value, (first, last) in held.items():
        if value.dims is None:
            unknown += 1
            continue
        size = weights.bytes_of(value)
        changes[first] += size
        changes[last + 1] -= size
    live = list(accumulate(changes[: end + 1]))
    for node, place in places.items():
        live[place] += max((peaks[body] for _, _, body in node.bodies), default=0)
    return live, unknown


def _is_fixed(node: Node, fixed: set[Value]) -> bool:
    """Whether a node computes the same in every run, of weights and of the `fixed` values: weights in another form."""
    if node.bodies or not all(isinstance(value, Constant) or value in fixed for value in node.inputs if value.name):
        return False
    return traits.is_pure(node) and not any(value.is_graph_output for value in node.outputs)


def _owner(node: Node, owners: Mapping[Value, Value], held: Mapping[Value, object]) -> Value | None:
    """The value of the same graph whose memory the results of `node` are, if they are a view."""
    if node.op not in VIEWS or node.domain or not node.inputs:
        return None
    source = owners.get(node.inputs[0], node.inputs[0])
    return source if source in held else None


def _place(user: Node | Graph, graph: Graph, places: Mapping[Node, int], end: int) -> int:
    """Where in `graph` something reads that stands in it or in a subgraph of one of its nodes."""
    node = user.owner if user.is_graph else user
    if user is graph:
        return end
    while node is not None and node.graph is not graph:
        node = node.graph.owner if node.graph is not None else None
    return places.get(node, end) if node is not None else end


def costs(graph: Graph, weights: Weights) -> Iterator[Cost]:
    """What each node takes, subgraphs and local functions included, each once, as if every body ran once."""
    for scope in graph.model.all_graphs():
        for node in scope:
            if node.op == "Constant":
                continue
            flops = flops_at(node, weights.sizes_of)
            if node.op in VIEWS and not node.domain:
                yield Cost(node, flops, 0, 0)
            else:
                operands = dict.fromkeys(value for value in node.inputs if value.name)
                yield Cost(node, flops, _bytes(operands, weights), _bytes(node.outputs, weights))


def _bytes(values: Iterator[Value] | Sequence[Value] | Mapping[Value, None], weights: Weights) -> int:
    """The bytes of values of known rank."""
    found = 0
    for value in values:
        if isinstance(value, Constant):
            found += value.nbytes
        elif value.name and value.dims is not None:
            found += weights.bytes_of(value)
    return found
