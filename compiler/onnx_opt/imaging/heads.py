"""What programs do with the scores of a classifier or a segmenter: softmax, the best class, the best few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from onnx import TensorProto

from onnx_opt.errors import UsageError
from onnx_opt.imaging.tail import Tail, exchange

if TYPE_CHECKING:
    from onnx_opt.host import Values
    from onnx_opt.ir import Graph

IndexType = Literal["int64", "int32", "uint8"]
SOFTMAX_OF_ONE_AXIS, TOPK_OF_OPERAND, TOPK_OF_ATTRIBUTE = 13, 10, 1


def class_axis(graph: Graph, name: str, axis: int | None) -> int:
    """The axis of the classes in an output: as given, else the channels of a picture or the last of others."""
    tail = Tail(graph, name)
    rank = tail.value.rank
    if rank is None:
        raise UsageError(f"the rank of output '{name}' is unknown", path=graph.model.path, remedy="give the model dims")
    if axis is None:
        return 1 if rank >= 3 else rank - 1
    if not -rank <= axis < rank:
        raise UsageError(f"output '{name}' has {rank} dims, and no axis {axis}", path=graph.model.path)
    return axis % rank


@dataclass(frozen=True)
class Softmax:
    """exp(x - max) / sum along an axis."""

    name: str
    axis: int
    exact = False

    def __str__(self) -> str:
        return f"{self.name} = softmax({self.name}, axis {self.axis})"

    def apply(self, outputs: Values) -> Values:
        """In NumPy."""
        x = outputs[self.name]
        with np.errstate(invalid="ignore", over="ignore"):
            powers = np.exp((x - x.max(self.axis, keepdims=True)).astype(np.promote_types(x.dtype, np.float32)))
            shares = powers / powers.sum(self.axis, keepdims=True)
        return {**outputs, self.name: shares.astype(x.dtype)}

    def embed(self, graph: Graph) -> None:
        """As a node."""
        tail = Tail(graph, self.name)
        if tail.opset < SOFTMAX_OF_ONE_AXIS and self.axis != (tail.value.rank or 0) - 1:
            text = f"before operator set {SOFTMAX_OF_ONE_AXIS}, Softmax takes the last axis alone"
            raise UsageError(text, path=graph.model.path)
        exchange(graph, [tail.value], {self.name: tail.op("Softmax", tail.value, axis=self.axis)})


@dataclass(frozen=True)
class ArgMax:
    """The index of the largest element along an axis, the first of several; the axis is gone."""

    name: str
    axis: int
    dtype: IndexType = "int64"
    exact = True

    def __str__(self) -> str:
        return f"{self.name} = argmax({self.name}, axis {self.axis}) as {self.dtype}"

    def apply(self, outputs: Values) -> Values:
        """In NumPy."""
        return {**outputs, self.name: outputs[self.name].argmax(self.axis).astype(self.dtype)}

    def embed(self, graph: Graph) -> None:
        """As nodes. Raises UsageError where the type can't hold the number of classes."""
        tail = Tail(graph, self.name)
        classes = (tail.value.dims or ())[self.axis]
        if self.dtype == "uint8" and (not isinstance(classes, int) or classes > 256):
            raise UsageError(f"output '{self.name}' may have more classes than {self.dtype} can count")
        found = tail.op("ArgMax", tail.value, axis=self.axis, keepdims=0)
        if self.dtype != "int64":
            found = tail.op("Cast", found, to=int(TensorProto.DataType.Value(self.dtype.upper())))
        exchange(graph, [tail.value], {self.name: found})


@dataclass(frozen=True)
class TopK:
    """The `k` largest elements along an axis, largest first, and in `indices` where they were."""

    name: str
    axis: int
    k: int
    exact = True

    @property
    def indices(self) -> str:
        return f"{self.name}_indices"

    def __str__(self) -> str:
        return f"{self.name}, {self.indices} = the {self.k} largest of {self.name}, axis {self.axis}"

    def apply(self, outputs: Values) -> Values:
        """In NumPy; of equal elements the first comes first."""
        x = outputs[self.name]
        order = np.argsort(-x, axis=self.axis, kind="stable").take(np.arange(self.k), self.axis)
        rest = {name: value for name, value in outputs.items() if name != self.name}
        return {self.name: np.take_along_axis(x, order, self.axis), self.indices: order.astype(np.int64), **rest}

    def embed(self, graph: Graph) -> None:
        """As a node."""
        tail = Tail(graph, self.name)
        size = (tail.value.dims or ())[self.axis]
        if isinstance(size, int) and size < self.k:
            raise UsageError(f"output '{self.name}' has {size} elements along axis {self.axis}, not {self.k}")
        attrs: dict[str, Any] = {"axis": self.axis}
        operands: list[Any] = [tail.value]
        if tail.opset >= TOPK_OF_OPERAND:
            operands.append(np.array([self.k], np.int64))
        else:
            attrs["k"] = self.k
        values, indices = tail.node("TopK", *operands, outputs=2, **attrs).outputs
        exchange(graph, [tail.value], {self.name: values, self.indices: indices})
