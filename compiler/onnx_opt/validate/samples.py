"""Random feeds for a model: which sizes, which magnitudes, which integers, in an order that tells most first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from onnx_opt.validate.run import Value
from onnx_opt.validate.signature import Signature, Slot, ValueType
from onnx_opt.validate.sizes import Fixed, Sizes, Symbols
from onnx_opt.validate.values import MAGNITUDES, Range, draw, generator, is_mask, may_be_index

_SEQUENCE_LENGTH = 3


@dataclass
class Sampler:
    """Makes feeds. The same seed, signature and calls give the same feeds, in whatever order they are asked for."""

    signature: Signature
    dims: Mapping[str, Fixed] = field(default_factory=dict)
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    seed: int = 0
    # Ranges that were found to be accepted. Inputs without one stay within `fallback`, or within the type's default.
    ranges: dict[str, Range] = field(default_factory=dict)
    fallback: Range | None = None

    def __post_init__(self) -> None:
        self.symbols = Symbols(self.signature.inputs, self.dims, self.shapes)

    def with_rank(self, rank: int) -> Sampler:
        """This sampler with every unknown rank taken to be `rank`."""
        inputs = tuple(s if s.shape is not None else replace(s, shape=(None,) * rank) for s in self.signature.inputs)
        return Sampler(replace(self.signature, inputs=inputs), self.dims, self.shapes, self.seed)

    @property
    def unknown_ranks(self) -> bool:
        return any(s.shape is None and s.name not in self.shapes for s in self.signature.inputs)

    @property
    def takes_integers(self) -> bool:
        """Whether any input holds integers whose valid range is not known."""
        return any(_leaf(s.type).elem in _WIDE_INTEGERS and not is_mask(s.name) for s in self.signature.inputs)

    def index_like(self) -> list[str]:
        """Inputs on which wide ranges are worth trying."""
        return [slot.name for slot in self.signature.inputs if slot.type.kind == "tensor" and may_be_index(slot)]

    def feed(self, sizes: Sizes, sample: int) -> dict[str, Value]:
        """The `sample`-th feed at `sizes`: its number chooses magnitude, integer range and random values.

        Raises `TypeError` for inputs of which no values can be made.
        """
        magnitude = list(MAGNITUDES)[sample % len(MAGNITUDES)]
        narrow = sample % 4 == 3  # small integers too: rows of an embedding are alike, branches on a number are not
        return {
            slot.name: self._value(slot, slot.type, self.symbols.shape(slot, sizes), magnitude, narrow, sample)
            for slot in self.signature.inputs
        }

    def _value(
        self, slot: Slot, kind: ValueType, shape: tuple[int, ...], magnitude: str, narrow: bool, sample: int
    ) -> Value:
        rng = generator(self.seed, slot.name, sample)
        if kind.kind == "optional" and kind.inner is not None:
            if sample % 3 == 2:
                return None
            return self._value(slot, kind.inner, shape, magnitude, narrow, sample)
        if kind.kind == "seq" and kind.inner is not None and kind.inner.kind == "tensor":
            return [draw(rng, slot.name, kind.inner, shape, magnitude, None) for _ in range(_SEQUENCE_LENGTH)]
        if kind.kind == "map" and kind.inner is not None:
            return _map(rng, kind)
        if kind.kind != "tensor":
            raise TypeError(f"no way to make values of {kind}")
        limits = self.fallback if narrow else self.ranges.get(slot.name, self.fallback)
        return draw(rng, slot.name, kind, shape, magnitude, limits)


_WIDE_INTEGERS = ("int16", "int32", "int64", "uint16", "uint32", "uint64")


def _leaf(kind: ValueType) -> ValueType:
    while kind.inner is not None:
        kind = kind.inner
    return kind


def _map(rng: np.random.Generator, kind: ValueType) -> dict[int | str, float | int | str]:
    keys: list[int | str] = ["a", "b", "c", "onnx"] if kind.elem == "string" else [0, 1, 2, 3]
    chosen = [key for key in keys if rng.random() < 0.75] or keys[:1]
    value = _leaf(kind).elem
    if value == "string":
        return {key: str(key) for key in chosen}
    if value in ("float", "double"):
        return {key: float(rng.standard_normal()) for key in chosen}
    return {key: int(rng.integers(4)) for key in chosen}
