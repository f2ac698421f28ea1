"""From pixels to what a model was trained on: the arithmetic, in NumPy and as nodes.

    y = (x / divisor * scale - mean) / std

in float32, each step rounded as it stands (a step with neutral numbers is left out), after an optional resize of the
pixels as float32; then the channels in the model's order, and the model's type. Mean and standard deviation are those
of torchvision's `Normalize`: in units of the scaled image, one number or one a channel, in the order of the model's
channels. Every step but the resize is correctly rounded in NumPy and in ONNX Runtime alike, so both give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.errors import UsageError
from onnx_opt.imaging.kinds import ImageType, Order
from onnx_opt.imaging.ports import Port
from onnx_opt.imaging.resize import Resize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_REVERSED = {3: (2, 1, 0), 4: (2, 1, 0, 3)}
"""The channels of BGR in the order of RGB, and back; transparency stays last."""


def formula(text: str, steps: Iterable[tuple[str, np.ndarray]]) -> str:
    """Steps of (operator, operand) as people write them."""
    sums = False
    for op, numbers in steps:
        sign = {"Div": "/", "Mul": "*", "Sub": "-", "Add": "+"}[op]
        shown = [f"{number:.7g}" for number in numbers]
        text = f"({text})" if sums and sign in "/*" else text
        text = f"{text} {sign} {shown[0] if len(shown) == 1 else '[' + ', '.join(shown) + ']'}"
        sums = sign in "+-"
    return text


@dataclass(frozen=True)
class Numbers:
    """The numbers of the formula, and the order of channels that a model wants."""

    divisor: float = 1.0
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    order: Order = "rgb"

    def __post_init__(self) -> None:
        if not all(np.isfinite([self.divisor, self.scale, *self.mean, *self.std])):
            raise ValueError("the numbers must be finite")
        if self.divisor == 0 or 0 in self.std:
            raise ValueError("divisor and std must not be 0")

    def steps(self) -> Iterator[tuple[str, np.ndarray]]:
        """(operator, operand) of each step that does something, in order; one number, or one a channel (float32)."""
        for op, numbers, neutral in (
            ("Div", (self.divisor,), 1),
            ("Mul", (self.scale,), 1),
            ("Sub", self.mean, 0),
            ("Div", self.std, 1),
        ):
            if any(number != neutral for number in numbers):
                yield op, np.array(numbers, np.float32)

    def __str__(self) -> str:
        return formula("x", self.steps())


@dataclass(frozen=True)
class Preprocessing:
    """What becomes of the pictures for one input: `dtype` and `order` are those of the pictures that are given."""

    port: Port
    numbers: Numbers
    dtype: ImageType = "uint8"
    order: Order = "rgb"
    resize: Resize | None = None
    _dtype: np.dtype[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        from onnx_opt import types

        channels, name = self.port.channels, self.port.name
        for what, numbers in (("mean", self.numbers.mean), ("std", self.numbers.std)):
            if len(numbers) > 1 and channels not in (None, len(numbers)):
                text = f"{what} has {len(numbers)} numbers, input '{name}' has {channels} channels"
                raise UsageError(text, remedy="give one number a channel")
        if self.reverses and channels not in _REVERSED:
            said = "an unknown number of" if channels is None else channels
            raise UsageError(f"input '{name}' has {said} channels: neither RGB nor BGR", remedy="leave out the order")
        found = types.numpy_dtype(self.port.declared.elem_type)
        assert found is not None
        object.__setattr__(self, "_dtype", found)

    @property
    def reverses(self) -> bool:
        """Whether the channels change their order."""
        return self.order != self.numbers.order

    @property
    def channel_order(self) -> tuple[int, ...]:
        """Where each of the model's channels lies in the picture."""
        return _REVERSED[self.port.channels or 3] if self.reverses else tuple(range(self.port.channels or 1))

    @property
    def model_dtype(self) -> np.dtype[Any]:
        """The type that the model takes."""
        return self._dtype

    @property
    def is_exact(self) -> bool:
        """Whether runtimes give the bits that NumPy gives. Not where they interpolate, nor where the model takes half
        precision: ONNX Runtime's processor kernels leave out the rounding to it."""
        interpolates = self.resize is not None and self.resize.interpolation != "nearest"
        return not interpolates and self._dtype in (np.float32, np.float64)

    def steps(self) -> Iterator[tuple[str, np.ndarray]]:
        """The steps with operands that broadcast over a picture in the model's layout, before its channels are
        reversed."""
        for op, operand in self.numbers.steps():
            if operand.size > 1 and self.reverses:
                operand = operand[list(self.channel_order)]
            yield op, self.port.along_channels(operand) if operand.size > 1 else operand.reshape(())

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The model's input for pictures with their channels last, in NumPy."""
        x = np.transpose(image, self.port.to_model).astype(np.float32)
        if self.resize is not None:
            x = self.resize.apply(x, self.port.spatial)
        for op, operand in self.steps():
            x = {"Div": np.divide, "Mul": np.multiply, "Sub": np.subtract}[op](x, operand)
        if self.reverses:
            x = np.take(x, self.channel_order, axis=self.port.axis)
        return np.ascontiguousarray(x.astype(self._dtype))

    def __str__(self) -> str:
        """What happens, as a formula."""
        text = str(self.numbers)
        if self.resize is not None:
            text = text.replace("x", f"resize(x, {self.resize})", 1)
        layout = "" if self.port.is_last else ", channels first"
        return f"{self.port.name} = {text}{layout}{', channels reversed' if self.reverses else ''}"
