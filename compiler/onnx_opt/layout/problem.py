"""The choice of layouts as a graph problem.

Each tensor can be stored in two forms, 0 and 1. Each site (a node that may run in either form) takes and gives all its
tensors in one form; everything else has its form fixed. A tensor that is read in a form in which it is not computed
must be transposed, once for all its readers. Which forms make the fewest transposed bytes?

    cost = sum over tensors: weight(t) [a reader of t has another form than its producer] + sum over sites: bias

Weights are tuples of levels, compared in order: a lower level only chooses among what is equal on those above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

FIXED = (-1, -2)
"""Endpoints that are no sites: FIXED[form]."""

Weight = tuple[int, ...]


@dataclass(frozen=True)
class Edge:
    """A tensor: its producer and its readers (numbers of sites, or FIXED[form]), and what transposing it costs."""

    producer: int
    readers: tuple[int, ...]
    weight: Weight


@dataclass
class Problem:
    """Sites are numbered from 0. `bias[site][form]` is what it costs to run the site in that form."""

    levels: int
    bias: list[tuple[Weight, Weight]] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def site(self, as_form_0: Weight | None = None, as_form_1: Weight | None = None) -> int:
        """A new site; returns its number."""
        free = (0,) * self.levels
        self.bias.append((as_form_0 or free, as_form_1 or free))
        return len(self.bias) - 1

    def edge(self, producer: int, readers: Sequence[int], weight: Weight) -> None:
        """A tensor. Readers that take either form are not listed; a producer that gives either is a site of its own."""
        distinct = tuple(reader for reader in dict.fromkeys(readers) if reader != producer)
        if distinct:
            self.edges.append(Edge(producer, distinct, weight))

    def cost(self, forms: Sequence[int]) -> Weight:
        """What a choice (a form for each site) costs."""
        total = [0] * self.levels
        for edge in self.edges:
            form = form_of(edge.producer, forms)
            if any(form_of(reader, forms) != form for reader in edge.readers):
                _add(total, edge.weight)
        for bias, form in zip(self.bias, forms, strict=True):
            _add(total, bias[form])
        return tuple(total)


def form_of(endpoint: int, forms: Sequence[int]) -> int:
    """The form of a site or of a fixed endpoint."""
    return forms[endpoint] if endpoint >= 0 else FIXED.index(endpoint)


def _add(total: list[int], weight: Weight) -> None:
    for level, amount in enumerate(weight):
        total[level] += amount
