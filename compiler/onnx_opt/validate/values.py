"""Seeded random values for one input: magnitudes for floats, ranges for integers, masks where the name says so."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from onnx_opt.validate.figures import is_float
from onnx_opt.validate.signature import Slot, ValueType

Range = tuple[int, int]  # inclusive

_Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def _wide(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Magnitudes over five decades, either sign, some zeros of either sign."""
    values = rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 2, shape)
    return np.where(rng.random(shape) < 0.1, np.copysign(0.0, values), values)


def _positive(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.random(shape)


def _zeros_and_negatives(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    values = -np.abs(rng.standard_normal(shape))
    return np.where(rng.random(shape) < 0.5, np.copysign(0.0, rng.standard_normal(shape)), values)


def _large(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 100.0 * rng.standard_normal(shape)


def _small(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 1e-3 * rng.standard_normal(shape)


# In the order in which samples use them: the most telling come first, because a big model gets only two or three.
MAGNITUDES: dict[str, _Draw] = {
    "normal": _normal,
    "wide": _wide,
    "positive": _positive,
    "zeros and negatives": _zeros_and_negatives,
    "large": _large,
    "small": _small,
}

_WORDS = ["", "a", "B c", "onnx", "42", "-1.5", "ünïcödé", "the", "The", "  x "]
_MASK = re.compile(r"mask", re.IGNORECASE)
# Integers that say how large something is to become: trying wide ranges on them would exhaust the memory.
_SIZE_LIKE = re.compile(r"shape|size|len|scale|pad|repeat|axes|axis|start|end|step|steps|num|count|^k$|depth", re.I)


def generator(seed: int, name: str, sample: int) -> np.random.Generator:
    """Each input's own stream, so that one input's values do not depend on which others there are."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode()), sample]))


def is_mask(name: str) -> bool:
    return bool(_MASK.search(name))


def is_size(name: str) -> bool:
    """Whether an input seems to say how large something is to become."""
    return bool(_SIZE_LIKE.search(name))


def may_be_index(slot: Slot) -> bool:
    """Whether wide ranges may be tried on an integer input: it looks like indices or data, not like sizes."""
    if slot.type.elem not in ("int32", "int64", "uint32", "uint64") or is_mask(slot.name):
        return False
    shape = slot.shape or ()
    return len(shape) >= 2 or (len(shape) == 1 and not isinstance(shape[0], int) and not _SIZE_LIKE.search(slot.name))


def draw(
    rng: np.random.Generator, name: str, kind: ValueType, shape: tuple[int, ...], magnitude: str, limits: Range | None
) -> np.ndarray:
    """A random tensor. `limits` bounds integers; without it, 0 and 1, or the whole range of an 8-bit type."""
    dtype = kind.dtype
    if dtype is None:
        raise TypeError(f"no way to make values of {kind}")
    if is_mask(name) and kind.elem != "string":
        return _mask(rng, shape).astype(dtype)
    if kind.elem == "string":
        words = [_WORDS[i] for i in rng.integers(0, len(_WORDS), math.prod(shape))]
        return np.array(words, object).reshape(shape)
    if kind.elem == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.kind == "c":
        return _complex(rng, shape, magnitude).astype(dtype)
    if is_float(dtype):
        return np.asarray(MAGNITUDES[magnitude](rng, shape)).astype(dtype)
    low, high = limits or default_range(kind)
    return np.asarray(rng.integers(low, high, shape, np.int64, endpoint=True)).astype(dtype)


def default_range(kind: ValueType) -> Range:
    """Where nothing is known: integers of few bits are data, wider ones may index something small."""
    return {
        "uint8": (0, 255),
        "int8": (-128, 127),
        "uint4": (0, 15),
        "int4": (-8, 7),
        "uint2": (0, 3),
        "int2": (-2, 1),
    }.get(kind.elem, (0, 1))


def _mask(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Ones, then zeros, along the last axis: what padding masks look like. The first row keeps everything."""
    if not shape:
        return np.ones(shape)
    kept = rng.integers(1, max(shape[-1], 1), (*shape[:-1], 1), endpoint=True)
    kept.reshape(-1)[:1] = shape[-1]
    return np.arange(shape[-1]) < kept


def _complex(rng: np.random.Generator, shape: tuple[int, ...], magnitude: str) -> np.ndarray:
    drawer: Any = MAGNITUDES[magnitude]
    return np.asarray(drawer(rng, shape) + 1j * drawer(rng, shape))
