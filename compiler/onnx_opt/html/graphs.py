"""A model's nodes and values as plain data for drawing: numbers that refer to each other and to a table of texts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from onnx_opt.ir import Constant

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value
    from onnx_opt.ir.origin import Origin

SHOWN_ELEMENTS = 8
"""Elements of a constant that are spelled out."""
LONGEST_TEXT = 240
"""Characters of a name or an attribute."""
MOST_ORIGINS = 64
"""Nodes of the original that are named for one node of the result."""
TIMES = "\N{MULTIPLICATION SIGN}"
COMPUTED, INPUT, CONSTANT = range(3)
_MADE = re.compile(r"(?<![\w'?])\?[a-z]*\d+(?!\w)")
"""A size that the analysis knows nothing of: each run may number it otherwise."""
Look = tuple[str, str, str]
"""Operator, attributes and types of the results of a node: two nodes that look alike do the same."""
_NAMES: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}


class Texts:
    """Each text once, by number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        if len(text) > LONGEST_TEXT:
            text = f"{text[: LONGEST_TEXT // 2]} … {text[-LONGEST_TEXT // 2 :]}"
        return self._numbers.setdefault(text, len(self._numbers))

    def all(self) -> list[str]:
        return list(self._numbers)


@dataclass
class Picture:
    """The nodes of a model, those of subgraphs and local functions included, and what was learnt of them."""

    nodes: list[Node]
    places: dict[Node, int] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)

    @staticmethod
    def of(graph: Graph) -> Picture:
        nodes = [node for scope in graph.model.all_graphs() for node in scope]
        return Picture(nodes, {node: place for place, node in enumerate(nodes)}, [look(node) for node in nodes])

    def __len__(self) -> int:
        return len(self.nodes)

    def readers(self, place: int) -> Iterator[int]:
        """The nodes that read the results of a node."""
        for value in self.nodes[place].outputs:
            for user, _ in value.uses:
                if not user.is_graph:
                    yield self.places[user]

    def data(self, texts: Texts, groups: dict[int, int]) -> dict[str, Any]:
        """Plain data; `groups` tells the region of each changed node."""
        values: dict[Value, int] = {}
        nodes = []
        for place, node in enumerate(self.nodes):
            operands, results = (
                [values.setdefault(value, len(values)) if value.name else -1 for value in side]
                for side in (node.inputs, node.outputs)
            )
            op, attributes, _ = self.looks[place]
            bodies = [body.name or name for name, _, body in node.bodies]
            said = "; ".join([attributes, *(f"body {name}" for name in bodies)]).strip("; ")
            row = [texts.number(op), texts.number(node.label()), operands, results, texts.number(said)]
            nodes.append([*row, groups.get(place, -1)])
        outputs = {value for scope in {node.graph for node in self.nodes} if scope for value in scope.outputs}
        return {
            "nodes": nodes,
            "values": [[texts.number(v.name), texts.number(spell(v)), _kind(v), int(v in outputs)] for v in values],
        }


def look(node: Node) -> Look:
    """What a node does, as text."""
    operator = f"{node.domain}::{node.op}" if node.domain else node.op
    bodies = {name for name, _, _ in node.bodies}
    attributes = "" if node.op == "Constant" else ", ".join(_attributes(node, bodies))
    return operator, attributes, ", ".join(spell(value) for value in node.outputs if value.name)


def _attributes(node: Node, bodies: set[str]) -> Iterator[str]:
    for name, value in sorted(node.attrs.items()):
        if name not in bodies:
            yield f"{name}={_attribute(value)}"


def _attribute(value: Any) -> str:
    if isinstance(value, Constant):
        value = value.values
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{_elements(value)}" if value.size <= SHOWN_ELEMENTS else f"{value.dtype}{[*value.shape]}"
    if isinstance(value, list | tuple):
        shown = " ".join(str(each) for each in value[:SHOWN_ELEMENTS])
        return f"[{shown}{' …' if len(value) > SHOWN_ELEMENTS else ''}]"
    return f"{value:.7g}" if isinstance(value, float) else str(value)[:LONGEST_TEXT]


def _elements(array: np.ndarray) -> str:
    return f"{{{', '.join(map(str, array.ravel().tolist()))}}}"


def spell(value: Value) -> str:
    """The type of a value, of small constants with the elements: float32 1x64x56x56."""
    kind, dims = value.elem_type, value.dims
    name = _NAMES.get(kind) or (TensorProto.DataType.Name(kind).lower() if kind else "?")
    if dims is None:
        return name
    sizes = TIMES.join(_MADE.sub("?", str(dim).replace(" ", "")) for dim in dims) or "scalar"
    if isinstance(value, Constant) and value.is_readable and math.prod(dims) <= SHOWN_ELEMENTS:
        return f"{name} {sizes} {_elements(value.values)}"
    return f"{name} {sizes}"


def _kind(value: Value) -> int:
    if isinstance(value, Constant):
        return CONSTANT
    return COMPUTED if value.producer is not None else INPUT


def names_of(origin: Origin, most: int = MOST_ORIGINS) -> list[str]:
    """The first nodes of the original that an origin goes back to: it may be shared by thousands of others."""
    found: dict[str, None] = {}
    stack, seen = [origin], {origin}
    while stack and len(found) < most:
        part = stack.pop()
        if part.name:
            found[part.name] = None
        for parent in reversed(part.parents):
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return list(found)
