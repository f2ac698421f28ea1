"""What a node says but for the contents of its attributes: all that loading needs."""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
from onnx import AttributeProto, NodeProto, TensorProto

from onnx_opt import wire
from onnx_opt.ir.node import ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS, NODE_ATTRIBUTE
from onnx_opt.wire import Buffer, Span

ATTRIBUTE_NAME, ATTRIBUTE_TYPE, ATTRIBUTE_TENSORS, TENSOR_LOCATION = 1, 20, (5, 10), 14
_LARGE_NODE = 4096
"""Bytes above which a node is scanned for subgraphs before protobuf sees it: nested ones are not parsed twice."""
_GRAPHS = frozenset({AttributeProto.UNDEFINED, AttributeProto.GRAPH, AttributeProto.GRAPHS})
_TENSORS = frozenset({AttributeProto.TENSOR, AttributeProto.TENSORS})


class NodeHeader(NamedTuple):
    """A node without what its attributes hold: their names and types, and the subgraphs in them, each with its
    attribute, its position there (-1: alone) and its place."""

    proto: NodeProto
    attributes: tuple[tuple[str, int], ...]
    bodies: tuple[tuple[str, int, Span], ...] = ()
    external: bool = False
    """Whether a tensor in the attributes may be external data."""


def read_node(buffer: Buffer, span: Span) -> NodeHeader:
    """What the NodeProto in `span` says. Raises ModelError and DecodeError."""
    if span.end - span.start > _LARGE_NODE:
        return _scan_node(buffer, span)
    try:
        proto = NodeProto.FromString(buffer[span.start : span.end])
    except DecodeError:  # nested deeper than protobuf reads, or damaged: the scan tells
        return _scan_node(buffer, span)
    attributes: list[tuple[str, int]] = []
    external = False
    for attribute in proto.attribute:
        kind = attribute.type
        if kind in _GRAPHS:
            return _scan_node(buffer, span)
        if kind in _TENSORS:
            external |= _is_external(attribute)
        attributes.append((attribute.name, kind))
    return NodeHeader(proto, tuple(attributes), (), external)


def _scan_node(buffer: Buffer, span: Span) -> NodeHeader:
    kept: list[bytes] = []
    attributes: list[tuple[str, int]] = []
    bodies: list[tuple[str, int, Span]] = []
    external = False
    for field, tag, start, end in wire.scan(buffer, span.start, span.end):
        if field != NODE_ATTRIBUTE:
            kept.append(buffer[tag:end])
            continue
        name, kind = "", 0
        graphs: list[tuple[int, Span]] = []
        for inner, inner_tag, a, b in wire.scan(buffer, start, end):
            if inner == ATTRIBUTE_NAME:
                name = wire.decode(buffer[a:b])
            elif inner == ATTRIBUTE_TYPE:
                kind = wire.read_varint(buffer, a, b)[0]
            elif inner == ATTRIBUTE_GRAPH:
                graphs.append((-1, Span(inner_tag, a, b)))
            elif inner == ATTRIBUTE_GRAPHS:
                graphs.append((len(graphs), Span(inner_tag, a, b)))
            elif inner in ATTRIBUTE_TENSORS:
                external |= any(each[0] == TENSOR_LOCATION for each in wire.scan(buffer, a, b))
        attributes.append((name, kind))
        bodies.extend((name, position, place) for position, place in graphs)
    return NodeHeader(NodeProto.FromString(b"".join(kept)), tuple(attributes), tuple(bodies), external)


def _is_external(attribute: AttributeProto) -> bool:
    if attribute.type == AttributeProto.TENSOR:
        return attribute.t.data_location != TensorProto.DEFAULT
    return any(tensor.data_location != TensorProto.DEFAULT for tensor in attribute.tensors)
