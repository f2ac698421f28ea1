"""Reductions along axes."""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from onnx_opt.analysis.infer.registry import NodeView, axes_of, axis_of, infer
from onnx_opt.shapes import Dim
from onnx_opt.types import Type

INT64 = int(TensorProto.INT64)


def axes_are_operand(op: str, version: int) -> bool:
    """Whether a reduction takes its axes as an operand; older versions have an attribute."""
    return version >= (13 if op == "ReduceSum" else 18)


@infer("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax")
@infer("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare")
def reduce(n: NodeView) -> Type:
    """The dims on `axes` become 1, or vanish without `keepdims`; no axes mean all, or none where `noop` says so."""
    dims = n.known_dims(0)
    keep = bool(n.attr("keepdims", 1))
    axes = reduced_axes(n, len(dims))
    if axes is not None:
        return n.result(n.elem(0), _reduced(dims, axes, keep))
    return n.result(n.elem(0), n.unknown_dims(len(dims)) if keep else None)


def reduced_axes(n: NodeView, rank: int) -> list[int] | None:
    """The axes that a reduction works on, None where they are unknown."""
    if not axes_are_operand(n.node.op, n.version):
        return axes_of(n.ints("axes") or range(rank), rank)
    axes = n.int_list(1)
    if n.present(1) and axes is None:
        return None
    if axes:
        return axes_of(axes, rank)
    return [] if n.attr("noop_with_empty_axes", 0) else list(range(rank))


def _reduced(dims: tuple[Any, ...], axes: list[int], keep: bool) -> list[Dim]:
    if keep:
        return [1 if axis in axes else dim for axis, dim in enumerate(dims)]
    return [dim for axis, dim in enumerate(dims) if axis not in axes]


@infer("ArgMax", "ArgMin", kind=INT64)
def arg_extreme(n: NodeView) -> Type:
    """Where along `axis` the greatest or least element is."""
    dims = n.known_dims(0)
    axis = axis_of(int(n.attr("axis", 0)), len(dims))
    return n.result(INT64, _reduced(dims, [axis], bool(n.attr("keepdims", 1))))
