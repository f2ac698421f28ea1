"""Conv and its activation as one operator, on runtimes that have it (com.microsoft FusedConv)."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt.ir import Node, Value
from onnx_opt.parameters import parameter
from onnx_opt.rewrite import domain, op, opt, require, rule
from onnx_opt.target import Target
from onnx_opt_rules.runtime_fusions import INTEGERS, in_integers

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
    require(not in_integers(x, w), INTEGERS)
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

# -- and back ----------------------------------------------------------------------------------------------------------

CLIP_OPERANDS = 11
"""From this version on, the bounds of Clip are operands."""


@rule(domain(CONTRIB).FusedConv("x", "w", opt("b"), opt("z")).named("fused"))
def split_conv_activation(x: Value, w: Value, b: Value | None, z: Value | None, fused: Node) -> Any:
    """A FusedConv is a Conv and its activation, which runtimes look for around QuantizeLinear."""
    require(z is None, "it adds a value as well")
    require(x.elem_type == TensorProto.FLOAT, "FusedConv computes in float32")
    attrs = dict(fused.attrs)
    name, params = str(attrs.pop("activation", "")), attrs.pop("activation_params", None) or []
    conv = op.Conv(x, w, b, **attrs)
    if name == "Clip":
        version = fused.graph.opsets.get("", 0) if fused.graph is not None else 0
        require(version >= CLIP_OPERANDS and len(params) == 2, "its bounds have no place in this operator set")
        return op.Clip(conv, *(np.float32(bound) for bound in params))
    require(name in ACTIVATIONS, f"it applies {name or 'no activation'}")
    require(len(params) in (0, len(ACTIVATIONS[name])), "its activation_params are too few or too many")
    return getattr(op, name)(conv, **dict(zip(ACTIVATIONS[name], params, strict=False)))


SPLITS = [split_conv_activation]
