"""Constants beyond what a half type holds, for which another number of that type means the same: masks, epsilons."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_opt.precision import epsilons
from onnx_opt.precision.constraints import TYPE_NAMES
from onnx_opt.precision.formats import FORMATS
from onnx_opt.precision.masks import Mask, find_masks
from onnx_opt.precision.static import LARGEST_ERROR, Constants, constants_of

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value


@dataclass
class Substitutes:
    """The masks and epsilons of a model. `epsilons` are constants and where they are read as such; `declined` says why
    a node must not read another number in place of a tiny one."""

    elem_type: int
    masks: list[Mask] = field(default_factory=list)
    epsilons: dict[Value, list[Node]] = field(default_factory=dict)
    declined: dict[Node, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._masking = {value for mask in self.masks for value in mask.constants}

    @property
    def masked(self) -> set[str]:
        """The names of the values that hold masks for which there is a half number."""
        return {value.name for mask in self.masks if not mask.problem for value in mask.values}

    @property
    def floors(self) -> dict[str, float]:
        """By name, the least number of the half type that stands in a value: of masks, epsilons, and sums with them."""
        form = FORMATS[self.elem_type]
        found = dict.fromkeys(sorted(self.masked), -form.largest)
        for value, users in self.epsilons.items():
            found |= dict.fromkeys([value.name, *(user.outputs[0].name for user in users)], form.least)
        return found

    def constants(self) -> set[Value]:
        """The constants in whose place half precision reads another number."""
        return {*self.epsilons, *(value for mask in self.masks if not mask.problem for value in mask.constants)}

    def lifting(self) -> set[Node]:
        """The nodes that read epsilons."""
        return {user for users in self.epsilons.values() for user in users}

    def covers(self, value: Value, user: Node) -> bool:
        """Whether it is decided here what becomes of a constant where `user` reads it."""
        return value in self._masking or user in self.epsilons.get(value, ())

    def unmask(self, keep: Mapping[Node, str]) -> dict[Node, str]:
        """The nodes that must stay in FP32 with a mask, and why. A mask stays as a whole: where it has no substitute,
        or where what carries it stays in FP32, which tells the substitute from the mask."""
        found: dict[Node, str] = {}
        for mask in self.masks:
            staying = next((node for node in mask.carriers() if node in keep), None)
            if staying is not None and not mask.problem:
                mask.problem = f"'{staying.label()}' stays in FP32"
            if mask.problem:
                name = mask.constants[0].name
                reason = f"constant '{name}' overflows {TYPE_NAMES[self.elem_type]}: {mask.problem}"
                found |= dict.fromkeys(mask.way(), reason)
        return found


def find_substitutes(
    graphs: Collection[Graph], constants: Constants, magnitudes: Mapping[str, float] | None
) -> Substitutes:
    """What can be done about the constants of a model; without measured `magnitudes` nothing about most masks."""
    found = Substitutes(constants.elem_type, find_masks(graphs, constants, magnitudes or {}))
    for value in constants_of(graphs):
        if not _is_tiny(value, constants):
            continue
        for user, index in value.uses:
            if user.is_graph:
                continue
            if why := epsilons.problem(user, index):
                found.declined[user] = why
            else:
                found.epsilons.setdefault(value, []).append(user)
    return found


def _is_tiny(value: Value, constants: Constants) -> bool:
    array = value.constant
    if array is None or not epsilons.is_epsilon(array):
        return False
    rounding = constants.rounding(value)
    return not rounding.overflows and rounding.error > LARGEST_ERROR
