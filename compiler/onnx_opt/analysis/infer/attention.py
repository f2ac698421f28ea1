"""Attention in one node."""

from __future__ import annotations

from typing import Any

from onnx_opt.analysis.infer.registry import MICROSOFT, NodeView, Unknown, infer
from onnx_opt.types import TensorType, Type


@infer("Attention")
def attention(n: NodeView) -> list[Type | None]:
    """Queries, keys and values [batch, heads, length, size], or [batch, length, heads * size] and heads as attributes.

    Gives the result in the form of the queries, the keys and values with the past ones before them, and the scores.
    """
    query, value = n.dims(0), n.dims(2)
    elem_type = n.elem(0)
    others = [n.result(n.elem(index) or elem_type, n.unknown_dims(4)) for index in (1, 2, 0)]
    if query is None or value is None or len(query) != len(value) or len(query) not in {3, 4}:
        return [TensorType(elem_type, None), *others]
    if len(query) == 4:
        return [n.result(elem_type, (*query[:3], value[3])), *others]
    heads, value_heads = n.attr("q_num_heads"), n.attr("kv_num_heads")
    size = n.shapes.quotient(value[2], value_heads) if value_heads else None
    last: Any = n.fresh() if size is None or not heads else n.shapes.mul(size, heads)
    return [n.result(elem_type, (query[0], query[1], last)), *others]


@infer("Attention", domain=MICROSOFT)
def packed_attention(n: NodeView) -> list[Type | None]:
    """[batch, length, input] with weights for queries, keys and values side by side -> [batch, length, hidden]."""
    data, bias = n.known_dims(0), n.dims(2)
    sizes = n.ints("qkv_hidden_sizes")
    if len(data) != 3:
        raise Unknown
    hidden: Any = sizes[2] if sizes else None
    if hidden is None and bias is not None and len(bias) == 1:
        hidden = n.shapes.quotient(bias[0], 3)
    return [n.result(n.elem(0), (data[0], data[1], n.fresh() if hidden is None else hidden))]


@infer("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(n: NodeView) -> list[Type | None]:
    """Queries [batch, length, hidden] and values [batch, length', hidden'] -> [batch, length, hidden']."""
    query, value = n.known_dims(0), n.dims(2)
    if len(query) != 3:
        raise Unknown
    last = value[2] if value is not None and len(value) == 3 else n.fresh()
    return [n.result(n.elem(0), (query[0], query[1], last))]


@infer("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(n: NodeView) -> list[Type | None]:
    """Queries [batch, length, heads * size] -> the same dims, unless keys and values are packed with them."""
    query = n.known_dims(0)
    if len(query) != 3:
        raise Unknown
    return [n.result(n.elem(0), query if n.present(1) else (query[0], query[1], n.fresh()))]
