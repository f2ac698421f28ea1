"""What padded channels hold: zero, a known number, something between two finite numbers, or nobody knows what.

Padding starts as zeros (or as what a table fills constants with) and is followed through every operator by interval
arithmetic. A consumer takes padding in with weights of zero, which is only right for finite numbers: 0 * Inf is NaN.
What real channels hold is not followed: as long as they are finite, the padding beside them is what is said here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnx_opt import traits, types

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

TRAIT = "padding"
traits.define(TRAIT, "what an elementwise operator makes of padded channels (a Holes)")


class Range(NamedTuple):
    """All padded elements lie between two finite numbers, both included."""

    low: float
    high: float


Content = Range | None
"""None: nothing is known, NaN and infinities are possible."""
UNKNOWN: Content = None
ZERO = Range(0, 0)

INEXACT = 1e-3
"""By how much of itself a computed number may be off: half precision, and functions that runtimes approximate."""
WIDE, SAFE_OF_WIDE, SAFE_OF_SMALL = 1e9, 1e-8, 1e-3
"""Which part of an element type's largest number (a small one up to WIDE) is so far from it that sums over whole images
stay finite."""
SAFE_TO_SQUARE = 100.0
"""Numbers up to this size can be squared and summed up in every element type."""
SMALL_EXACT = 2048
"""Whole numbers up to this size are exact in every floating-point type that models use, but for the 8-bit ones."""


def hull(contents: Iterable[Content]) -> Content:
    """What holds of any of several; ZERO for none."""
    found = list(contents)
    known = [content for content in found if content is not None]
    if len(known) < len(found):
        return UNKNOWN
    return Range(min(c.low for c in known), max(c.high for c in known)) if known else ZERO


def widened(content: Content) -> Content:
    """Content after a computation that rounds: zeros stay zeros."""
    if content is None:
        return UNKNOWN
    return Range(content.low - INEXACT * abs(content.low), content.high + INEXACT * abs(content.high))


def is_squarable(content: Content) -> bool:
    """Whether a variance of such numbers is finite."""
    return content is not None and max(map(abs, content)) <= SAFE_TO_SQUARE


def within(content: Content, elem_type: int) -> Content:
    """Content that is safely inside of what an element type can hold, else UNKNOWN."""
    if content is None or math.isnan(content.low) or math.isnan(content.high):
        return UNKNOWN
    low, high = _limits(elem_type)
    return content if low <= content.low and content.high <= high else UNKNOWN


@cache
def _limits(elem_type: int) -> tuple[float, float]:
    """The numbers between which padding counts as safe in an element type; only 0 where none are known."""
    dtype = types.numpy_dtype(elem_type)
    if dtype is not None and dtype.kind == "b":
        return 0, 1
    if dtype is not None and dtype.kind in "iu":
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    if dtype is None or not types.is_float(elem_type):
        return 0, 0
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
    else:
        import ml_dtypes

        largest = float(ml_dtypes.finfo(dtype).max)
    largest *= SAFE_OF_SMALL if largest < WIDE else SAFE_OF_WIDE
    return -largest, largest


def of_array(array: np.ndarray) -> Content:
    """What holds of all elements of a constant."""
    if not array.size or array.dtype.kind in "cOSU":
        return UNKNOWN
    numbers = array.astype(np.float64)
    low, high = float(numbers.min()), float(numbers.max())  # a NaN shows up in both
    return Range(low, high) if math.isfinite(low) and math.isfinite(high) else UNKNOWN


# -- what operators make of it -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Holes:
    """A row of the table: the content of the result, given that of the operands that broadcast. `fill` is what constant
    operands are padded with."""

    fill: float = 0.0

    def __call__(self, node: Node, operands: Sequence[Content]) -> Content:
        """Computed exactly where every operand holds one number."""
        if any(operand is None for operand in operands):
            return UNKNOWN
        return self.at_points(node, [operand.low for operand in operands if operand is not None and _is_point(operand)])

    def at_points(self, node: Node, numbers: list[float]) -> Content:
        """The result where all operands hold one number each; UNKNOWN where they do not."""
        if len(numbers) != len(_broadcast(node)):
            return UNKNOWN
        found = compute(node, numbers)
        if found is None:
            return UNKNOWN
        # At 0 and 1 functions that come out whole are whole on every device; elsewhere that may be rounding.
        exact = found.is_integer() and abs(found) <= SMALL_EXACT and all(n in (-1, 0, 1) for n in numbers)
        return Range(found, found) if exact else widened(Range(found, found))


@dataclass(frozen=True)
class Interval(Holes):
    """Interval arithmetic over all operands, two at a time."""

    combine: Callable[[Range, Range], Content] = field(kw_only=True)

    def __call__(self, node: Node, operands: Sequence[Content]) -> Content:
        found = operands[0]
        for operand in operands[1:]:
            found = UNKNOWN if found is None or operand is None else self.combine(found, operand)
        return found if found is None or _is_exact(found) else widened(found)


@dataclass(frozen=True)
class Monotone(Holes):
    """A function of one operand that only rises or only falls between its `turns`, of limited dips below them."""

    turns: tuple[float, ...] = field(default=(), kw_only=True)
    dip: float = field(default=0.0, kw_only=True)

    def __call__(self, node: Node, operands: Sequence[Content]) -> Content:
        x = operands[0]
        if x is None:
            return UNKNOWN
        if _is_point(x):
            return self.at_points(node, [x.low])
        points = [x.low, x.high, *(turn for turn in self.turns if x.low < turn < x.high)]
        found = hull(self.at_points(node, [float(point)]) for point in points)
        return found if found is None else Range(found.low - self.dip, found.high)


@dataclass(frozen=True)
class Bounded(Holes):
    """A function whose results lie between two numbers, whatever its finite operand."""

    low: float = field(kw_only=True)
    high: float = field(kw_only=True)

    def __call__(self, node: Node, operands: Sequence[Content]) -> Content:
        exact = Holes.__call__(self, node, operands)
        return Range(self.low, self.high) if exact is None and operands[0] is not None else exact


@dataclass(frozen=True)
class Chosen(Holes):
    """One of the operands from `first` on, such as the two of Where."""

    first: int = field(default=0, kw_only=True)

    def __call__(self, node: Node, operands: Sequence[Content]) -> Content:
        return hull(operands[self.first :])


def add(a: Range, b: Range) -> Content:
    return Range(a.low + b.low, a.high + b.high)


def subtract(a: Range, b: Range) -> Content:
    return Range(a.low - b.high, a.high - b.low)


def multiply(a: Range, b: Range) -> Content:
    products = [x * y for x in a for y in b]
    return Range(min(products), max(products))


def divide(a: Range, b: Range) -> Content:
    if b.low <= 0 <= b.high:
        return UNKNOWN
    quotients = [x / y for x in a for y in b]
    return Range(min(quotients), max(quotients))


def smallest(a: Range, b: Range) -> Content:
    return Range(min(a.low, b.low), min(a.high, b.high))


def largest(a: Range, b: Range) -> Content:
    return Range(max(a.low, b.low), max(a.high, b.high))


def average(a: Range, b: Range) -> Content:
    return hull((a, b))


def _is_point(content: Range) -> bool:
    return content.low == content.high


def _is_exact(content: Range) -> bool:
    return all(float(x).is_integer() and abs(x) <= SMALL_EXACT for x in content)


def _broadcast(node: Node) -> list[Value]:
    arity = traits.elementwise_arity(node.domain, node.op)
    return list(node.inputs if arity < 0 else node.inputs[:arity])


def holes_of(node: Node) -> Holes:
    """The row for an elementwise operator; without one, only what all operands hold one number for is computed."""
    found: Holes | None = traits.ask(node.domain, node.op, TRAIT)
    return found or _PLAIN


_PLAIN = Holes()


# -- computing with single numbers -------------------------------------------------------------------------------------


def compute(node: Node, numbers: Sequence[float]) -> float | None:
    """The first result of an elementwise node at single numbers; None where that is not finite or can't be computed."""
    from onnx_opt.evaluate import evaluate

    arrays: dict[Value, np.ndarray] = {}
    for value, number in zip(_broadcast(node), numbers, strict=True):
        dtype = types.numpy_dtype(value.elem_type)
        if dtype is None or dtype.kind == "O":
            return None
        arrays[value] = np.array(number).astype(dtype)

    def known(value: Value) -> np.ndarray | None:
        found = arrays.get(value)
        return value.constant if found is None else found

    key = _question(node, known)
    if key not in _ANSWERS:
        result = evaluate([node], [node.outputs[0]], known).arrays.get(node.outputs[0])
        answer = None if result is None or result.size != 1 or result.dtype.kind == "O" else float(result.item())
        if len(_ANSWERS) > MOST_ANSWERS:
            _ANSWERS.clear()
        _ANSWERS[key] = answer if answer is not None and math.isfinite(answer) else None
    return _ANSWERS[key]


MOST_ANSWERS = 4096
_ANSWERS: dict[Any, float | None] = {}
"""What nodes give at single numbers: the same few questions are asked all over a model."""


def _question(node: Node, known: Callable[[Value], np.ndarray | None]) -> Any:
    """What the answer depends on."""
    operands = [known(value) if value.name else None for value in node.inputs]
    seen = [None if array is None else (array.dtype.str, array.shape, array.tobytes()) for array in operands]
    return node.domain, node.op, node.version, repr(sorted(node.attrs.items())), tuple(seen)


def bounds_of(value: Value, bounded: Callable[[Node], Any]) -> Content:
    """What all elements of a value lie between, or are NaN: known where an operator's results are `bounded`."""
    if value.constant is not None:
        return of_array(value.constant)
    node = value.producer
    row = bounded(node) if node is not None else None
    return Range(row.low, row.high) if isinstance(row, Bounded) else UNKNOWN
