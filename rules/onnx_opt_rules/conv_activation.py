"""Conv and its activation as one operator, on runtimes that have it (com.microsoft FusedConv)."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt.ir import Node, Value
from onnx_opt.parameters import parameter
from onnx_opt.rewrite import domain, op, opt, require, rule
from onnx_opt.target import Target

CONTRIB = "com.microsoft"
ACTIVATIONS = {"Relu": (), "Sigmoid": (), "Tanh": (), "LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")}
"""Activations that FusedConv applies, with the attributes that become its activation_params."""
ON_CUDA = frozenset({"Relu"})
"""cuDNN's fused convolution knows this one only."""


@rule(
    op[(*ACTIVATIONS, "Clip")](op.Conv("x", "w", opt("b")).named("conv"), opt("low"), opt("high")).named("activation")
)
def fuse_conv_activation(
    x: Value,
    w: Value,
    b: Value | None,
    conv: Node,
    activation: Node,
    target: Target,
) -> Any:
    """Conv and its activation are one FusedConv."""
    require(target.supports("FusedConv", CONTRIB), f"{target.name} has no FusedConv; it fuses the pair when it loads")
    require(target.name != "ort-cuda" or activation.op in ON_CUDA, f"FusedConv on CUDA has no {activation.op}")
    require(w.elem_type == TensorProto.FLOAT, "FusedConv computes in float32")
    params = None
    if activation.op == "Clip":
        bounds = [parameter(activation, name) for name in ("min", "max")]
        require(all(bound.known for bound in bounds), "the bounds are only known when the model runs")
        require(all(bound.value is not None for bound in bounds), "a bound is missing")
        params = [float(np.asarray(bound.value).item()) for bound in bounds]
        require(params[0] <= params[1], "the bounds are in the wrong order, or one is NaN")
    elif ACTIVATIONS[activation.op]:
        params = [float(activation.attribute(name)) for name in ACTIVATIONS[activation.op]]
    attrs = {**conv.attrs, "activation": activation.op, "activation_params": params}
    return domain(CONTRIB).FusedConv(x, w, b, **attrs)


RULES = [fuse_conv_activation]
