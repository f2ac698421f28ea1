"""The exact solution of a `Problem`: a minimum cut for each level.

Vertices on the source's side have form 0, those on the sink's side form 1; the capacity of an arc u -> v is what it
costs that u is 0 and v is 1. One transposed copy serves all readers of a tensor, so between its producer p and its
readers stand two vertices, "somebody wants form 1" (1 if any reader is 1) and "somebody wants form 0" (0 if any is 0):

    p -> wants_1, wants_1 -> reader (forbidden to cut);    wants_0 -> p, reader -> wants_0 (forbidden to cut)

The minimum cuts are exactly the sets closed under the arcs that a maximum flow leaves residual (Picard and Queyranne,
1980). So the next level is a minimum cut of its own weights, with those arcs forbidden to cut.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import product
from math import gcd

import numpy as np

from onnx_opt.layout.problem import Edge, Problem

SOURCE, SINK = 0, 1
FIRST_SITE = 2
MOST = 2**31 - 1
"""SciPy computes flows in 32 bits and does not complain about more."""
FEW = 4
"""So many sites are tried in every combination."""

Arcs = dict[tuple[int, int], int]


def solve(problem: Problem) -> list[int]:
    """The forms of the sites with the least cost. Among equal choices, the one with the most sites in form 1: the same
    on every machine, for it does not depend on which maximum flow was found."""
    if len(problem.bias) <= FEW:
        # Sooner done than SciPy is loaded. Ties go as below, where the zeros are those of every other answer as well.
        return min(_every_choice(problem), key=lambda forms: (problem.cost(forms), forms.count(0)))
    network = _Network(problem)
    forbidden: set[tuple[int, int]] = set(network.forbidden)
    reached = np.zeros(network.count, bool)
    for level in range(problem.levels):
        arcs = network.arcs(level)
        residual, reached = _cut(network.count, arcs, forbidden)
        forbidden |= residual
    return [0 if reached[FIRST_SITE + site] else 1 for site in range(len(problem.bias))]


def _every_choice(problem: Problem) -> Iterator[list[int]]:
    return map(list, product((0, 1), repeat=len(problem.bias)))


class _Network:
    """The vertices and arcs of a problem: the same for every level, but for their capacities."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self.count = FIRST_SITE + len(problem.bias)
        self.forbidden: list[tuple[int, int]] = []
        self.costly: list[tuple[int, int, Edge]] = []
        for edge in problem.edges:
            self._add(edge)

    def _add(self, edge: Edge) -> None:
        producer, readers = _vertex(edge.producer), [_vertex(reader) for reader in edge.readers]
        if len(readers) == 1:
            self.costly += [(producer, readers[0], edge), (readers[0], producer, edge)]
            return
        wants_1, wants_0 = self.count, self.count + 1
        self.count += 2
        self.costly += [(producer, wants_1, edge), (wants_0, producer, edge)]
        self.forbidden += [(wants_1, reader) for reader in readers] + [(reader, wants_0) for reader in readers]

    def arcs(self, level: int) -> Arcs:
        """(tail, head) -> capacity."""
        found: Arcs = defaultdict(int)
        for tail, head, edge in self.costly:
            found[tail, head] += edge.weight[level]
        for site, (as_form_0, as_form_1) in enumerate(self.problem.bias):
            found[FIRST_SITE + site, SINK] += as_form_0[level]
            found[SOURCE, FIRST_SITE + site] += as_form_1[level]
        return {arc: weight for arc, weight in found.items() if weight and arc[0] != SINK and arc[1] != SOURCE}


def _vertex(endpoint: int) -> int:
    return FIRST_SITE + endpoint if endpoint >= 0 else -1 - endpoint  # FIXED[0] is the source, FIXED[1] the sink


def _cut(count: int, arcs: Arcs, forbidden: Iterable[tuple[int, int]]) -> tuple[set[tuple[int, int]], np.ndarray]:
    """The residual arcs of a maximum flow, and which vertices they reach from the source."""
    from scipy.sparse import csr_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow  # type: ignore[import-untyped]

    capacity = dict.fromkeys(sorted(forbidden), 0)
    capacity.update(_scaled(arcs))
    limit = min(sum(capacity.values()) + 1, MOST)
    capacity.update(dict.fromkeys(forbidden, limit))
    ends = np.array(sorted(capacity), np.int32).reshape(-1, 2)
    flows = np.array([capacity[tail, head] for tail, head in ends.tolist()], np.int32)
    graph = csr_array((flows, (ends[:, 0], ends[:, 1])), shape=(count, count))
    flow = maximum_flow(graph, SOURCE, SINK, method="dinic").flow
    left = (graph.astype(np.int64) - flow.astype(np.int64)).tocoo()
    open_arcs = left.data > 0
    tails, heads = left.row[open_arcs], left.col[open_arcs]
    residual = csr_array((np.ones(len(tails), np.int8), (tails, heads)), shape=(count, count))
    reached = np.zeros(count, bool)
    reached[breadth_first_order(residual, SOURCE, return_predecessors=False)] = True
    return set(zip(tails.tolist(), heads.tolist(), strict=True)), reached


def _scaled(arcs: Arcs) -> Arcs:
    """The capacities in their largest common unit. Those of a model fit into 32 bits then: 2**31 units are gigabytes in
    a single tensor. Should they not, they are rounded, and the cut is the best but for one part in 2**31."""
    unit = gcd(*arcs.values()) or 1
    most = max(arcs.values(), default=0) // unit
    coarse = unit * (most // (MOST // 2) + 1)
    return {arc: -(-weight // coarse) for arc, weight in arcs.items()}
