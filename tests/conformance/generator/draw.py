"""Seeded choices, and arrays that are worth trying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import ml_dtypes
import numpy as np

T = TypeVar("T")
Dims = tuple[int, ...]

FLOATS = ("float32", "float64", "float16", "bfloat16")
SIGNED = ("int32", "int64", "int8", "int16")
UNSIGNED = ("uint8", "uint32", "uint16", "uint64")
INTEGERS = SIGNED + UNSIGNED
NUMBERS = FLOATS + INTEGERS
ANY = (*NUMBERS, "bool")
WORDS = ("", "a", "b", "onnx", "42", "-1.5")
SPECIAL = (math.nan, math.inf, -math.inf, -0.0, 0.0, 1e-40)


def dtype_of(name: str) -> np.dtype:
    """The numpy dtype called `name`."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


class Draw:
    """A stream of choices: the same seed gives the same stream."""

    def __init__(self, seed: int):
        self._rng = np.random.Generator(np.random.PCG64(seed))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self._rng.random() < probability)

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`; to list one several times makes it likelier."""
        return choices[int(self._rng.integers(len(choices)))]

    def weighted(self, choices: Sequence[T], weights: Sequence[float]) -> T:
        """One of `choices`, the likelier the larger its weight."""
        share = np.cumsum(weights)
        return choices[min(int(np.searchsorted(share, self._rng.random() * share[-1], "right")), len(choices) - 1)]

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return int(self._rng.integers(low, high, endpoint=True))

    def some(self, items: Sequence[T], most: int) -> list[T]:
        """Between none and `most` different ones of `items`, in their order."""
        count = self.integer(0, min(most, len(items)))
        chosen = sorted(self._rng.permutation(len(items))[:count])
        return [items[int(i)] for i in chosen]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """`items` in another order."""
        return [items[int(i)] for i in self._rng.permutation(len(items))]

    def real(self, low: float, high: float) -> float:
        """A number between `low` and `high` that float32 holds exactly."""
        return float(np.float32(self._rng.uniform(low, high)))

    def array(self, dtype: str, dims: Sequence[int], flavor: str = "") -> np.ndarray:
        """An array, of words where `dtype` is object: 'plain' numbers around 1, 'simple' ones (0, 1, -1, halves), 'special' ones among plain ones, or
        'extreme' integers; by default any of these."""
        dims = tuple(dims)
        if dtype == "bool":
            return np.asarray(self._rng.random(dims) < 0.5)
        if dtype == "object":
            return np.array([self.pick(WORDS) for _ in range(math.prod(dims))], object).reshape(dims)
        if dtype in INTEGERS:
            return self._integers(dtype, dims, flavor)
        flavor = flavor or self.pick(["plain"] * 5 + ["simple", "simple", "special"])
        if flavor == "simple":
            values = np.asarray(self._rng.choice([0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1.0, 0.0], dims))
        else:
            values = np.asarray(self._rng.standard_normal(dims) * self.pick([1, 1, 4, 0.25]))
        with np.errstate(all="ignore"):
            array = values.astype(dtype_of(dtype))
            return self.sprinkled(array) if flavor == "special" else array

    def _integers(self, dtype: str, dims: Dims, flavor: str) -> np.ndarray:
        limits = np.iinfo(dtype)
        flavor = flavor or self.pick(["plain"] * 5 + ["simple", "extreme"])
        if flavor == "extreme":
            edges = [limits.min, limits.max, limits.max // 2 + 1, 1, 0]
            return np.asarray([self.pick(edges) for _ in range(math.prod(dims))], dtype).reshape(dims)
        low, high = (0, 1) if flavor == "simple" else (-4 if limits.min else 0, 6)
        return np.asarray(self._rng.integers(low, high, dims, endpoint=True)).astype(dtype)

    def sprinkled(self, array: np.ndarray) -> np.ndarray:
        """A copy with a few elements replaced by NaN, infinities, zeros of either sign, tiny and huge numbers."""
        mixed = array.copy()
        flat = mixed.reshape(-1)
        if flat.size and array.dtype.kind not in "biu":
            for position in self._rng.integers(0, flat.size, max(1, flat.size // 10)):
                flat[position] = self.pick(SPECIAL)
        return mixed

    def below(self, size: int, dims: Sequence[int], dtype: str = "int64", negative: bool = True) -> np.ndarray:
        """Indices into an axis of `size`, which is not 0; `negative` ones count from its end."""
        low = -size if negative and self.chance(0.4) else 0
        return np.asarray(self._rng.integers(low, size, tuple(dims))).astype(dtype)

    def permutation(self, count: int) -> list[int]:
        """A permutation; often the identity, or one that moves few axes."""
        if self.chance(0.15):
            return list(range(count))
        return [int(i) for i in self._rng.permutation(count)]


def as_python(value: Any) -> Any:
    """A numpy scalar as Python's own."""
    return value.item() if isinstance(value, np.generic) else value
