"""Which whole numbers a value may hold: what makes a detour through another type exact."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from onnx_opt import types
from onnx_opt.ir import Node, Value

Bounds = tuple[float, float]
"""The lowest and the highest number; infinite where there is no bound."""

EXACT_FLOAT32 = 1 << 24
"""Whole numbers up to here are exact in FP32, and so are their sums as long as none is larger."""
CLIP_TAKES_OPERANDS = 11
"""The operator set from which the limits of Clip are operands."""
EVERY: Bounds = (-math.inf, math.inf)
MOVES = frozenset({
    "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "GatherElements",
    "GatherND", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "MaxPool", "GlobalMaxPool",
})  # fmt: skip
"""Operators whose result holds elements of the first operand, and nothing else where it holds anything."""
_STEPS = 12
_LARGEST_CONSTANT = 1 << 16


def type_bounds(elem_type: int) -> Bounds | None:
    """What an integer type can hold; None for other types."""
    dtype = types.numpy_dtype(elem_type)
    if dtype is None or dtype.kind not in "iu":
        return (0, 1) if dtype is not None and dtype.kind == "b" else None
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def whole_bounds(value: Value, steps: int = _STEPS) -> Bounds | None:
    """Bounds of a value that holds whole numbers only (NaN and infinities aside); None where that is not proven."""
    of_type = type_bounds(value.elem_type)
    known = _constant_bounds(value)
    if known is None and value.producer is not None and steps:
        known = _of_node(value.producer, value, steps - 1)
    if known is None or of_type is None:
        return known or of_type
    inside = of_type[0] <= known[0] and known[1] <= of_type[1]
    return known if inside else of_type  # it may have wrapped around


def _constant_bounds(value: Value) -> Bounds | None:
    array = value.constant
    if array is None or not 0 < array.size <= _LARGEST_CONSTANT or array.dtype.kind not in "iufb":
        return None
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.rint(array)).all()):
        return None
    return float(array.min()), float(array.max())


def _of_node(node: Node, value: Value, steps: int) -> Bounds | None:
    if node.domain or node.outputs[0] is not value or not node.inputs:
        return None
    if node.op in MOVES:
        return whole_bounds(node.inputs[0], steps)
    find = _FORMULAS.get(node.op)
    return find(node, steps) if find is not None else None


def _rounded(node: Node, steps: int) -> Bounds | None:
    return EVERY


def _cast(node: Node, steps: int) -> Bounds | None:
    """A number that the new type can't hold becomes any other."""
    found = whole_bounds(node.inputs[0], steps)
    target = type_bounds(node.outputs[0].elem_type)
    if found is None or target is None:
        return found if found is not None and _is_exact_float(node, found) else target
    return found if target[0] <= found[0] and found[1] <= target[1] else target


def _is_exact_float(node: Node, bounds: Bounds) -> bool:
    return node.outputs[0].elem_type in (1, 11) and max(map(abs, bounds)) <= EXACT_FLOAT32


def _clip(node: Node, steps: int) -> Bounds | None:
    found = whole_bounds(node.inputs[0], steps) if node.version >= CLIP_TAKES_OPERANDS else None
    for index, choose in ((1, max), (2, min)):
        limit = node.input(index)
        bounds = whole_bounds(limit, 0) if limit is not None else None
        if found is None or (limit is not None and bounds is None):
            return None
        if bounds is not None:
            found = choose(found[0], bounds[0]), choose(found[1], bounds[1])
    return found


def _added(sign: int) -> Callable[[Node, int], Bounds | None]:
    def find(node: Node, steps: int) -> Bounds | None:
        one, other = (whole_bounds(operand, steps // 2) for operand in node.inputs[:2])
        if one is None or other is None:
            return None
        low, high = other if sign > 0 else (-other[1], -other[0])
        total = one[0] + low, one[1] + high
        return EVERY if any(map(math.isnan, total)) else total

    return find


def _joined(node: Node, steps: int) -> Bounds | None:
    if len(node.inputs) > _STEPS:
        return None
    parts = [whole_bounds(operand, steps // 2) for operand in node.inputs]
    if any(part is None for part in parts):
        return None
    return min(part[0] for part in parts if part), max(part[1] for part in parts if part)


def _remainder(node: Node, steps: int) -> Bounds | None:
    """Of integers, modulo a positive constant: the result has the sign of that."""
    divisor = _constant_bounds(node.inputs[1])
    whole = divisor is not None and divisor[0] > 0 and not node.attribute("fmod", 0)
    return (0, divisor[1] - 1) if whole and divisor is not None else None


def _quotient(node: Node, steps: int) -> Bounds | None:
    """Of integers that are not negative, by a positive constant."""
    found, divisor = whole_bounds(node.inputs[0], steps), _constant_bounds(node.inputs[1])
    if found is None or divisor is None or found[0] < 0 or divisor[0] < 1 or types.is_float(value_type(node)):
        return None
    return found[0] // divisor[1], found[1] // divisor[0]


def value_type(node: Node) -> int:
    """The element type of a node's first result."""
    return node.outputs[0].elem_type


def _product(node: Node, steps: int) -> Bounds | None:
    """Of integers that are not negative."""
    one, other = (whole_bounds(operand, steps // 2) for operand in node.inputs[:2])
    if one is None or other is None or min(one[0], other[0]) < 0 or types.is_float(value_type(node)):
        return None
    return one[0] * other[0], one[1] * other[1]


_FORMULAS: dict[str, Callable[[Node, int], Bounds | None]] = {
    "Round": _rounded,
    "Floor": _rounded,
    "Ceil": _rounded,
    "Cast": _cast,
    "Clip": _clip,
    "Add": _added(1),
    "Sub": _added(-1),
    "Concat": _joined,
    "Mod": _remainder,
    "Div": _quotient,
    "Mul": _product,
}


def fits(bounds: Bounds | None, elem_type: int) -> bool:
    """Whether a type holds every whole number within the bounds."""
    if bounds is None or not all(map(math.isfinite, bounds)):
        return False
    limits = type_bounds(elem_type)
    if limits is not None:
        return limits[0] <= bounds[0] and bounds[1] <= limits[1]
    largest = {1: EXACT_FLOAT32, 10: 1 << 11, 11: 1 << 53, 16: 1 << 8}.get(elem_type, -1)
    return max(map(abs, bounds)) <= largest


def has_negative_zero(value: Value) -> bool:
    """Whether a floating-point value may hold -0, which no integer stands for."""
    for _ in range(_STEPS):
        node = value.producer
        if not types.is_float(value.elem_type):
            return False
        if node is None or node.domain:
            break
        if node.op == "Cast" and not types.is_float(node.inputs[0].elem_type):
            return False
        if node.op == "Add" and any(_is_positive_zero_or_more(operand) for operand in node.inputs):
            return False
        if node.op != "Clip" and node.op not in MOVES:
            break
        value = node.inputs[0]
    array = value.constant
    return array is None or bool((np.signbit(array) & (array == 0)).any())


def _is_positive_zero_or_more(value: Value) -> bool:
    """Whether a term is no -0, so that no sum with it is."""
    array = value.constant
    if array is not None and array.size <= _LARGEST_CONSTANT:
        return not (np.signbit(array) & (array == 0)).any()
    node = value.producer
    return node is not None and node.op == "Cast" and not types.is_float(node.inputs[0].elem_type)
