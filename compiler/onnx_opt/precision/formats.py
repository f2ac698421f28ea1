"""The half precision formats: how far they reach."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
from onnx import TensorProto

HEADROOM = 2.0
"""How far below the largest half number a measured value must stay: other inputs may reach further than the samples."""


@dataclass(frozen=True)
class Format:
    """A half precision type: `largest` finite number, `least` positive one, `smallest` magnitude of which anything is
    left (three bits, among the subnormal ones), `error` the relative rounding error (half a unit in the last place),
    `tolerance` the error of a whole model that is taken as normal, relative to the magnitude of the output."""

    name: str
    dtype: str
    elem_type: int
    largest: float
    smallest: float
    least: float
    error: float
    tolerance: float


def _format(name: str, elem_type: int, dtype: type, tolerance: float) -> Format:
    info = ml_dtypes.finfo(dtype)
    return Format(
        name,
        np.dtype(dtype).name,
        elem_type,
        float(info.max),
        8 * float(info.smallest_subnormal),
        float(info.smallest_subnormal),
        float(info.eps) / 2,
        tolerance,
    )


FORMATS = {
    int(TensorProto.FLOAT16): _format("fp16", TensorProto.FLOAT16, np.float16, 1e-2),
    int(TensorProto.BFLOAT16): _format("bf16", TensorProto.BFLOAT16, ml_dtypes.bfloat16, 8e-2),
}
"""ONNX element type -> format."""


def find_format(dtype: str) -> Format:
    """The format of a numpy (ml_dtypes) type by name: float16 or bfloat16."""
    return next(form for form in FORMATS.values() if form.dtype == dtype)
