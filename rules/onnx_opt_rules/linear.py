"""Linear operators with constant weights: where their channels lie, and what scaling them does to the weights.

For Conv, ConvTranspose, Gemm and MatMul, y = L(x) + b is linear in x, so a scale and a shift per output channel go into
weights and bias, s * (L(x) + b) + t = (s * L)(x) + (s * b + t), and a scale per input channel goes into the weights.
Everything is computed in float64 and rounded once to the type of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from onnx_opt import shapes, types
from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import op, require

OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
SHARED_WEIGHT_LIMIT = 1 << 20
"""Bytes of a weight with other users above which a changed copy of it is not worth its size."""

NEGLIGIBLE = 1e-3
"""Weights this much smaller than the largest one may be rounded more coarsely: they hardly count."""


@dataclass(frozen=True)
class Linear:
    """A linear node with weight `w` and bias `b` (None: no bias)."""

    node: Node
    w: np.ndarray
    b: np.ndarray | None

    @staticmethod
    def of(node: Node, w: np.ndarray, b: np.ndarray | None) -> Linear:
        """The node with its constants; declines what the formulas do not cover."""
        require(w.dtype.kind != "O" and types.is_float(node.inputs[1].elem_type), "the weights are not floating-point")
        require(node.version >= 7 or node.op in ("Conv", "ConvTranspose", "MatMul"), "Gemm before operator set 7")
        require(w.ndim >= (2 if node.op in ("Gemm", "MatMul") else 3), "the weights have too few dimensions")
        require(node.op != "Gemm" or w.ndim == 2, "Gemm weights are matrices")
        weight = node.inputs[1]
        shared = len(weight.uses) > 1
        require(not shared or w.nbytes <= SHARED_WEIGHT_LIMIT, "the weights have other users and are large")
        return Linear(node, w, b)

    @property
    def group(self) -> int:
        return int(self.node.attribute("group", 1)) if self.is_convolution else 1

    @property
    def is_convolution(self) -> bool:
        return self.node.op in ("Conv", "ConvTranspose")

    @property
    def has_bias(self) -> bool:
        """Whether the operator takes a bias at all."""
        return self.node.op != "MatMul"

    @property
    def outputs(self) -> int:
        """The number of output channels."""
        if self.node.op == "Conv":
            return self.w.shape[0]
        if self.node.op == "ConvTranspose":
            return self.w.shape[1] * self.group
        return self.w.shape[0 if self._transposed else -1]

    @property
    def inputs(self) -> int:
        """The number of input channels."""
        if self.node.op == "Conv":
            return self.w.shape[1] * self.group
        if self.node.op == "ConvTranspose":
            return self.w.shape[0]
        return self.w.shape[1 if self._transposed else -2]

    @property
    def _transposed(self) -> bool:
        return self.node.op == "Gemm" and bool(self.node.attribute("transB", 0))

    def channel_axis(self, rank: int) -> int:
        """The axis of the channels in a result (or operand) of `rank` dims."""
        return 1 if self.is_convolution else rank - 1

    def scaled_outputs(self, scale: np.ndarray) -> np.ndarray:
        """The weights after scaling each output channel; `scale` has one element per channel."""
        w = self.w.astype(np.float64)
        if self.node.op == "Conv":
            return w * scale.reshape(-1, *[1] * (w.ndim - 1))
        if self.node.op == "ConvTranspose":
            grouped = w.reshape(self.group, -1, *w.shape[1:])
            return (grouped * scale.reshape(self.group, 1, -1, *[1] * (w.ndim - 2))).reshape(w.shape)
        return w * (scale[:, None] if self._transposed else scale)

    def scaled_inputs(self, scale: np.ndarray) -> np.ndarray:
        """The weights after scaling each input channel instead of the operand."""
        w = self.w.astype(np.float64)
        if self.node.op == "Conv":
            grouped = w.reshape(self.group, -1, *w.shape[1:])
            return (grouped * scale.reshape(self.group, 1, -1, *[1] * (w.ndim - 2))).reshape(w.shape)
        if self.node.op == "ConvTranspose":
            return w * scale.reshape(-1, *[1] * (w.ndim - 1))
        return w * (scale if self._transposed else scale[:, None])

    def response(self, shift: np.ndarray) -> np.ndarray:
        """What adding `shift` to each input channel adds to each output channel, where no padding cuts in."""
        w = self.scaled_inputs(shift)
        if self.node.op == "Conv":
            return w.sum(axis=tuple(range(1, w.ndim)))
        return w.sum(axis=1 if self._transposed else -2) * float(self.node.attribute("alpha", 1.0))

    def bias(self) -> np.ndarray | None:
        """The bias in float64 with Gemm's beta applied."""
        if self.b is None:
            return None
        beta = float(self.node.attribute("beta", 1.0)) if self.node.op == "Gemm" else 1.0
        return self.b.astype(np.float64) * beta

    def rebuilt(self, x: Any, w: np.ndarray, b: np.ndarray | None) -> Any:
        """The node with other weights and bias (float64), rounded to the type of the weights."""
        w, b = self._rounded(w), None if b is None else self._rounded(b)
        attrs = dict(self.node.attrs)
        if self.node.op == "Gemm":
            attrs.pop("beta", None)
        operands = (x, w) if b is None else (x, w, b)
        return op[self.node.op](*operands, **attrs)

    def _rounded(self, array: np.ndarray) -> np.ndarray:
        """`array` in the type of the weights; declines where that overflows, or where it pushes them below the normal
        range of half precision, as a layer scale of 1e-6 does."""
        with np.errstate(over="ignore", under="ignore"):
            rounded = array.astype(self.w.dtype)
        exact = rounded.astype(np.float64)
        require(np.isfinite(array).all() and np.isfinite(exact).all(), "the folded weights would not be finite")
        magnitude = np.abs(array)
        allowed = float(ml_dtypes.finfo(self.w.dtype).eps) * (magnitude + NEGLIGIBLE * magnitude.max(initial=0.0))
        require((np.abs(exact - array) <= allowed).all(), "the folded weights would lose precision")
        return rounded


def per_channel(constant: np.ndarray, channels: int, axis: int, rank: int) -> np.ndarray:
    """`constant`, broadcast against `rank` dims, as one float64 number per channel; declines where it varies along
    another axis or widens the result."""
    require(constant.dtype.kind != "O" and constant.ndim <= rank, "the constant has more dimensions than the result")
    shape = (1,) * (rank - constant.ndim) + constant.shape
    others = [dim for position, dim in enumerate(shape) if position != axis]
    require(all(dim == 1 for dim in others), "the constant is not per channel")
    require(shape[axis] in (1, channels), "the constant would widen the channels")
    return np.broadcast_to(constant.astype(np.float64).reshape(-1), (channels,))


def result_rank(linear: Linear, x: Value) -> int:
    """The number of dims of the result (and of the operand); declines where it is unknown."""
    if linear.is_convolution:
        return linear.w.ndim
    require(x.rank is not None and x.rank >= 2, "the rank of the operand is unknown")
    if linear.node.op == "Gemm":
        return 2
    return max(x.rank or 0, linear.w.ndim)


def has_channels(x: Value, linear: Linear, rank: int) -> bool:
    """Whether `x` itself has the operand's rank and channels, so that nothing was broadcast on the way."""
    dims, axis = x.dims, linear.channel_axis(rank)
    return dims is not None and len(dims) == rank > axis >= 0 and shapes.equal(dims[axis], linear.inputs)
