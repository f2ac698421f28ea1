"""The arrays of a batch: operands looked up once, results dropped after their last use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

Known = Callable[["Value"], "np.ndarray | None"]


class Arrays:
    """Value -> array for what is known and what was computed so far."""

    def __init__(self, nodes: Sequence[Node], wanted: Collection[Value] | None, known: Known) -> None:
        self._known = known
        self._held: dict[Value, np.ndarray | None] = {}
        self._done: set[Node] = set()
        self._unread = unread = {value: 0 for node in nodes for value in node.outputs if value.name}
        """How many operands of the batch have yet to read each of its results."""
        for node in nodes:
            for value in node.inputs:
                if value in unread:
                    unread[value] += 1
        self._all_left = wanted is None
        if wanted is None:  # what has more uses than the batch makes of it
            wanted = [value for value, reads in unread.items() if len(value.uses) > reads]
        self.wanted = frozenset(wanted)

    def get(self, value: Value) -> np.ndarray | None:
        """The array of a value, None where it is not known (yet)."""
        try:
            return self._held[value]
        except KeyError:
            if value in self._unread:
                return None
            found = self._held[value] = self._known(value)
            return found

    def operands(self, node: Node) -> list[np.ndarray | None] | None:
        """The operands of a node, None for those that are absent; None where one is not known."""
        found: list[np.ndarray | None] = []
        held = self._held
        for value in node.inputs:
            array = held.get(value)
            if array is None and value.name:
                array = self.get(value)
                if array is None:
                    return None
            found.append(array)
        return found

    def store(self, node: Node, results: np.ndarray | tuple[np.ndarray, ...]) -> None:
        """Keep the results of a node that are needed, and drop the operands that nothing reads any more."""
        if type(results) is tuple:
            for value, array in zip(node.outputs, results, strict=False):
                self.store_value(value, array)
        else:
            self.store_value(node.outputs[0], results)  # type: ignore[arg-type]
        self.finish(node)

    def store_value(self, value: Value, array: np.ndarray) -> None:
        """Keep one result if it is needed; `finish` its node afterwards."""
        if self._unread.get(value) or value in self.wanted:
            # Numpy gives scalars instead of arrays without dimensions.
            self._held[value] = array if type(array) is np.ndarray else np.asarray(array)

    def finish(self, node: Node) -> None:
        """Note that a node is computed: it has read its operands."""
        self._done.add(node)
        unread = self._unread
        for value in node.inputs:
            count = unread.get(value)
            if count is None:
                continue
            unread[value] = count - 1
            if count == 1 and value not in self.wanted:
                self._held[value] = None

    def is_done(self, node: Node) -> bool:
        """Whether the node is computed."""
        return node in self._done

    def is_needed(self, value: Value, reads: int) -> bool:
        """Whether a result is needed by more than the `reads` operands that are served already."""
        return value in self.wanted or self._unread[value] > reads

    def wanted_arrays(self) -> dict[Value, np.ndarray]:
        """The wanted values that are known, each C-contiguous; where the caller named none, also those that are left
        because a node which was not computed reads them."""
        found = {}
        for value, reads in self._unread.items():
            array = self._held.get(value)
            if array is not None and (value in self.wanted or (reads and self._all_left)):
                found[value] = np.asarray(array, order="C")
        return found
