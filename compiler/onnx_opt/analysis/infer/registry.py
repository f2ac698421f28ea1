"""The table of shape functions, and what one of them sees of its node.

A shape function takes a `NodeView` and gives the type of the node's result, or a list of types where there are several;
None stands for an unknown type. It is registered by operator name:

    @infer("Relu", "Tanh")
    def like_first(n):
        return n.type(0)

A function raises `Unknown` where nothing can be said of the dims; the element type of the first result is then that of
operand `elem`, or `kind` where it is always the same. A function is run again from its start when it asks for the
content of an operand that has yet to be computed, so it must have no effects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from onnx_opt.types import TensorType, Type

if TYPE_CHECKING:
    from onnx_opt.analysis.facts import Facts
    from onnx_opt.ir import Node, Value

Result: TypeAlias = "Type | list[Type | None] | None"
ShapeFunction: TypeAlias = "Callable[[NodeView], Result]"
F = TypeVar("F", bound="ShapeFunction")

MICROSOFT = "com.microsoft"
UNKNOWN = TensorType(0, None)


class Entry(NamedTuple):
    """A registered shape function."""

    function: ShapeFunction
    elem: int
    kind: int


_standard: dict[str, Entry] = {}
_others: dict[tuple[str, str], Entry] = {}


class Unknown(Exception):
    """Nothing can be said of the node's results."""


class Needed(Exception):
    """Facts that must be known first."""

    def __init__(self, goals: Sequence[Any]) -> None:
        super().__init__(goals)
        self.goals = goals


def infer(*ops: str, domain: str = "", elem: int = 0, kind: int = 0) -> Callable[[F], F]:
    """Register a shape function for operators of a domain ('' is ai.onnx).

    Where it raises `Unknown`, the first result has the element type `kind`, or that of operand `elem` (-1: unknown).
    """

    def register(function: F) -> F:
        entry = Entry(function, elem, kind)
        for op in ops:
            if domain:
                _others[domain, op] = entry
            else:
                _standard[op] = entry
        return function

    return register


def find(domain: str, op: str) -> Entry | None:
    """The registered shape function of an operator."""
    return _others.get((domain, op)) if domain else _standard.get(op)


def registered() -> list[tuple[str, str]]:
    """(domain, operator) of everything that has a shape function."""
    return sorted([("", op) for op in _standard] + list(_others))


class NodeView:
    """A node with what is known of its operands. One view serves all nodes in turn: don't keep it."""

    __slots__ = ("facts", "node", "shapes", "types")

    node: Node
    types: list[Type | None]
    """Of each operand; None where it is absent or unknown."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.shapes = facts.shapes

    @property
    def version(self) -> int:
        """The version of the operator set that the node's domain is imported with."""
        return self.node.version

    # -- operands --------------------------------------------------------------------------------------------------

    def operand(self, index: int) -> Value | None:
        """The operand at `index`, None where it is absent."""
        inputs = self.node.inputs
        return inputs[index] if index < len(inputs) and inputs[index].name else None

    def present(self, index: int) -> bool:
        """Whether the operand at `index` is given."""
        return self.operand(index) is not None

    def type(self, index: int) -> Type | None:
        """The type of an operand; None where it is absent or unknown."""
        return self.types[index] if index < len(self.types) else None

    def tensor(self, index: int) -> TensorType:
        """The tensor type of an operand; `UNKNOWN` where it is absent, unknown or no tensor."""
        kind = self.type(index)
        return kind if isinstance(kind, TensorType) else UNKNOWN

    def elem(self, index: int) -> int:
        """The element type of an operand, 0 where it is unknown."""
        return self.tensor(index).elem_type

    def dims(self, index: int) -> tuple[Any, ...] | None:
        """The dims of an operand, None where the rank is unknown."""
        return self.tensor(index).shape

    def known_dims(self, index: int) -> tuple[Any, ...]:
        """The dims of an operand; raises `Unknown` where the rank is unknown."""
        dims = self.tensor(index).shape
        if dims is None:
            raise Unknown
        return dims

    def constant(self, index: int) -> np.ndarray | None:
        """An operand as an array, where it is the same in every run."""
        value = self.operand(index)
        return None if value is None else self.facts.constant(value)

    def content(self, index: int) -> np.ndarray | None:
        """The elements of a small integer operand, None where nothing is known of them."""
        value = self.operand(index)
        return None if value is None else self.facts.content_or_need(value)

    def elements(self, index: int) -> list[Any] | None:
        """The elements of a short integer vector or scalar. An element of which nothing is known is a symbol of its
        own, of unknown sign; None where not even their number is known."""
        value = self.operand(index)
        return None if value is None else self.facts.elements_or_need(value)

    def scalar(self, index: int) -> Any:
        """The only element of an integer operand, None where it is unknown."""
        content = self.content(index)
        return None if content is None or content.size != 1 else content.reshape(-1)[0]

    def int_list(self, index: int) -> list[int] | None:
        """The elements of an integer operand where all of them are ints; None otherwise."""
        content = self.content(index)
        if content is None:
            return None
        found = content.reshape(-1).tolist()
        return found if all(isinstance(item, int) for item in found) else None

    # -- attributes ------------------------------------------------------------------------------------------------

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute or `default`; raises `Unknown` where it differs from call to call of a local function."""
        value = self.node.attrs.get(name)
        if value is None:
            return default
        if type(value).__name__ == "AttributeRef":
            raise Unknown
        return value

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.attr(name, default)
        return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

    def ints(self, name: str) -> list[int] | None:
        """A list attribute, None where it is not set."""
        value = self.attr(name)
        return None if value is None else [int(item) for item in value]

    # -- results ---------------------------------------------------------------------------------------------------

    @property
    def result_count(self) -> int:
        return len(self.node.outputs)

    def wants(self, index: int) -> bool:
        """Whether the node gives the result at `index`."""
        outputs = self.node.outputs
        return index < len(outputs) and bool(outputs[index].name)

    def fresh(self) -> Any:
        """A symbol for a size that only the run will tell."""
        return self.shapes.fresh()

    def unknown_dims(self, rank: int) -> tuple[Any, ...]:
        """Symbols for the dims of a tensor of which only the rank is known."""
        return tuple(self.shapes.fresh() for _ in range(rank))

    def result(self, elem_type: int, dims: Iterable[Any] | None) -> TensorType:
        """A tensor type. A dim that comes out negative is of a node that fails when it runs: nothing is said of it."""
        if dims is None:
            return TensorType(elem_type, None)
        shape = tuple(dims)
        for dim in shape:
            if not isinstance(dim, int):
                self.facts.learn(self.node, dim)
            elif dim < 0:
                raise Unknown
        return TensorType(elem_type, shape)


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the start; raises `Unknown` where it is outside of the rank."""
    if not -rank <= axis < rank:
        raise Unknown
    return axis % rank


def axes_of(axes: Iterable[int], rank: int) -> list[int]:
    """Axes counted from the start; raises `Unknown` for one outside of the rank or given twice."""
    found = [axis_of(axis, rank) for axis in axes]
    if len(set(found)) != len(found):
        raise Unknown
    return found
