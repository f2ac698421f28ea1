"""From graphs back to model bytes.

What no pass touched is copied from the source, so a model saved as it was loaded is the same byte for byte, and after a
rewrite only what it touched differs. The output is a list of pieces, weights among them as views: nothing large is
joined or copied in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

from onnx import NodeProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto

from onnx_opt import types, wire
from onnx_opt.files import atomic_file
from onnx_opt.ir import attributes, tensors
from onnx_opt.ir.external import ExternalFile
from onnx_opt.ir.graph import Function, Graph
from onnx_opt.ir.load import FUNCTION, GRAPH, MODEL_FUNCTION, MODEL_GRAPH, MODEL_OPSET, Fields, gc_paused
from onnx_opt.ir.model import Model
from onnx_opt.ir.node import ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS, NODE_ATTRIBUTE, Node
from onnx_opt.ir.tensors import NAME, Piece, made
from onnx_opt.ir.values import Constant, Value
from onnx_opt.wire import Span

MODEL_METADATA = 14
PROTOBUF_LIMIT = 2**31 - 1
"""A protobuf message, and so a model with its weights inside, can't be larger than this many bytes."""


def to_bytes(graph: Graph) -> bytes:
    """The model as bytes. External tensors stay references, new ones are inside."""
    return b"".join(made(_Writer(graph.model, None).model_pieces()))


def fingerprint(graph: Graph) -> str:
    """A hash of what `to_bytes` gives, without making it: equal for equal models, external data aside."""
    digest = blake2b(digest_size=16)
    for piece in made(_Writer(graph.model, None).model_pieces()):
        digest.update(piece)
    return digest.hexdigest()


def save(graph: Graph, path: str | Path) -> None:
    """Write the model to `path`: the file appears whole or not at all, with its external data beside it.

    Weights that were external are written to `<name>.data`, and so are large new ones when the model would pass
    protobuf's 2 GB. Raises UsageError where that would overwrite external data of the model that was loaded, and
    OSError as the file system gives it.
    """
    path = Path(path)
    model = graph.model
    with gc_paused():
        external = ExternalFile(path, model)
        pieces = _Writer(model, external).model_pieces()
        if not external.active and sum(map(len, pieces)) > PROTOBUF_LIMIT:
            external.spill_new()
            pieces = _Writer(model, external).model_pieces()
        external.check()
        if external.active:
            external.write(lambda: _Writer(model, external).model_pieces())
            return
        with atomic_file(path) as file:
            file.writelines(made(pieces))


class _Writer:
    """Turns a model into pieces. Graphs are written inner before outer, so depth costs no recursion."""

    def __init__(self, model: Model, external: ExternalFile | None):
        self.model = model
        self.view = memoryview(model.buffer)
        self.external = external
        self.done: dict[Graph, list[Piece]] = {}

    def model_pieces(self) -> list[Piece]:
        """The whole model."""
        model = self.model
        for graph in (model.graph, *model.functions):
            for inner in reversed(list(graph.nested()) if graph.dirty or self._external_active() else [graph]):
                self.done[inner] = self._graph(inner)
        functions = {f.source: f for f in model.functions}
        out: list[Piece] = []
        same_opsets = opsets_written = model.opsets == model.source_opsets
        for field, span in model.layout:
            if field == MODEL_GRAPH:
                out.extend(_nest(MODEL_GRAPH, self.done[model.graph]))
            elif field == MODEL_FUNCTION:
                if span in functions:
                    out.extend(_nest(MODEL_FUNCTION, self.done[functions[span]]))
            elif field == MODEL_METADATA and self._metadata_key(span) in model.metadata:
                continue  # the new entry takes its place: a key may stand there once
            elif field == MODEL_OPSET and not opsets_written:
                out.extend(self._opset_imports())
                opsets_written = True
            elif field != MODEL_OPSET or same_opsets:
                out.append(self.view[span.tag : span.end])
        for key, value in model.metadata.items():
            entry = StringStringEntryProto(key=key, value=value)
            out.append(wire.encode_field(MODEL_METADATA, entry.SerializeToString()))
        return out

    def _metadata_key(self, span: Span) -> str:
        if not self.model.metadata:
            return ""
        return str(StringStringEntryProto.FromString(bytes(self.view[span.start : span.end])).key)

    def _external_active(self) -> bool:
        return self.external is not None and self.external.active

    def _opset_imports(self) -> Iterator[bytes]:
        for domain, version in self.model.opsets.items():
            entry = OperatorSetIdProto(domain=domain, version=version)
            yield wire.encode_field(MODEL_OPSET, entry.SerializeToString())

    # -- graphs ----------------------------------------------------------------------------------------------------

    def _graph(self, graph: Graph) -> list[Piece]:
        fields = FUNCTION if isinstance(graph, Function) else GRAPH
        source = graph.source
        if source is not None and not graph.dirty and not self._external_active():
            return [self.view[source.start : source.end]]
        out: list[Piece] = []
        written = set()
        for field, span in graph.layout:
            if span is not None:
                out.append(self.view[span.tag : span.end])
            else:
                out.extend(self._held(graph, fields, field))
                written.add(field)
        for field in sorted(fields.held - written):
            out.extend(self._held(graph, fields, field))
        return out

    def _held(self, graph: Graph, fields: Fields, field: int) -> Iterable[Piece]:
        if field == fields.node:
            return self._nodes(graph, fields)
        if field == fields.input:
            return self._inputs(graph, fields)
        if field == fields.output:
            return self._outputs(graph, fields)
        if field == fields.value_info:
            return self._value_infos(graph, fields)
        return self._initializers(graph, fields, sparse=field == fields.sparse)

    def _nodes(self, graph: Graph, fields: Fields) -> Iterator[Piece]:
        if graph.constants_are_nodes:
            for constant in graph.constants:
                if constant.uses and (constant.source is None or fields is FUNCTION):
                    yield from _nest(fields.node, [_constant_node(constant).SerializeToString()])
        run_start = run_end = 0  # clean nodes that lie next to each other in the source are one piece
        tag = wire.encode_tag(fields.node, 0)[0]
        for node in graph:
            source = self._clean_source(node)
            if source is not None and self.view[source.tag] == tag:
                if source.tag != run_end:
                    if run_end > run_start:
                        yield self.view[run_start:run_end]
                    run_start = source.tag
                run_end = source.end
                continue
            if run_end > run_start:
                yield self.view[run_start:run_end]
            run_start = run_end = 0
            # What came from a body into a function stood in a field of another number there.
            kept: list[Piece] = [] if source is None else [self.view[source.start : source.end]]
            yield from _nest(fields.node, kept or list(self._node(node)))
        if run_end > run_start:
            yield self.view[run_start:run_end]

    def _clean_source(self, node: Node) -> Span | None:
        """Where the source has a node that nothing changed."""
        if node.dirty or (node.bodies and self._external_active()):
            return None
        return node.source

    def _node(self, node: Node) -> Iterator[Piece]:
        """The fields of a changed node: those that still apply as they stand, the others anew."""
        changed = node._attrs.changed if node._attrs is not None else set()
        if node.source is None:
            yield _header(node, _HEADER)
            for name, value in node.attrs.items():
                yield wire.encode_field(NODE_ATTRIBUTE, attributes.encode(name, value))
            return
        anew = _anew(node)
        if anew:
            yield _header(node, anew)
        for field, tag, start, end in wire.scan(self.model.buffer, node.source.start, node.source.end):
            if field == NODE_ATTRIBUTE:
                if changed or node.bodies:
                    yield from self._source_attribute(node, Span(tag, start, end), changed)
                else:
                    yield self.view[tag:end]
            elif field not in anew:
                yield self.view[tag:end]
        for name in sorted(changed & node.attrs.keys()):
            yield wire.encode_field(NODE_ATTRIBUTE, attributes.encode(name, node.attrs[name]))

    def _source_attribute(self, node: Node, span: Span, changed: set[str]) -> Iterator[Piece]:
        name = wire.text_field(self.model.buffer, span.start, span.end, 1)
        if name in changed:
            return
        bodies = [body for attribute, _, body in node.bodies if attribute == name]
        if not bodies:
            yield self.view[span.tag : span.end]
            return
        remaining = iter(bodies)
        parts: list[Piece] = []
        for field, tag, _, end in wire.scan(self.model.buffer, span.start, span.end):
            if field in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                parts.extend(_nest(field, self.done[next(remaining)]))
            else:
                parts.append(self.view[tag:end])
        yield from _nest(NODE_ATTRIBUTE, parts)

    # -- values ----------------------------------------------------------------------------------------------------

    def _inputs(self, graph: Graph, fields: Fields) -> Iterator[Piece]:
        implicit = self.model.ir_version < 4 and graph.owner is None and fields is GRAPH
        for value in graph._inputs:
            if implicit and isinstance(value, Constant) and value not in graph.constants:
                continue
            if value.interface is not None and not value.renamed and not value.redeclared:
                yield self.view[value.interface.tag : value.interface.end]
            else:
                yield self._describe(value, fields, fields.input)
        if implicit and graph.lists_initializers:
            for constant in graph.constants:
                if constant not in graph.input_set:  # what the source declares of it may lack its dims
                    made = ValueInfoProto(name=constant.name)
                    made.type.CopyFrom(types.to_proto(types.TensorType(constant.elem_type, constant.dims)))
                    yield wire.encode_field(fields.input, made.SerializeToString())

    def _outputs(self, graph: Graph, fields: Fields) -> Iterator[Piece]:
        for value in graph._outputs:
            span = graph.source_outputs.get(value)
            if span is not None and not value.renamed and not value.redeclared:
                yield self.view[span.tag : span.end]
            else:
                yield self._describe(value, fields, fields.output)

    def _describe(self, value: Value, fields: Fields, field: int) -> bytes:
        if fields is FUNCTION:
            return wire.encode_field(field, value.name.encode())
        return wire.encode_field(field, self._value_info(value).SerializeToString())

    def _value_info(self, value: Value) -> ValueInfoProto:
        proto = ValueInfoProto()
        if value.info is not None:
            proto.ParseFromString(self.model.buffer[value.info.start : value.info.end])
        proto.name = value.name
        declared = value.declared
        if declared is None and value.info is None:
            declared = self.model.facts.type(value)
        if declared is not None and (value.redeclared or value.info is None):
            proto.type.CopyFrom(types.to_proto(declared))
        return proto

    def _value_infos(self, graph: Graph, fields: Fields) -> Iterator[Piece]:
        described = set()
        for span, value in graph.source_infos:
            described.add(value)
            if isinstance(value, Constant) and value.source is None:
                continue  # it became an initializer, which says more of itself
            if value is None or (not value.renamed and not value.redeclared and _exists(value)):
                yield self.view[span.tag : span.end]
            elif _exists(value):
                yield wire.encode_field(fields.value_info, self._value_info(value).SerializeToString())
        for node in graph:
            for value in node._outputs:
                if value.redeclared and value not in described and not value.is_graph_output:
                    yield wire.encode_field(fields.value_info, self._value_info(value).SerializeToString())

    # -- initializers ----------------------------------------------------------------------------------------------

    def _initializers(self, graph: Graph, fields: Fields, sparse: bool) -> Iterator[Piece]:
        if graph.constants_are_nodes and fields is FUNCTION:
            return
        for constant in graph.constants:
            if constant.sparse != sparse or (constant.source is None and graph.constants_are_nodes):
                continue
            yield from self._initializer(constant, fields)

    def _initializer(self, constant: Constant, fields: Fields) -> Iterable[Piece]:
        span = constant.source
        if self.external is not None and self.external.takes(constant):
            return _nest(fields.initializer, [self.external.reference(constant)])
        if constant.rounded_to:
            return self._rounded(constant, fields)
        if span is None or constant._array is not None:
            return _nest(fields.initializer, tensors.write_array(constant.name, constant.values))
        if not constant.renamed:
            return [self.view[span.tag : span.end]]
        if constant.sparse:
            return _nest(fields.sparse, [tensors.renamed_sparse(self.view[span.start : span.end], constant.name)])
        parts: list[Piece] = [
            self.view[tag:end]
            for field, tag, _, end in wire.scan(self.model.buffer, span.start, span.end)
            if field != NAME
        ]
        return _nest(fields.initializer, [wire.encode_field(NAME, constant.name.encode()), *parts])

    def _rounded(self, constant: Constant, fields: Fields) -> list[Piece]:
        """An initializer whose elements are rounded while they are written."""
        header = constant.header
        if constant.sparse and constant.source is not None:
            source = self.model.buffer[constant.source.start : constant.source.end]
            return _nest(fields.sparse, [tensors.round_sparse(constant.name, source, constant.rounded_to)])
        if header is None:
            return _nest(fields.initializer, tensors.write_array(constant.name, constant.values))
        return _nest(fields.initializer, tensors.write_deferred(constant.name, header, lambda: constant.values))


def _exists(value: Value) -> bool:
    """Whether a value that the source describes is still computed, carried or fed."""
    if value.producer is not None:
        return value.producer.alive
    return value.graph is not None and (value in value.graph.constants or value in value.graph.input_set)


NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_DOMAIN = 1, 2, 3, 4, 7
_HEADER = frozenset({NODE_INPUT, NODE_OUTPUT, NODE_NAME, NODE_OP, NODE_DOMAIN})
_EDGES = frozenset({NODE_INPUT, NODE_OUTPUT})


def _anew(node: Node) -> frozenset[int]:
    """The header fields of a source node that its bytes no longer give right."""
    return _HEADER if node.retyped else _EDGES if node.rewired else frozenset()


def _header(node: Node, wanted: frozenset[int]) -> bytes:
    """The wanted ones of the header fields of a node."""
    proto = NodeProto(input=[v.name for v in node._inputs], output=[v.name for v in node._outputs])
    if NODE_OP in wanted:
        proto.op_type = node.op
        if node.name:
            proto.name = node.name
        if node.domain:
            proto.domain = node.domain
    return proto.SerializeToString()


def _constant_node(constant: Constant) -> NodeProto:
    node = NodeProto(op_type="Constant", output=[constant.name])
    node.attribute.add().ParseFromString(attributes.encode("value", constant.values))
    return node


def _nest(field: int, pieces: list[Piece]) -> list[Piece]:
    """The pieces as the payload of a length-delimited field."""
    return [wire.encode_tag(field, sum(map(len, pieces))), *pieces]
