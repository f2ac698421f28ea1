"""Reductions, scans, searches, quantization, random operators, sequences, Einsum."""

from __future__ import annotations

from functools import partial

import numpy as np

from .movement import any_axis, ints, with_axes
from .registry import sampler
from .scope import Refused, Scope, Val

REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip


def _reduce(op: str, scope: Scope) -> Val:
    draw = scope.draw
    kinds = [
        kind for kind in (*scope.plan.floats, *scope.plan.integers) if kind in ("float32", "float64", "int32", "int64")
    ]
    x = scope.pick(kinds or ["float32"])
    if x.is_empty:
        raise Refused("ONNX Runtime gives results of the wrong dims")
    if op in ("ReduceMax", "ReduceMin") and any(np.isnan(array).any() for array in x.values):
        raise Refused("whether ONNX Runtime lets NaN win depends on the order of the elements")
    axes = draw.some(range(x.rank), 2) or None
    if axes is not None and scope.plan.opset >= 11:
        axes = [axis - x.rank if draw.chance(0.3) else axis for axis in axes]
    since = 13 if op == "ReduceSum" else 18
    noop = {"noop_with_empty_axes": draw.pick([0, 1])} if scope.plan.opset >= since and draw.chance(0.3) else {}
    if axes is None and scope.plan.opset >= since and draw.chance(0.4):
        axes = []
    keep = draw.pick([None, 0, 1])
    return with_axes(scope, op, x, axes, since, keepdims=keep, **noop)


for _op in REDUCTIONS:
    sampler(1.0 if _op in ("ReduceSum", "ReduceMean") else 0.35, name=_op)(partial(_reduce, _op))


def _arg(op: str, scope: Scope) -> Val:
    x = scope.pick(["float32", "int32", "float64"], least=1)
    if x.is_empty:
        raise Refused("ONNX Runtime gives results of the wrong dims")
    axis = any_axis(scope, x.rank) if scope.plan.opset >= 11 else scope.draw.integer(0, x.rank - 1)
    last = scope.draw.pick([None, 0, 1]) if scope.plan.opset >= 12 else None
    return scope.node(op, [x], axis=axis, keepdims=scope.draw.pick([None, 0, 1]), select_last_index=last)


for _op in ("ArgMax", "ArgMin"):
    sampler(0.4, name=_op)(partial(_arg, _op))


@sampler(0.6, 10)
def top_k(scope: Scope) -> object:
    draw = scope.draw
    x = scope.pick(["float32", "float64", "int64"], least=1)
    axis = draw.integer(0, x.rank - 1)
    count = draw.integer(0 if draw.chance(0.1) else 1, max(x.size(axis), 1))
    attrs = {"largest": draw.pick([0, 1])} if scope.plan.opset >= 11 and draw.chance(0.5) else {}
    return scope.node("TopK", [x, ints(scope, [count])], 2, axis=axis, **attrs)


@sampler(0.5, 11)
def cum_sum(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(["float32", "int64", "int32"], least=1)
    flags = {key: 1 for key in ("exclusive", "reverse") if draw.chance(0.3)}
    kind = draw.pick(["int64", "int32"])
    return scope.node("CumSum", [x, scope.const(np.asarray(any_axis(scope, x.rank), kind))], **flags)


@sampler(0.6, 12)
def einsum(scope: Scope) -> Val:
    draw = scope.draw
    x = scope.pick(["float32", "float64"], rank=draw.pick([1, 2, 3]))
    letters = "ijk"[: x.rank]
    if draw.chance(0.6) or x.dims[-1] is None:
        result = "".join(draw.some(letters, 3)) if draw.chance(0.5) else "".join(draw.shuffled(letters))
        return scope.node("Einsum", [x], equation=f"{letters}->{result}")
    w = scope.const(draw.array(x.dtype, [x.dims[-1], 2], "plain"))
    return scope.node("Einsum", [x, w], equation=f"{letters},{letters[-1]}m->{letters[:-1]}m")


@sampler(0.8, 10)
def quantize(scope: Scope) -> Val:
    """Q, and mostly DQ after it."""
    draw = scope.draw
    x = scope.pick(["float32"])
    kind = draw.pick(["uint8", "int8"])
    dims: list[int] = []
    attrs = {}
    if scope.plan.opset >= 13 and x.rank and draw.chance(0.3):
        axis = draw.integer(0, x.rank - 1)
        if x.dims[axis] is not None:
            dims, attrs = [int(x.dims[axis] or 0)], {"axis": axis}
    scale = scope.const(np.abs(draw.array("float32", dims, "plain")) + np.float32(0.1))
    zero = scope.const(draw.array(kind, dims, "plain"))
    q = scope.node("QuantizeLinear", [x, scale, zero], **attrs)
    if draw.chance(0.3):
        return q
    return scope.node("DequantizeLinear", [q, scale, zero], **attrs)


@sampler(0.15, 11)
def dynamic_quantize(scope: Scope) -> object:
    x = scope.pick(["float32"])
    if x.is_empty or not all(np.isfinite(array).all() for array in x.values):
        raise Refused("the range of nothing, or of NaN, depends on the order of the elements")
    return scope.node("DynamicQuantizeLinear", [x], 3)


@sampler(0.15, 10)
def matmul_integer(scope: Scope) -> Val:
    x = scope.pick(["uint8", "int8"], rank=2)
    if x.dims[-1] is None:
        raise Refused("weights of unknown size")
    return scope.node("MatMulInteger", [x, scope.const(scope.draw.array("int8", [x.dims[-1], 2]))])


def _random_like(op: str, scope: Scope) -> Val:
    seed = {"seed": 1.0} if scope.draw.chance(0.3) else {}
    return scope.node(op, [scope.pick(["float32"])], **seed)


for _op in ("RandomNormalLike", "RandomUniformLike"):
    sampler(0.12, name=_op)(partial(_random_like, _op))


@sampler(0.1)
def random_uniform(scope: Scope) -> Val:
    return scope.node("RandomUniform", [], shape=[2, scope.draw.integer(1, 3)])


@sampler(0.1, 15)
def bernoulli(scope: Scope) -> Val:
    x = scope.pick(["float32"])
    return scope.node("Bernoulli", [scope.node("Sigmoid", [x])])


@sampler(0.5, 11)
def sequence(scope: Scope) -> object:
    """Made, changed, and taken apart again."""
    draw = scope.draw
    if draw.chance(0.3):
        x = scope.pick(["float32", "int64"], least=1)
        made = scope.node("SplitToSequence", [x], axis=0, keepdims=draw.pick([None, 0, 1]))
    else:
        x = scope.pick(["float32", "int64"])
        mates = [
            scope.find(lambda v: v.dtype == x.dtype and v.shapes == x.shapes) or x for _ in range(draw.integer(0, 2))
        ]
        made = scope.node("SequenceConstruct", [x, *mates])
    if draw.chance(0.3):
        made = scope.node("SequenceInsert", [made, x, *([scope.scalar(0, "int64")] if draw.chance(0.5) else [])])
    style = draw.pick(["at", "length", "concat", "erase"])
    if style == "at":
        return scope.node("SequenceAt", [made, scope.scalar(draw.pick([0, -1]), "int64")])
    if style == "length":
        return scope.node("SequenceLength", [made])
    if style == "erase":
        return scope.node("SequenceLength", [scope.node("SequenceErase", [made, scope.scalar(0, "int64")])])
    return scope.node("ConcatFromSequence", [made], axis=0, new_axis=draw.pick([0, 1]))


@sampler(0.25, 11)
def unique(scope: Scope) -> object:
    x = scope.pick(["float32", "int64"], least=1)
    return scope.node("Unique", [x], scope.draw.pick([1, 4]), sorted=1)


@sampler(0.2, 11)
def det(scope: Scope) -> Val:
    x = scope.pick(["float32"], least=2, where=lambda v: all(s[-1] == s[-2] > 0 for s in v.shapes))
    return scope.node("Det", [x])


@sampler(0.15)
def lstm(scope: Scope) -> object:
    """A recurrent operator with absent optional operands and outputs."""
    draw = scope.draw
    x = scope.pick(["float32"], rank=3)
    if x.dims[2] is None or x.is_empty:
        raise Refused("weights of unknown size")
    op, gates = draw.pick([("LSTM", 4), ("GRU", 3), ("RNN", 1)])
    w = scope.const(draw.array("float32", [1, gates * 2, x.dims[2]], "plain"))
    r = scope.const(draw.array("float32", [1, gates * 2, 2], "plain"))
    return scope.node(op, [x, w, r], draw.pick([1, 2]), hidden_size=2)


@sampler(2.5)
def expression(scope: Scope) -> Val:
    """The same operator on the same operands once more, or nearly: in another order, with another attribute."""
    draw = scope.draw
    known = {value.name for value in scope.values}
    candidates = [
        n for n in scope.nodes[-15:] if len(n.output) == 1 and not n.domain and n.input and n.output[0] in known
    ]
    if not candidates:
        raise Refused("nothing to repeat")
    node = draw.pick(candidates)
    again = type(node)()
    again.CopyFrom(node)
    again.output[0] = scope.fresh()
    if draw.chance(0.2) and node.op_type not in ("Div", "Mod"):
        again.input[:] = draw.shuffled(list(again.input))
    elif again.attribute and draw.chance(0.25):
        del again.attribute[draw.integer(0, len(again.attribute) - 1)]
    return scope.add(again)
