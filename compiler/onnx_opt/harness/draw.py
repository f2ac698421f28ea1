"""Seeded choices: every instance is a function of one number."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from onnx_opt.validate.figures import is_float

T = TypeVar("T")
Dims = tuple[int, ...]
Filler = Callable[["Draw", Dims, np.dtype], np.ndarray]
"""What a value holds: makes an array of the given dims and dtype."""

UNIFORM_SIZE_CHANCE = 0.2
"""How often all sizes of an instance are the same, so that dims which mean different things match by chance."""


class Draw:
    """A stream of choices. The same seed and name give the same stream."""

    def __init__(self, seed: int, name: str):
        self._rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
        self._uniform = self.pick([2, 3]) if self.chance(UNIFORM_SIZE_CHANCE) else 0
        self.favourite = ""
        """A way to broadcast that is chosen again and again."""

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self._rng.random() < probability)

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`; to list one several times makes it likelier."""
        return choices[int(self._rng.integers(len(choices)))]

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return int(self._rng.integers(low, high, endpoint=True))

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """`items` in another order."""
        return [items[int(i)] for i in self._rng.permutation(len(items))]

    def size(self, high: int = 4) -> int:
        """The size of an axis."""
        return self._uniform or self.integer(1, high)

    def dims(self, rank: int) -> Dims:
        """The sizes of all axes."""
        return tuple(self.size() for _ in range(rank))

    def normal(self, dims: Dims) -> np.ndarray:
        """Normally distributed float64 numbers."""
        return self._rng.standard_normal(dims)

    def uniform(self, low: float, high: float, dims: Dims = ()) -> Any:
        """Evenly distributed float64 numbers."""
        return self._rng.uniform(low, high, dims)

    def integers(self, low: int, high: int, dims: Dims) -> np.ndarray:
        """Whole numbers from `low` to `high`, both included, as int64."""
        return np.asarray(self._rng.integers(low, high, dims, endpoint=True))


# -- fillers -----------------------------------------------------------------------------------------------------------


def ordinary(draw: Draw, dims: Dims, dtype: np.dtype) -> np.ndarray:
    """Numbers of either sign around 1; small integers, none negative where the type has no sign."""
    if dtype == np.bool_:
        return draw.integers(0, 1, dims).astype(dtype)
    if dtype.kind in "iu":
        return draw.integers(-5 if dtype.kind == "i" else 0, 9, dims).astype(dtype)
    return np.asarray(draw.normal(dims) * draw.pick([1, 1, 1, 4, 0.25])).astype(dtype)


def positive(draw: Draw, dims: Dims, dtype: np.dtype) -> np.ndarray:
    """Numbers above zero."""
    if dtype.kind in "iu":
        return draw.integers(1, 6, dims).astype(dtype)
    return np.asarray(draw.uniform(0.25, 3, dims)).astype(dtype)


def fraction(draw: Draw, dims: Dims, dtype: np.dtype) -> np.ndarray:
    """Numbers between -1 and 1."""
    return np.asarray(draw.uniform(-0.95, 0.95, dims)).astype(dtype)


def below(size: int, negative: bool = False) -> Filler:
    """Indices into an axis of `size`; `negative` ones count from its end."""

    def fill(draw: Draw, dims: Dims, dtype: np.dtype) -> np.ndarray:
        return draw.integers(-size if negative else 0, size - 1, dims).astype(dtype)

    return fill


def exactly(array: np.ndarray) -> Filler:
    """The same contents at whatever sizes: what an operand that holds a shape must keep."""
    return lambda draw, dims, dtype: array.astype(dtype)


SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0)


def sprinkled(draw: Draw, array: np.ndarray) -> np.ndarray:
    """Some elements, one at least, replaced by NaN, infinities and zeros of either sign."""
    if not is_float(array.dtype) or not array.size:
        return array
    mixed = array.copy()
    flat = mixed.reshape(-1)
    for position in draw.integers(0, flat.size - 1, (max(1, flat.size // 12),)):
        flat[position] = draw.pick(SPECIAL)
    return mixed
