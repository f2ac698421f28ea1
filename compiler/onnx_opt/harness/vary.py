"""Near misses: an instance changed in one respect. The rule must decline it, or still be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnx_opt import schemas
from onnx_opt.harness.draw import Dims, Draw, exactly, ordinary
from onnx_opt.harness.samplers.elementwise import broadcast
from onnx_opt.harness.site import plain
from onnx_opt.harness.sketch import BRANCHES, CONDITION, Operand, Sketch, Unfit
from onnx_opt.validate.figures import is_float


@dataclass
class Subject:
    """An instance as its parts: what the pattern matches in `sketch`, and what must not be rewritten in it."""

    sketch: Sketch
    root: list[str]
    interior: list[str]
    leaves: dict[str, str] = field(default_factory=dict)
    """The constants that the pattern has names for, by these names."""
    kept: set[str] = field(default_factory=set)
    """Names of nodes inside the match whose results have other readers."""

    def producer(self, value: str) -> onnx.NodeProto:
        return next(node for node in self.sketch.nodes if value in node.output)

    def matched_nodes(self) -> list[onnx.NodeProto]:
        """The nodes of the pattern, the root last."""
        values = {*self.interior, *self.root}
        return [node for node in self.sketch.nodes if values.intersection(node.output)]

    def kept_nodes(self) -> frozenset[str]:
        """The names of the nodes that have other readers, as they are in the branches of an If too."""
        suffixes = ("",) if self.sketch.branch_from is None else ("", *(f"_{branch}" for branch in BRANCHES))
        return frozenset(name + suffix for name in self.kept for suffix in suffixes)

    def pattern_constants(self) -> list[str]:
        """Constants that the nodes of the pattern read."""
        read = [name for node in self.matched_nodes() for name in node.input]
        return [name for name in dict.fromkeys(read) if name in self.sketch.constants]

    def neighbour_dims(self, constant: str, draw: Draw) -> Dims:
        """The dims of another value at a node that reads the constant."""
        arrays = self.sketch.arrays
        users = [node for node in self.matched_nodes() if constant in node.input]
        names = [name for node in users for name in (*node.input, *node.output) if name in arrays and name != constant]
        return tuple(arrays[draw.pick(names)].shape)


Variation = Callable[[Subject, Draw], None]


# -- other readers -----------------------------------------------------------------------------------------------------


def extra_user(subject: Subject, draw: Draw) -> None:
    """A value inside has another user."""
    name = _pick(draw, subject.interior)
    sketch = subject.sketch
    user = sketch.node("Identity", [Operand(name, sketch.arrays[name])])[0]
    sketch.outputs.append(user.name)
    subject.kept.add(subject.producer(name).name)


def interior_is_output(subject: Subject, draw: Draw) -> None:
    """A value inside is a result of the model."""
    name = _pick(draw, subject.interior)
    subject.sketch.outputs.append(name)
    subject.kept.add(subject.producer(name).name)


def optional_result_is_read(subject: Subject, draw: Draw) -> None:
    """A node gives a result more than the pattern needs, and it is read."""
    node = draw.pick(subject.matched_nodes())
    schema = schemas.schema(node.op_type, node.domain, subject.sketch.version)
    if schema is None or schema.max_output <= len(node.output) or schema.max_output > 8:
        raise Unfit("there are no further results")
    while len(node.output) < schema.max_output:
        node.output.append(subject.sketch.fresh("extra"))
    subject.sketch.recompute(node)
    subject.sketch.outputs.append(node.output[-1])


def constant_has_other_user(subject: Subject, draw: Draw) -> None:
    """A constant is a result of the model too."""
    name = _pick(draw, subject.pattern_constants())
    user = subject.sketch.node("Identity", [Operand(name, subject.sketch.arrays[name])])[0]
    subject.sketch.outputs.append(user.name)


# -- constants ---------------------------------------------------------------------------------------------------------


def constant_of_other_dims(subject: Subject, draw: Draw) -> None:
    """A constant is broadcast in another way, or has one dim more or less; its size may match by chance."""
    name = _pick(draw, subject.pattern_constants())
    old = subject.sketch.constants[name]
    dims = broadcast(draw, subject.neighbour_dims(name, draw)) if draw.chance(0.7) else _other_rank(draw, old.shape)
    _set_constant(subject.sketch, name, ordinary(draw, dims, old.dtype))


def constant_of_other_contents(subject: Subject, draw: Draw) -> None:
    """A constant holds zeros, ones, negative or huge numbers, infinities or NaN, somewhere or everywhere."""
    name = _pick(draw, subject.pattern_constants())
    new = subject.sketch.constants[name].copy()
    numbers: list[Any] = [0, 1, -1, 2, -0.0, 1e30, np.inf, np.nan] if is_float(new.dtype) else [0, 1, 2, 3]
    with np.errstate(over="ignore"):
        number = np.array(draw.pick(numbers)).astype(new.dtype)
    if draw.chance(0.5) or not new.size:
        new[...] = number
    else:
        new.reshape(-1)[draw.integer(0, new.size - 1)] = number
    _set_constant(subject.sketch, name, new)


def constant_is_input(subject: Subject, draw: Draw) -> None:
    """A constant is only known when the model runs."""
    sketch = subject.sketch
    name = _pick(draw, subject.pattern_constants())
    array = sketch.constants.pop(name)
    sketch.as_nodes.discard(name)
    sketch.inputs[name] = array
    sketch.fillers[name] = _similar(array)


def constant_is_overridable(subject: Subject, draw: Draw) -> None:
    """A constant is the default of an input that callers may feed."""
    sketch = subject.sketch
    name = _pick(draw, subject.pattern_constants())
    sketch.as_nodes.discard(name)
    sketch.overridable.add(name)
    sketch.fillers[name] = _similar(sketch.constants[name])


def _similar(array: np.ndarray) -> Callable[[Draw, Dims, np.dtype], np.ndarray]:
    """Other numbers of the same signs; integers stay, for they may be sizes."""
    if not is_float(array.dtype):
        return exactly(array)
    return lambda draw, dims, dtype: np.asarray(array * draw.uniform(0.5, 2, array.shape)).astype(dtype)


def _set_constant(sketch: Sketch, name: str, array: np.ndarray) -> None:
    sketch.constants[name] = sketch.arrays[name] = array


def _other_rank(draw: Draw, dims: Dims) -> Dims:
    if dims and draw.chance(0.5):
        return dims[1:]
    return (1, *dims) if draw.chance(0.5) else (*dims, 1)


# -- nodes -------------------------------------------------------------------------------------------------------------

WORDS: Mapping[str, tuple[str, ...]] = {
    "auto_pad": ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"),
    "mode": ("constant", "edge", "reflect", "nearest", "linear", "cubic", "DCR", "CRD"),
    "coordinate_transformation_mode": ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor"),
    "approximate": ("none", "tanh"),
    "direction": ("LEFT", "RIGHT"),
}


LARGEST = 2**63 - 1
NEEDED = frozenset({"equation"})
"""Attributes without which no node is valid."""


def other_attribute(subject: Subject, draw: Draw) -> None:
    """An attribute has another value, or is left out."""
    node = draw.pick(subject.matched_nodes())
    schema = schemas.schema(node.op_type, node.domain, subject.sketch.version)
    present = {attribute.name: attribute for attribute in node.attribute}
    names = [*present, *present, *(schema.attributes if schema is not None else ())]
    name = _pick(draw, names)
    old = present.get(name)
    have = helper.get_attribute_value(old) if old is not None else _default(node, name, subject.sketch.version)
    changed = plain(_changed(draw, name, have)) if old is None or name in NEEDED or draw.chance(0.8) else None
    if old is not None:
        node.attribute.remove(old)
    if changed is not None:
        node.attribute.append(helper.make_attribute(name, changed))


def _default(node: onnx.NodeProto, name: str, version: int) -> Any:
    value = schemas.attribute_default(node.op_type, node.domain, version, name)
    if value is None:
        raise Unfit("an attribute without a default")
    return value


def _changed(draw: Draw, name: str, value: Any) -> Any:
    if name in WORDS:
        return draw.pick(WORDS[name])
    if name == "equation":
        return _changed_equation(draw, value.decode())
    if isinstance(value, bool | int):
        return draw.pick([0, 1, 2, -1, min(value + 1, LARGEST)])
    if isinstance(value, float):
        return draw.pick([0.0, 1.0, 0.5, -0.25, 2 * value])
    if isinstance(value, list | tuple) and value and isinstance(value[0], int):
        return _changed_list(draw, list(value))
    raise Unfit("an attribute that has no neighbours")


def _changed_equation(draw: Draw, equation: str) -> str:
    """The result of an Einsum with its dims in another order, or with one dim summed up."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    if not right.isalpha():
        raise Unfit("an equation whose result is implied")
    letters = draw.shuffled(right)
    return left + arrow + "".join(letters[draw.integer(0, 1) :])


def _changed_list(draw: Draw, numbers: list[int]) -> list[int]:
    if draw.chance(0.4):
        return draw.shuffled(numbers)
    position = draw.integer(0, len(numbers) - 1)
    numbers[position] = min(max(numbers[position] + draw.pick([-1, 1]), 0), LARGEST)
    return numbers


def swapped_operands(subject: Subject, draw: Draw) -> None:
    """The two operands of a node change places."""
    node = _pick(draw, [node for node in subject.matched_nodes() if len(node.input) == 2 and all(node.input)])
    first, second = node.input
    node.input[0], node.input[1] = second, first


def result_goes_on(subject: Subject, draw: Draw) -> None:
    """The result of the root is no result of the model itself, or has other users beside."""
    sketch = subject.sketch
    name = subject.root[0]
    user = sketch.node("Identity", [Operand(name, sketch.arrays[name])])[0]
    if draw.chance(0.6):
        sketch.outputs.remove(name)
    sketch.outputs.append(user.name)


def in_a_branch(subject: Subject, draw: Draw) -> None:
    """The instance, or the last nodes of it, are in the branches of an If."""
    sketch = subject.sketch
    sketch.inputs[CONDITION] = np.array(True)
    sketch.fillers[CONDITION] = ordinary
    sketch.branch_from = 0 if draw.chance(0.6) else draw.integer(0, len(sketch.nodes) - 1)


def _pick(draw: Draw, choices: list[Any]) -> Any:
    if not choices:
        raise Unfit("nothing to vary")
    return draw.pick(choices)


HARMLESS: tuple[Variation, ...] = (swapped_operands, result_goes_on, constant_has_other_user, in_a_branch)
"""Variations under which most rules apply."""
NEAR_MISSES: tuple[Variation, ...] = (
    extra_user,
    interior_is_output,
    optional_result_is_read,
    constant_of_other_dims,
    constant_of_other_dims,
    constant_of_other_contents,
    constant_is_input,
    constant_is_overridable,
    other_attribute,
    other_attribute,
    other_attribute,
)
