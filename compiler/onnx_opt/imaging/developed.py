"""From what an image-to-image model gives to pixels: the preprocessing backwards, clipped and rounded.

    y = round(clip((x * std + mean) / scale * divisor, 0, 255))        half to even, channels last

in float32, each step rounded as it stands; a step with neutral numbers is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from onnx import TensorProto

from onnx_opt.errors import UsageError
from onnx_opt.imaging.pixels import formula
from onnx_opt.imaging.tail import Tail, exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx_opt.host import Values
    from onnx_opt.imaging.kinds import Order
    from onnx_opt.imaging.pixels import Numbers
    from onnx_opt.imaging.ports import Port
    from onnx_opt.ir import Graph

PixelType = Literal["uint8", "uint16"]
FIRST_OPSET = 11
"""Where Round came, and Clip took its bounds as operands."""
_BACKWARDS = {"Div": "Mul", "Mul": "Div", "Sub": "Add"}


@dataclass(frozen=True)
class Developed:
    """A picture as integers; `order` is that of the channels that are wanted."""

    port: Port
    numbers: Numbers
    dtype: PixelType = "uint8"
    order: Order = "rgb"

    def __post_init__(self) -> None:
        channels = self.port.channels
        for what, numbers in (("mean", self.numbers.mean), ("std", self.numbers.std)):
            if len(numbers) > 1 and channels not in (None, len(numbers)):
                text = f"{what} has {len(numbers)} numbers, output '{self.port.name}' has {channels} channels"
                raise UsageError(text, remedy="give one number a channel")
        if self.reverses and channels != 3:
            raise UsageError(f"output '{self.port.name}' does not have three channels: neither RGB nor BGR")

    @property
    def exact(self) -> bool:
        """Not where runtimes compute half precision in another one."""
        return self.port.declared.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE)

    @property
    def reverses(self) -> bool:
        """Whether the channels change their order."""
        return self.order != self.numbers.order

    @property
    def most(self) -> np.ndarray:
        """The largest pixel (float32)."""
        return np.array(np.iinfo(self.dtype).max, np.float32)

    def __str__(self) -> str:
        text = formula(self.port.name, ((_BACKWARDS[op], each) for op, each in reversed(list(self.numbers.steps()))))
        layout = f", channels last{', reversed' if self.reverses else ''}"
        return f"{self.port.name} = round(clip({text}, 0, {self.most:g})) as {self.dtype}{layout}"

    def steps(self) -> Iterator[tuple[str, np.ndarray]]:
        """(operator, operand) of each step, in the model's layout."""
        for op, operand in reversed(list(self.numbers.steps())):
            yield _BACKWARDS[op], self.port.along_channels(operand) if operand.size > 1 else operand.reshape(())

    def apply(self, outputs: Values) -> Values:
        """In NumPy."""
        x = outputs[self.port.name].astype(np.float32)
        for op, operand in self.steps():
            x = {"Div": np.divide, "Mul": np.multiply, "Add": np.add}[op](x, operand)
        with np.errstate(invalid="ignore"):
            y = np.rint(np.clip(x, np.float32(0), self.most)).astype(self.dtype)
        y = np.transpose(y, self.port.to_last)
        return {**outputs, self.port.name: np.ascontiguousarray(y[..., ::-1] if self.reverses else y)}

    def embed(self, graph: Graph) -> None:
        """As nodes; what is moved is moved as integers."""
        tail = Tail(graph, self.port.name)
        if tail.opset < FIRST_OPSET:
            raise UsageError(f"operator set {FIRST_OPSET} or later is needed, the model has {tail.opset}")
        value = tail.value
        if self.port.declared.elem_type != TensorProto.FLOAT:
            value = tail.op("Cast", value, to=int(TensorProto.FLOAT))
        for op, operand in self.steps():
            value = tail.op(op, value, operand)
        value = tail.op("Round", tail.op("Clip", value, np.array(0, np.float32), self.most))
        value = tail.op("Cast", value, to=int(TensorProto.DataType.Value(self.dtype.upper())))
        if not self.port.is_last:
            value = tail.op("Transpose", value, perm=list(self.port.to_last))
        if self.reverses:
            value = tail.op("Gather", value, np.array([2, 1, 0], np.int64), axis=self.port.rank - 1)
        exchange(graph, [tail.value], {self.port.name: value})
