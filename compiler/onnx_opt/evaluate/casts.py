"""Cast and CastLike between the pairs of types where numpy and ONNX Runtime agree on every value.

Left to ONNX Runtime: strings, the 8-bit and smaller floats as a target, and floats that the target integer can't hold,
which C++ leaves undefined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np

from onnx_opt.evaluate.arithmetic import BOOL, FLOATS, INTEGERS
from onnx_opt.evaluate.kernels import Declined, kernel, require
from onnx_opt.ir.tensors import numpy_dtype

if TYPE_CHECKING:
    from onnx_opt.ir import Node

NARROW_FLOATS = frozenset(np.dtype(name) for name in ("float16", ml_dtypes.bfloat16))
_SINGLE = np.dtype("float32")


@kernel("Cast", since=6)
def cast(node: Node, x: np.ndarray) -> np.ndarray:
    return convert(x, numpy_dtype(node.attribute("to")))


@kernel("CastLike")
def cast_like(node: Node, x: np.ndarray, like: np.ndarray) -> np.ndarray:
    return convert(x, like.dtype)


def convert(x: np.ndarray, target: np.dtype) -> np.ndarray:
    """`x` as `target`. Raises `Declined` for a pair of types, or for values, on which implementations differ."""
    source = x.dtype
    if source == target:
        return x
    if source in FLOATS and target in INTEGERS:
        _require_in_range(x, target)
    elif not (source in FLOATS or source in INTEGERS or source in BOOL):
        raise Declined(f"no exact kernel for a cast from {source}")
    elif not (target in FLOATS or target in INTEGERS or target in BOOL):
        raise Declined(f"no exact kernel for a cast to {target}")
    elif target in NARROW_FLOATS and source != _SINGLE:
        return x.astype(_SINGLE).astype(target)  # ONNX Runtime rounds twice
    elif target in BOOL and source == ml_dtypes.bfloat16:
        return x.astype(_SINGLE).astype(target)
    return x.astype(target)


def _require_in_range(x: np.ndarray, target: np.dtype) -> None:
    if not x.size:
        return
    limits = np.iinfo(target)
    wide = np.trunc(x.astype(np.float64))
    # The largest float below 2**63 is far from it: comparing with the power of two avoids rounding the limit up.
    inside = (wide >= float(limits.min)) & (wide < float(limits.max // 2 + 1) * 2)
    require(inside.all(), f"a value does not fit {target}")
