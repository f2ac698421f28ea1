"""Lists that tell their owner about every change, so that GraphSurgeon scripts can edit a graph through them.

GraphSurgeon keeps the two ends of an edge in step with lists that search each other. Here an edge has one home, the use
dict of the value, and a list is only a way in: each mutation becomes one journalled edit of the owner.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex


class ObservedList(list[Any]):
    """A list whose mutators hand the wished-for contents to the owner instead of changing the list themselves."""

    __slots__ = ("owner",)

    def __init__(self, items: Iterable[Any], owner: Any):
        list.__init__(self, items)
        self.owner = owner

    def _commit(self, wished: list[Any]) -> None:
        raise AssertionError("a subclass says which edit it is")

    def _edit(self, name: str, *args: Any, **kwargs: Any) -> Any:
        wished = list(self)
        result = getattr(wished, name)(*args, **kwargs)
        self._commit(wished)
        return result

    def __setitem__(self, index: Any, item: Any) -> None:
        self._edit("__setitem__", index, item)

    def __delitem__(self, index: Any) -> None:
        self._edit("__delitem__", index)

    def __iadd__(self, items: Iterable[Any]) -> ObservedList:  # type: ignore[misc]
        self.extend(items)
        return self

    def append(self, item: Any) -> None:
        self._edit("append", item)

    def extend(self, items: Iterable[Any]) -> None:
        self._edit("extend", list(items))

    def insert(self, index: SupportsIndex, item: Any) -> None:
        self._edit("insert", index, item)

    def remove(self, item: Any) -> None:
        self._edit("remove", item)

    def pop(self, index: SupportsIndex = -1) -> Any:
        return self._edit("pop", index)

    def clear(self) -> None:
        self._commit([])

    def reverse(self) -> None:
        self._edit("reverse")

    def sort(self, **kwargs: Any) -> None:
        self._edit("sort", **kwargs)

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: Any) -> list[Any]:
        return list(self)


class Inputs(ObservedList):
    """The operands of a node."""

    __slots__ = ()

    def _commit(self, wished: list[Any]) -> None:
        self.owner.set_inputs(wished)


class Outputs(ObservedList):
    """The results of a node."""

    __slots__ = ()

    def _commit(self, wished: list[Any]) -> None:
        self.owner.set_outputs(wished)


class GraphInputs(ObservedList):
    """The inputs of a graph."""

    __slots__ = ()

    def _commit(self, wished: list[Any]) -> None:
        self.owner.set_graph_inputs(wished)


class GraphOutputs(ObservedList):
    """The outputs of a graph."""

    __slots__ = ()

    def _commit(self, wished: list[Any]) -> None:
        self.owner.set_graph_outputs(wished)
