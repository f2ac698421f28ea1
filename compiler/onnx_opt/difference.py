"""How two models differ in structure: interface, operators, nodes by the values they compute, initializers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx_opt.ir import Constant, Graph, Node


@dataclass(frozen=True)
class Names:
    """Names that only the second model has, only the first has, and that both have but for different things."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True)
class Difference:
    """What differs. `nodes` go by the first value that they compute; `ops` is (count in the first, in the second)."""

    inputs: Names
    outputs: Names
    opsets: Mapping[str, tuple[int | None, int | None]]
    ops: Mapping[str, tuple[int, int]]
    nodes: Names
    initializers: Names

    @property
    def same_interface(self) -> bool:
        return not self.inputs and not self.outputs

    def __bool__(self) -> bool:
        return bool(self.inputs or self.outputs or self.opsets or self.ops or self.nodes or self.initializers)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(one: Graph, other: Graph) -> Difference:
    """What makes `other` differ from `one`; subgraphs and functions are looked into."""
    return Difference(
        inputs=_names(_interface(one.inputs), _interface(other.inputs)),
        outputs=_names(_interface(one.outputs), _interface(other.outputs)),
        opsets=_pairs(one.model.opsets, other.model.opsets, None),
        ops=_pairs(_operators(one), _operators(other), 0),
        nodes=_names(_nodes(one), _nodes(other), _same_node),
        initializers=_names(_initializers(one), _initializers(other), _same_tensor),
    )


def _names(one: Mapping[str, Any], other: Mapping[str, Any], same: Callable[[Any, Any], bool] | None = None) -> Names:
    same = same or (lambda a, b: bool(a == b))
    return Names(
        added=tuple(name for name in other if name not in one),
        removed=tuple(name for name in one if name not in other),
        changed=tuple(name for name in one if name in other and not same(one[name], other[name])),
    )


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any], absent: Any) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (one.get(name, absent), other.get(name, absent)) for name in (*one, *other)}
    return {name: pair for name, pair in sorted(pairs.items()) if pair[0] != pair[1]}


def _interface(values: Any) -> dict[str, Any]:
    return {value.name: value.declared for value in values}


def _operators(graph: Graph) -> dict[str, int]:
    counts: dict[str, int] = {}
    for scope in graph.model.all_graphs():
        for node in scope:
            name = f"{node.domain}::{node.op}" if node.domain else node.op
            counts[name] = counts.get(name, 0) + 1
    return counts


def _nodes(graph: Graph) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for scope in graph.model.all_graphs():
        for node in scope:
            found.setdefault(next((v.name for v in node.outputs if v.name), node.label()), node)
    return found


def _initializers(graph: Graph) -> dict[str, Constant]:
    return {c.name: c for scope in graph.model.all_graphs() for c in scope.constants}


def _same_node(one: Node, other: Node) -> bool:
    if (one.op, one.domain) != (other.op, other.domain):
        return False
    if [v.name for v in one.inputs] != [v.name for v in other.inputs]:
        return False
    # Subgraphs are graphs of their own here: their nodes are compared one by one.
    attrs = [{k: v for k, v in n.attrs.items() if not _is_graph(v)} for n in (one, other)]
    return attrs[0].keys() == attrs[1].keys() and all(_same_value(v, attrs[1][k]) for k, v in attrs[0].items())


def _is_graph(value: Any) -> bool:
    return hasattr(value, "nodes") or (isinstance(value, list) and any(hasattr(v, "nodes") for v in value))


def _same_value(one: Any, other: Any) -> bool:
    one, other = (getattr(v, "values", v) for v in (one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return _same_array(one, other)
    return type(one) is type(other) and bool(one == other)


def _same_tensor(one: Constant, other: Constant) -> bool:
    if (one.elem_type, one.dims) != (other.elem_type, other.dims):
        return False
    if not one.is_readable or not other.is_readable:
        return one.digest() == other.digest()
    return _same_array(one.values, other.values)


def _same_array(one: np.ndarray, other: np.ndarray) -> bool:
    """To the bit: NaN equals itself, and -0.0 is not 0.0."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype == object:
        return bool((one == other).all())
    one, other = np.ascontiguousarray(one).reshape(-1), np.ascontiguousarray(other).reshape(-1)
    return bool(np.array_equal(one.view(np.uint8), other.view(np.uint8)))
