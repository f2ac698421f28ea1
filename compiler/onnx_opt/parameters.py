"""Parameters of a node, wherever its operator set has them: `axes` is an attribute in one, an operand in the next.

The schemas say where; tables say it of operators without one (trait 'operands'), and where a parameter went by another
name (trait 'renamed').
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from onnx_opt import schemas
from onnx_opt.traits import ask

if TYPE_CHECKING:
    import numpy as np

    from onnx_opt.ir import Node


@dataclass(frozen=True)
class Parameter:
    """`value` is the attribute's, or the operand's as an array; None for none. Not `known`: it is an operand that only
    the run will tell."""

    value: Any = None
    known: bool = True

    @property
    def numbers(self) -> list[Any] | None:
        """The value as a flat list; None where there is none, or it is not known."""
        if self.value is None:
            return None
        flat: list[Any] = self.value.reshape(-1).tolist() if hasattr(self.value, "reshape") else list(self.value)
        return flat


def parameter(node: Node, name: str) -> Parameter:
    """The parameter `name` of a node; the attribute's default where it is one that is not set."""
    place = place_of(node.op, node.domain, node.version, name)
    if isinstance(place, str):
        return Parameter(node.attribute(place))
    operand = node.input(place) if place is not None else None
    if operand is None:
        return Parameter()
    constant: np.ndarray | None = operand.constant
    return Parameter(constant, constant is not None)


@cache
def place_of(op: str, domain: str, version: int, name: str) -> str | int | None:
    """The name of the attribute, or the position of the operand, that holds a parameter; None where the operator has
    none of this name at that version."""
    stated: int | None = ask(domain, op, "operands", {}).get(name)
    schema = schemas.schema(op, domain, version)
    if stated is not None or schema is None:
        return stated
    names = (name, *ask(domain, op, "renamed", {}).get(name, ()))
    for position, operand in enumerate(schema.inputs):
        if operand.name in names:
            return position
    return next((each for each in names if each in schema.attributes), None)
