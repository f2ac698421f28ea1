"""A stride larger than the kernel skips elements: leaving them out beforehand gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import known, op, opt, require, rule
from onnx_opt.target import Target

AXES_ARE_AN_OPERAND = 10
LAST = np.iinfo(np.int64).max


@rule(op.Conv("x", "w", opt("b")).named("conv"), opsets=(AXES_ARE_AN_OPERAND, 1 << 30))
def subsample_before_conv(x: Value, w: Value, b: Value | None, conv: Node, target: Target) -> Any:
    """A 1x1 Conv with a stride is a 1x1 Conv on every stride-th element."""
    strides = conv.attribute("strides") or []
    require(any(stride > 1 for stride in strides), "the stride is 1")
    dims = known(w.dims, "the rank of the weights is unknown")
    require(all(isinstance(dim, int) and dim == 1 for dim in dims[2:]), "the kernel is larger than 1")
    require(not any(conv.attribute("pads") or []), "it pads")
    require(conv.attribute("auto_pad", "NOTSET") in ("NOTSET", "VALID"), "the Conv chooses its padding itself")
    require(target.gains_by_subsampling, f"{target.name} is not known to gain by it")
    axes = np.arange(2, len(dims))
    starts, ends = np.zeros(len(axes), np.int64), np.full(len(axes), LAST)
    every = op.Slice(x, starts, ends, axes, np.array(strides, np.int64))
    attrs = {name: value for name, value in conv.attrs.items() if name != "strides"}
    return op.Conv(every, w, b, **attrs)


RULES = [subsample_before_conv]
