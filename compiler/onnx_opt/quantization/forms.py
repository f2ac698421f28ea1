"""The forms of a quantized model: the types of its weights and activations, and scales for them.

    x is stored as   q = saturate(round(x / scale) + zero_point)   and stands for   (q - zero_point) * scale

(ONNX, QuantizeLinear). A signed form has the zero point 0, so that x = 0 is exact and products need no correction; an
unsigned one uses all its values where activations are not symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from onnx_opt.errors import TargetError
from onnx_opt.types import numpy_dtype

if TYPE_CHECKING:
    from onnx_opt.target import Target

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Scales below are subnormal numbers, which runtimes may take for 0."""


@dataclass(frozen=True)
class Form:
    """`largest` is the largest magnitude that weights of the type `weights` may have; `activations` is their type, 0
    where they stay as they are; `oldest` the first operator set that has the form, `tolerance` the error of a whole
    model that is taken as normal, relative to the magnitude of the output. `block` weights along the summed axis share
    a scale (0: all do). The rest is the target's wish (`onnx_opt.target.Quantized`)."""

    name: str
    weights: int
    largest: float
    activations: int
    oldest: int
    tolerance: float
    block: int = 0
    integer_bias: bool = False
    results: bool = False

    @property
    def unsigned(self) -> bool:
        """Whether activations have a zero point."""
        return self.activations == TensorProto.UINT8


FORMS = {
    "int8": Form("int8", TensorProto.INT8, 127.0, TensorProto.INT8, 13, 0.1),
    "fp8": Form("fp8", TensorProto.FLOAT8E4M3FN, 448.0, TensorProto.FLOAT8E4M3FN, 19, 0.15),
    "int4": Form("int4", TensorProto.INT4, 7.0, 0, 21, 0.2, block=128),
}
"""By name. Operator set 13 brought scales for each channel, 19 the 8-bit floats, 21 the 4-bit integers and blocks."""


def form_for(name: str, target: Target, block: int = 0) -> Form:
    """The form `name` as a target takes it. Raises TargetError where it does not."""
    wish, form = target.quantized, FORMS[name]
    if name not in wish.forms:
        remedy = f"--quantize {' or '.join(sorted(wish.forms))}, or another --target"
        raise TargetError(f"{target.name} does not compute in {name}", remedy=remedy)
    if name == "int8":
        kind = TensorProto.UINT8 if wish.unsigned else TensorProto.INT8
        return replace(form, activations=kind, integer_bias=wish.integer_bias, results=wish.results)
    return replace(form, block=block or form.block) if form.block else form


@dataclass(frozen=True)
class Scale:
    """What one activation is stored with."""

    scale: float
    zero_point: int = 0


def scale_of(low: float, high: float, form: Form) -> Scale:
    """The scale that holds [low, high], and zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    if form.unsigned:
        step = _step((high - low) / 255.0)
        return Scale(step, int(np.clip(round(-low / step), 0, 255)))
    return Scale(_step(max(-low, high) / form.largest))


def _step(scale: float) -> float:
    """The scale as the FP32 number that the model holds; 1 where all is zero."""
    return float(np.float32(max(scale, SMALLEST_SCALE))) if scale > 0 else 1.0


def stored_type(elem_type: int) -> np.dtype:
    """The numpy (ml_dtypes) type of a form's elements."""
    dtype = numpy_dtype(elem_type)
    assert dtype is not None
    return dtype
