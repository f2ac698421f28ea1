"""Operators that the ONNX specification defines by simpler ones, written so."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import known, op, opt, require, rest, rule
from onnx_opt.rewrite.definition import definition

HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
LOSSES = "NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"
AXES_ARE_OPERANDS = 18
"""The operator set from which the axes of ReduceMean are an operand."""
DEFINED = ("CenterCropPad", *LOSSES)


@rule(op[DEFINED](rest("operands")))
def by_definition(root: Node) -> Any:
    """Operators without a kernel of their own are written as the specification defines them."""
    return definition(root)


@rule(op.LayerNormalization("x", "scale", opt("bias")).named("node")[1], finite_only=True)
def layer_normalization_with_statistics(x: Value, scale: Value, bias: Value | None, node: Node) -> Any:
    """Mean and deviation that LayerNormalization gives out are computed beside it."""
    require(any(value.uses for value in node.outputs[1:]), "only the normalized values are read")
    require(node.attribute("stash_type", 1) == TensorProto.FLOAT, "the statistics are not FP32")
    rank = known(x.rank, "the rank of the operand is unknown")
    axis = int(node.attribute("axis", -1))
    require(-rank <= axis < rank, "there is no such axis")
    axes = list(range(axis % rank, rank))
    whole = x if x.elem_type == TensorProto.FLOAT else op.Cast(x, to=TensorProto.FLOAT)
    mean = _mean(whole, axes, node)
    distance = op.Sub(whole, mean)
    variance = _mean(op.Mul(distance, distance), axes, node)
    epsilon = np.float32(node.attribute("epsilon", 1e-5))
    deviation = op.Reciprocal(op.Sqrt(op.Add(variance, epsilon)))
    normalized = op.LayerNormalization(x, scale, bias, **dict(node.attrs))
    return (normalized, mean, deviation)[: len(node.outputs)]


def _mean(term: Any, axes: list[int], node: Node) -> Any:
    if node.version < AXES_ARE_OPERANDS:
        return op.ReduceMean(term, axes=axes)
    return op.ReduceMean(term, np.array(axes, np.int64))


@rule(op.Attention("q", "k", "v", rest("others")).named("node"), finite_only=True)
def attention(q: Value, k: Value, v: Value, others: list[Value], node: Node) -> Any:
    """Attention that a fused kernel does not cover is written as the specification defines it."""
    require(node.attribute("softcap", 0.0) >= 0, "the cap is negative, which runtimes take for none")
    require(reason_to_spell_out(q, k, v, others, node), "a fused kernel covers it")
    return definition(node)


def reason_to_spell_out(q: Value, k: Value, v: Value, others: list[Value], node: Node) -> str:
    """Why no fused kernel computes an Attention; '' where one may."""
    if q.elem_type not in HALVES:
        return "it is not in half precision"
    if q is k or k is v or q is v:
        return "an operand stands in two places"
    if any(value.name for value in node.outputs[1:]):
        return "it gives out more than the result"
    if node.attribute("softcap", 0.0) or node.attribute("softmax_precision"):
        return "its scores are capped, or of another type"
    if sum(bool(value.name) for value in others) > 1 or (others and others[0].name and node.attribute("is_causal", 0)):
        return "it has past keys, or a mask beside a causal one"
    if others and others[0].name and others[0].elem_type not in (TensorProto.BOOL, q.elem_type):
        return "the mask is of another type"
    return "" if _last(k) == _last(v) and _last(k) is not None else "keys and values differ in size"


def _last(value: Value) -> Any:
    return value.dims[-1] if value.dims else None
