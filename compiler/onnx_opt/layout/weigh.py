"""What transposing a tensor costs, in bytes, where dims may be symbolic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from onnx_opt import shapes, types
from onnx_opt.layout.perms import moves_nothing, perm_of

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

ASSUMED_BATCH = 1
ASSUMED_SIZE = 64
"""A symbol counts as its upper bound. Where it has none, the first dim of a model's inputs (the batch) counts as 1,
and every other as 64: with a batch and an image or a sequence of unknown size, what is large stays large."""
LARGEST_ASSUMED = 1 << 16
"""Bounds above this are limits of a format rather than sizes."""


class Weights:
    """Bytes of the values of one graph's model. `given` are sizes by the printed names of symbols; those that it does
    not name are assumed."""

    def __init__(self, inputs: Sequence[Value], given: Mapping[str, int] | None = None):
        self._inputs = inputs
        self._given = given or {}
        self._sizes: dict[Any, int] = {}

    def bytes_of(self, value: Value) -> int:
        """About how many bytes a value of known rank has; at least 1."""
        bits = types.element_bits(value.elem_type) if value.elem_type else 32
        return max(math.prod(self.sizes_of(value) or ()) * bits // 8, 1)

    def sizes_of(self, value: Value) -> list[int] | None:
        """The dims of a value with a size for every symbol; None where the rank is unknown."""
        if value.dims is None:
            return None
        return [dim if isinstance(dim, int) else self._size(value, dim) for dim in value.dims]

    def transposed_by(self, node: Node) -> int:
        """About how many bytes a node moves: none where it is no Transpose, or where only dims of size 1 move."""
        perm = perm_of(node)
        if perm is None or moves_nothing(perm, node.inputs[0].dims or ()):
            return 0
        return self.bytes_of(node.inputs[0])

    @cached_property
    def assumed(self) -> dict[Any, int]:
        """What symbols count as; filled while they are met."""
        batches = (value.dims[0] for value in self._inputs if value.dims and shapes.is_symbolic(value.dims[0]))
        return {symbol: ASSUMED_BATCH for batch in batches for symbol in batch.free_symbols}

    def _size(self, value: Value, dim: Any) -> int:
        """What a symbolic dim counts as."""
        size = self._sizes.get(dim)
        if size is None:
            found = shapes.substitute(dim, {symbol: self._assumed(value, symbol) for symbol in dim.free_symbols})
            size = self._sizes[dim] = max(int(found), 1) if isinstance(found, int) else ASSUMED_SIZE
        return size

    def _assumed(self, value: Value, symbol: Any) -> int:
        if (size := self._given.get(str(symbol))) is not None:
            return size
        if symbol not in self.assumed:
            assert value.graph is not None
            _, high = value.graph.model.facts.bounds(symbol)
            self.assumed[symbol] = min(high, LARGEST_ASSUMED) if high is not None else ASSUMED_SIZE
        return self.assumed[symbol]
