"""Operators that pick elements by index or condition."""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from onnx_opt.analysis.infer.registry import NodeView, Unknown, axis_of, infer
from onnx_opt.types import TensorType, Type

INT64 = int(TensorProto.INT64)


@infer("Gather")
def gather(n: NodeView) -> Type:
    """The dim on `axis` gives way to the dims of the indices."""
    dims, indices = n.known_dims(0), n.known_dims(1)
    axis = axis_of(int(n.attr("axis", 0)), len(dims))
    return n.result(n.elem(0), (*dims[:axis], *indices, *dims[axis + 1 :]))


@infer("GatherElements")
def gather_elements(n: NodeView) -> Type:
    """One element for each index."""
    return TensorType(n.elem(0), n.dims(1))


@infer("GatherND")
def gather_nd(n: NodeView) -> Type:
    """indices[..., k] picks slices of rank(data) - k, after `batch_dims` shared dims."""
    dims, indices = n.known_dims(0), n.known_dims(1)
    if not indices or not isinstance(indices[-1], int):
        raise Unknown
    used = int(n.attr("batch_dims", 0)) + indices[-1]
    if used > len(dims):
        raise Unknown
    return n.result(n.elem(0), (*indices[:-1], *dims[used:]))


@infer("Scatter", "ScatterElements", "ScatterND", "TensorScatter")
def scatter(n: NodeView) -> Type:
    """The data with some elements replaced."""
    return n.tensor(0)


@infer("NonZero", kind=INT64)
def nonzero(n: NodeView) -> Type:
    """[rank, count]: the coordinates of the elements that are not zero."""
    dims = n.known_dims(0)
    if not dims:
        return n.result(INT64, n.unknown_dims(2))
    content = n.content(0)
    if content is not None and all(isinstance(item, int) for item in content.reshape(-1).tolist()):
        return n.result(INT64, (len(dims), int(sum(item != 0 for item in content.reshape(-1).tolist()))))
    return n.result(INT64, (len(dims), n.fresh()))


@infer("Compress")
def compress(n: NodeView) -> Type:
    """The slices along `axis` for which the condition holds; the flattened data without `axis`."""
    axis = n.attr("axis")
    if axis is None:
        return n.result(n.elem(0), (n.fresh(),))
    dims = list(n.known_dims(0))
    dims[axis_of(int(axis), len(dims))] = n.fresh()
    return n.result(n.elem(0), dims)


@infer("Unique")
def unique(n: NodeView) -> list[Type | None]:
    """The different elements (or slices along `axis`), where each occurs first, which each one is, and how often."""
    axis, count = n.attr("axis"), n.fresh()
    dims = n.dims(0)
    total: Any = n.fresh()
    values: Any = None
    if axis is None:
        values = (count,)
        total = total if dims is None else n.shapes.product(dims)
    elif dims is not None:
        at = axis_of(int(axis), len(dims))
        values, total = (*dims[:at], count, *dims[at + 1 :]), dims[at]
    each = TensorType(INT64, (count,))
    return [n.result(n.elem(0), values), each, TensorType(INT64, (total,)), each]


@infer("OneHot", elem=2)
def one_hot(n: NodeView) -> Type:
    """The dims of the indices with `depth` put in at `axis`."""
    dims = n.known_dims(0)
    axis = axis_of(int(n.attr("axis", -1)), len(dims) + 1)
    depth = n.scalar(1)
    return n.result(n.elem(2), (*dims[:axis], n.fresh() if depth is None else depth, *dims[axis:]))


@infer("TopK")
def top_k(n: NodeView) -> list[Type | None]:
    """The k greatest (or least) elements along `axis`, and where they are."""
    dims = n.dims(0)
    if dims is None:
        return [TensorType(n.elem(0), None), TensorType(INT64, None)]
    axis = axis_of(int(n.attr("axis", -1)), len(dims))
    count = n.scalar(1) if n.version >= 10 else n.attr("k")
    size = n.fresh() if count is None else count
    values = n.result(n.elem(0), (*dims[:axis], size, *dims[axis + 1 :]))
    return [values, TensorType(INT64, values.shape)]


@infer("NonMaxSuppression", kind=INT64)
def non_max_suppression(n: NodeView) -> Type:
    """[selected, 3]: batch, class and box."""
    return TensorType(INT64, (n.fresh(), 3))
