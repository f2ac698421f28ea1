"""Resizing pictures to a fixed height and width, as OpenCV and Pillow-free programs do it, in NumPy and as a node.

`linear` samples at the centres of pixels (half_pixel) and repeats the border, as `cv2.INTER_LINEAR` does on float32;
`nearest` takes the pixel at floor(i * scale), as `cv2.INTER_NEAREST` does. Neither smooths before it shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.errors import UsageError
from onnx_opt.imaging.kinds import Interpolation
from onnx_opt.imaging.ports import Port

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Origin, Value

FIRST_OPSET, OPTIONAL_SCALES, AXES_OPSET = 11, 13, 18
"""Where Resize takes sizes and a coordinate mode; where roi and scales may be left out; where it takes axes."""


@dataclass(frozen=True)
class Resize:
    """To `height` by `width` pixels."""

    height: int
    width: int
    interpolation: Interpolation = "linear"

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"

    def check(self, port: Port, opset: int) -> None:
        """Raise UsageError where the model takes pictures of another size, or can't hold a Resize."""
        if opset < FIRST_OPSET:
            raise UsageError(f"resize needs operator set {FIRST_OPSET} or later, the model has {opset}")
        if port.rank != 4:
            raise UsageError(f"resize needs an input of four dims, '{port.name}' has {port.rank}")
        for axis, size in zip(port.spatial, (self.height, self.width), strict=True):
            if isinstance(port.dims[axis], int) and port.dims[axis] != size:
                wanted = "x".join(str(port.dims[axis]) for axis in port.spatial)
                raise UsageError(f"input '{port.name}' takes {wanted} pixels, not {self}", remedy="resize to that")

    def apply(self, x: np.ndarray, axes: tuple[int, int]) -> np.ndarray:
        """In NumPy: along one axis after the other, weights and sums in float64, rounded once."""
        y = x.astype(np.float64)
        for axis, size in zip(axes, (self.height, self.width), strict=True):
            y = self._along(y, axis, size)
        return y.astype(x.dtype)

    def _along(self, x: np.ndarray, axis: int, size: int) -> np.ndarray:
        old = x.shape[axis]
        # ONNX: the scale is a float32, size / old; coordinates are computed from it.
        scale = np.float32(size) / np.float32(old)
        if self.interpolation == "nearest":
            places = np.floor(np.arange(size, dtype=np.float32) / scale).astype(np.int64)
            return np.take(x, np.clip(places, 0, old - 1), axis=axis)
        at = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / scale - np.float32(0.5)
        at = np.clip(at, 0, old - 1)
        low = np.floor(at).astype(np.int64)
        high = np.minimum(low + 1, old - 1)
        weight = (at - low.astype(np.float32)).astype(np.float64)
        shape = [1] * x.ndim
        shape[axis] = size
        weight = weight.reshape(shape)
        return np.take(x, low, axis=axis) * (1 - weight) + np.take(x, high, axis=axis) * weight

    def node(self, graph: Graph, x: Value, port: Port, origin: Origin, name: str) -> list[Node]:
        """The nodes that resize the picture `x` in the model's layout; the last one gives the result."""
        nodes: list[Node] = []
        attrs: dict[str, Any] = {"mode": self.interpolation}
        if self.interpolation == "nearest":
            attrs |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        else:
            attrs |= {"coordinate_transformation_mode": "half_pixel"}
        if graph.opset >= AXES_OPSET:
            attrs["axes"] = list(port.spatial)
            sizes: Value = graph.add_constant(np.array([self.height, self.width], np.int64), f"{name}_sizes")
        else:
            sizes = self._all_sizes(graph, x, port, origin, name, nodes)
        empty = None
        if graph.opset < OPTIONAL_SCALES:
            empty = graph.add_constant(np.zeros(0, np.float32), f"{name}_none")
        operands = [x, empty, empty, sizes]
        return [*nodes, graph.make_node("Resize", operands, attrs, name=f"{name}_resize", origin=origin)]

    def _all_sizes(self, graph: Graph, x: Value, port: Port, origin: Origin, name: str, nodes: list[Node]) -> Value:
        """Sizes of all dims, those that stay as the picture has them."""
        wanted = dict(zip(port.spatial, (self.height, self.width), strict=True))
        fixed = [wanted.get(axis, dim) for axis, dim in enumerate(port.dims)]
        if all(isinstance(dim, int) for dim in fixed):
            return graph.add_constant(np.array(fixed, np.int64), f"{name}_sizes")
        shape = graph.make_node("Shape", [x], name=f"{name}_shape", origin=origin)
        nodes.append(shape)
        parts: list[Value] = []
        for axis in range(port.rank):
            if axis in wanted:
                parts.append(graph.add_constant(np.array([wanted[axis]], np.int64), f"{name}_size"))
                continue
            index = graph.add_constant(np.array([axis], np.int64), f"{name}_axis")
            nodes.append(graph.make_node("Gather", [shape.outputs[0], index], name=f"{name}_dim", origin=origin))
            parts.append(nodes[-1].outputs[0])
        nodes.append(graph.make_node("Concat", parts, {"axis": 0}, name=f"{name}_sizes", origin=origin))
        return nodes[-1].outputs[0]
