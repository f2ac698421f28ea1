"""Weights at rest: integers or 8-bit floats with a scale for each output channel, or for each block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from onnx_opt.quantization.forms import SMALLEST_SCALE, Form, stored_type


@dataclass(frozen=True)
class Stored:
    """Quantized weights: DequantizeLinear(values, scales, axis, block) gives them back. `axis` is None, and there is
    one scale, where the weights have no channels; `block` is 0 unless the elements along `axis` share scales."""

    values: np.ndarray
    scales: np.ndarray
    axis: int | None
    block: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes in the file; two elements of four bits share one."""
        bits = 4 if self.values.dtype.name in ("int4", "uint4") else 8 * self.values.dtype.itemsize
        return (self.values.size * bits + 7) // 8 + self.scales.nbytes


def store(weights: np.ndarray, form: Form, channels: int | None, summed: int) -> Stored:
    """Finite FP32 weights in a form, symmetric around zero: the largest of each channel (along the axis `channels`), or
    of each block (along `summed`), becomes the form's largest magnitude."""
    if form.block:
        return _in_blocks(weights, form, summed)
    others = tuple(axis for axis in range(weights.ndim) if axis != channels)
    scales = _scales(_largest(weights, others), form)
    values = _rounded(weights / _along(scales, weights.ndim, channels), form)
    return Stored(values, scales, channels)


def _in_blocks(weights: np.ndarray, form: Form, axis: int) -> Stored:
    """Blocks of `form.block` elements along `axis`, the last of which may be shorter."""
    size, block = weights.shape[axis], form.block
    starts = np.arange(0, size, block)
    scales = _scales(np.maximum.reduceat(np.abs(weights), starts, axis=axis), form)
    spread = np.take(scales, np.arange(size) // block, axis=axis)
    return Stored(_rounded(weights / spread, form), scales, axis, block)


def _largest(weights: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The largest magnitudes over some axes, without a copy of all magnitudes."""
    if not weights.size:
        return np.zeros([n for axis, n in enumerate(weights.shape) if axis not in axes], np.float32)
    return np.asarray(np.maximum(weights.max(axis=axes), -weights.min(axis=axes)))


def _scales(largest: np.ndarray, form: Form) -> np.ndarray:
    """A channel of zeros has the scale 1."""
    scales = (largest.astype(np.float64) / form.largest).astype(np.float32)
    return np.where(largest > 0, np.maximum(scales, np.float32(SMALLEST_SCALE)), np.float32(1)).astype(np.float32)


def _along(scales: np.ndarray, rank: int, axis: int | None) -> np.ndarray:
    shape = [1] * rank
    if axis is not None:
        shape[axis] = -1
    return scales.reshape(shape)


def _rounded(ratios: np.ndarray, form: Form) -> np.ndarray:
    """To the nearest, halves to even, as QuantizeLinear does."""
    ratios = np.clip(ratios, -form.largest, form.largest)
    if form.weights != TensorProto.FLOAT8E4M3FN:
        ratios = np.rint(ratios)
    return ratios.astype(stored_type(form.weights))


def restored(stored: Stored) -> np.ndarray:
    """The FP32 weights that the stored ones stand for."""
    values = stored.values.astype(np.float32)
    if stored.block:
        assert stored.axis is not None
        index = np.arange(values.shape[stored.axis]) // stored.block
        return values * np.take(stored.scales, index, axis=stored.axis)
    return values * _along(stored.scales, values.ndim, stored.axis)


def store_bias(bias: np.ndarray, scales: np.ndarray) -> np.ndarray | None:
    """A bias as int32 in units of `scales` (one for all, or one for each element); None where it is too large."""
    ratios = np.rint(bias.astype(np.float64) / scales.astype(np.float64))
    if not (np.abs(ratios) <= np.iinfo(np.int32).max).all():
        return None
    return ratios.astype(np.int32)
