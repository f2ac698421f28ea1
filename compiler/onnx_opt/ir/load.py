"""From model bytes to graphs.

One pass over the wire format finds where everything lies; only node headers are decoded. Subgraphs are loaded with an
explicit stack, outer before inner, so that captures are resolved against complete scopes and depth costs nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
from onnx import FunctionProto, ModelProto, OperatorSetIdProto, TensorAnnotation

from onnx_opt import schemas, wire
from onnx_opt.errors import ModelError
from onnx_opt.ir.conformity import complaint
from onnx_opt.ir.graph import Function, Graph
from onnx_opt.ir.header import NodeHeader, read_node
from onnx_opt.ir.lists import GraphInputs, GraphOutputs, Inputs, Outputs
from onnx_opt.ir.model import Model
from onnx_opt.ir.node import Node
from onnx_opt.ir.values import Constant, Value, Variable
from onnx_opt.wire import Buffer, Span

MODEL_GRAPH, MODEL_OPSET, MODEL_TRAINING, MODEL_FUNCTION = 7, 8, 20, 25
NAME_OF_VALUE_INFO, NAME_OF_TENSOR, VALUES_OF_SPARSE = 1, 8, 1


@dataclass(frozen=True)
class Fields:
    """Where a message keeps the parts of a graph. 0: it has no such field."""

    node: int
    input: int
    output: int
    value_info: int
    initializer: int = 0
    sparse: int = 0
    annotation: int = 0

    @property
    def held(self) -> frozenset[int]:
        """The fields that the IR writes anew when something changed."""
        return frozenset({self.node, self.input, self.output, self.value_info, self.initializer, self.sparse} - {0})


GRAPH = Fields(node=1, input=11, output=12, value_info=13, initializer=5, sparse=15, annotation=14)
FUNCTION = Fields(node=7, input=4, output=5, value_info=12)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Python's cycle collector off: building a graph makes no garbage and many objects, which it would scan again and
    again (it costs a factor of 1.4 to 2.2)."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load(model: str | Path | bytes | ModelProto | Graph) -> Graph:
    """The main graph of a model: a file, its bytes, or an onnx.ModelProto. A graph is returned as it is.

    Weights stay in the file until they are asked for. Raises ModelError, naming the file, for what is not a model.
    """
    if isinstance(model, Graph):
        return model
    if isinstance(model, ModelProto):
        return load_bytes(model.SerializeToString())
    if isinstance(model, bytes):
        return load_bytes(model)
    path = Path(model)
    try:
        return load_bytes(_map_file(path), path)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _map_file(path: Path) -> Buffer:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ModelError("it is no file")  # a pipe would be waited for
        with path.open("rb") as file:
            return mmap(file.fileno(), 0, access=ACCESS_READ)
    except FileNotFoundError:
        raise ModelError("no such file") from None
    except ValueError as error:
        raise ModelError("the file is empty" if "empty" in str(error) else str(error)) from None
    except OSError as error:
        raise ModelError(error.strerror or str(error)) from None


def load_bytes(buffer: Buffer, path: Path | None = None) -> Graph:
    """The main graph of the model in `buffer`; external data is looked for beside `path`."""
    with gc_paused():
        try:
            return _load_model(buffer, path)
        except DecodeError:
            raise ModelError("not an ONNX model, or a damaged one: a part of it can't be decoded") from None


def _load_model(buffer: Buffer, path: Path | None) -> Graph:
    model = Model(buffer, path)
    graph_spans, function_spans, small = [], [], []
    for field, tag, start, end in wire.scan(buffer, 0, len(buffer)):
        span = Span(tag, start, end)
        model.layout.append((field, span))
        if field in (MODEL_GRAPH, MODEL_FUNCTION):
            wire.check_message(buffer, tag, field)
        if field == MODEL_GRAPH:
            graph_spans.append(span)
        elif field == MODEL_FUNCTION:
            function_spans.append(span)
        elif field == MODEL_TRAINING:
            model.has_training_info = True
        else:
            small.append(buffer[tag:end])
    if len(graph_spans) != 1:
        raise ModelError(f"not an ONNX model, or a damaged one: it holds {len(graph_spans)} graphs instead of one")
    header = ModelProto.FromString(b"".join(small))
    model.ir_version = header.ir_version
    model.producer_name, model.producer_version = header.producer_name, header.producer_version
    model.opsets = _opsets(header.opset_import)
    model.source_opsets = dict(model.opsets)
    model.graph = Graph(model)
    pending = [_Pending(model.graph, graph_spans[0], GRAPH)]
    identities: set[tuple[str, str, str]] = set()
    for span in function_spans:
        function = _function(model, span)
        if (identity := (function.domain, function.name, function.overload)) in identities:
            raise ModelError(f"function '{function.domain}::{function.name}' is defined twice")
        identities.add(identity)
        model.functions.append(function)
        pending.append(_Pending(function, span, FUNCTION))
    _load_all(model, pending)
    return model.graph


def _opsets(imports: Any) -> dict[str, int]:
    _check_text(*(entry.domain for entry in imports))
    return {schemas.normal_domain(entry.domain): entry.version for entry in imports}


def _function(model: Model, span: Span) -> Function:
    kept, opsets = [], []
    for field, tag, start, end in wire.scan(model.buffer, span.start, span.end):
        if field in (1, 6, 10, 13):
            kept.append(model.buffer[tag:end])
        elif field == 9:
            opsets.append(OperatorSetIdProto.FromString(model.buffer[start:end]))
    header = FunctionProto.FromString(b"".join(kept))
    _check_text(header.name, header.domain, header.overload)
    domain = schemas.normal_domain(header.domain)
    return Function(model, header.name, domain, header.overload, _opsets(opsets))


@dataclass
class _Pending:
    """A graph whose bytes have yet to be read."""

    graph: Graph
    span: Span
    fields: Fields


def _load_all(model: Model, pending: list[_Pending]) -> None:
    visible = _Visible()
    pending.reverse()
    while pending:
        item = pending.pop()
        visible.enter(item.graph)
        loader = _GraphLoader(item, visible)
        loader.load()
        if loader.bodies:
            visible.add(item.graph, loader.local)
        pending.extend(reversed(loader.bodies))


class _Visible:
    """What the graphs around the one that is being read define: found at once, however deep that one is."""

    def __init__(self) -> None:
        self._around: list[tuple[Graph, dict[str, Value]]] = []
        self._values: dict[str, list[Value]] = {}

    def enter(self, graph: Graph) -> None:
        """Forget the graphs that are not around this one."""
        while self._around and self._around[-1][0] is not graph.parent:
            for name in self._around.pop()[1]:
                self._values[name].pop()

    def add(self, graph: Graph, local: dict[str, Value]) -> None:
        """A graph that has subgraphs is read: they see what it defines."""
        self._around.append((graph, local))
        for name, value in local.items():
            self._values.setdefault(name, []).append(value)

    def find(self, name: str) -> Value | None:
        """The innermost value of that name."""
        found = self._values.get(name)
        return found[-1] if found else None


class _GraphLoader:
    """Reads one graph; `bodies` are the subgraphs that it found on the way."""

    def __init__(self, item: _Pending, visible: _Visible):
        self.graph, self.span, self.fields = item.graph, item.span, item.fields
        self.model = item.graph.model
        self.buffer = self.model.buffer
        self.visible = visible
        self.bodies: list[_Pending] = []
        self.node_spans: list[Span] = []
        self.input_spans: list[Span] = []
        self.output_spans: list[Span] = []
        self.infos: dict[str, Span] = {}
        self.local: dict[str, Value] = {}

    def load(self) -> None:
        self.graph.source = self.span
        self._scan()
        self._read_inputs()
        headers = [read_node(self.buffer, span) for span in self.node_spans]
        nodes = [self._make_node(span, header) for span, header in zip(self.node_spans, headers, strict=True)]
        self._connect(nodes, headers)
        self._read_outputs()
        self.model.names.add_all(self.local)

    # -- fields of the graph ---------------------------------------------------------------------------------------

    def _scan(self) -> None:
        fields, graph, seen = self.fields, self.graph, set()
        collectors = {fields.node: self.node_spans, fields.input: self.input_spans, fields.output: self.output_spans}
        for field, tag, start, end in wire.scan(self.buffer, self.span.start, self.span.end):
            span = Span(tag, start, end)
            if field not in fields.held:
                graph.layout.append((field, span))
                self._read_other(field, span)
                continue
            wire.check_message(self.buffer, tag, field)
            if field not in seen:
                seen.add(field)
                graph.layout.append((field, None))
            if field in collectors:
                collectors[field].append(span)
            elif field == fields.value_info:
                self.infos[wire.text_field(self.buffer, start, end, NAME_OF_VALUE_INFO)] = span
            else:
                self._read_initializer(span, sparse=field == fields.sparse)

    def _read_other(self, field: int, span: Span) -> None:
        if self.fields is GRAPH and field == 2:
            self.graph.name = wire.decode(self.buffer[span.start : span.end])
        elif field == self.fields.annotation:
            self.graph.annotations.append(span)

    def _read_initializer(self, span: Span, sparse: bool) -> None:
        start, end = span.start, span.end
        if sparse:
            inner = [(a, b) for field, _, a, b in wire.scan(self.buffer, start, end) if field == VALUES_OF_SPARSE]
            start, end = inner[-1] if inner else (end, end)
        name = wire.text_field(self.buffer, start, end, NAME_OF_TENSOR)
        constant = Constant(name, graph=self.graph)
        constant.source, constant.sparse = span, sparse
        if name in self.local:  # the last counts, as in ONNX Runtime
            del self.graph.constants[self.local[name]]  # type: ignore[arg-type]
        self.local[name] = constant
        self.graph.constants[constant] = None

    def _read_inputs(self) -> None:
        inputs: list[Value] = []
        for span in self.input_spans:
            name = self._interface_name(span)
            value = self.local.get(name)
            if value is None:
                value = self.local[name] = Variable(name, graph=self.graph)
            elif value.interface is not None:
                raise ModelError(f"input '{name}' is listed twice")
            elif isinstance(value, Constant):
                # Before IR version 4 all initializers had to be inputs; ONNX Runtime takes those for constants.
                value.overridable = self.model.ir_version >= 4
            value.interface = span
            value.info = span if self.fields is GRAPH else self.infos.get(name)
            inputs.append(value)
        self.graph._inputs = GraphInputs(inputs, self.graph)
        self.graph.input_set = set(inputs)
        self.graph.lists_initializers = self.graph.constants.keys() <= self.graph.input_set

    def _interface_name(self, span: Span) -> str:
        if self.fields is GRAPH:
            return wire.text_field(self.buffer, span.start, span.end, NAME_OF_VALUE_INFO)
        return wire.decode(self.buffer[span.start : span.end])

    def _read_outputs(self) -> None:
        outputs: list[Value] = []
        for index, span in enumerate(self.output_spans):
            value = self._resolve(self._interface_name(span), self.local)
            if value.info is None and self.fields is GRAPH:
                value.info = span
            value.uses[self.graph, index] = None
            outputs.append(value)
        self.graph._outputs = GraphOutputs(outputs, self.graph)
        self.graph.source_outputs = dict(zip(outputs, self.output_spans, strict=True))
        self.graph.source_infos = [(span, self.local.get(name)) for name, span in self.infos.items()]
        self._pin_annotated()

    def _pin_annotated(self) -> None:
        """What quantization annotations or training information name must stay, read by nodes or not."""
        for span in self.graph.annotations:
            proto = TensorAnnotation.FromString(self.buffer[span.start : span.end])
            for name in (proto.tensor_name, *(entry.value for entry in proto.quant_parameter_tensor_names)):
                if name in self.local:
                    self.local[name].pinned = True
        if self.model.has_training_info:
            for constant in self.graph.constants:
                constant.pinned = True

    # -- nodes -----------------------------------------------------------------------------------------------------

    def _make_node(self, span: Span, header: NodeHeader) -> Node:
        proto = header.proto
        node = Node.__new__(Node)
        node.op, node.name, domain, overload = proto.op_type, proto.name, proto.domain, proto.overload
        _check_text(node.op, node.name, domain, overload)
        node.domain = schemas.normal_domain(domain)
        if overload:
            node.overload = overload
        node.source, node.alive = span, True
        node.graph = self.graph
        self.graph._link(node, None)
        node._outputs = Outputs((), node)
        for name in proto.output:
            list.append(node._outputs, self._define(name, node))
        self._check_form(node, header)
        if header.external:
            self.model.external_nodes.append(node)
        return node

    def _check_form(self, node: Node, header: NodeHeader) -> None:
        """Remember the first node that is not what its schema asks for."""
        model, version = self.model, self.graph.opsets.get(node.domain, 0)
        if header.attributes:
            _check_text(*[name for name, _ in header.attributes])
        found = complaint(node.op, node.domain, version, header.attributes, len(header.proto.input), len(node._outputs))
        if found and model.problem is None and model.function(node) is None:
            model.problem = ModelError(found, node=node.label())

    def _define(self, name: str, node: Node) -> Value:
        if not name:
            return Variable("")
        _check_text(name)
        if name in self.local:
            return self._redefine(name, node)
        value = self.local[name] = Variable(name, graph=self.graph)
        value.producer = node
        if name in self.infos:
            value.info = self.infos[name]
        return value

    def _redefine(self, name: str, node: Node) -> Value:
        """Names are unique, but old exporters repeat them on Constant nodes: the last counts, as in ONNX Runtime."""
        value = self.local[name]
        earlier = value.producer
        if earlier is None or earlier is node or (earlier.op, node.op) != ("Constant", "Constant"):
            raise ModelError(f"value '{name}' is defined twice; node '{node.name}' ({node.op}) is the second to do so")
        ghost = Variable(name, graph=self.graph)
        self.model.names.add_all([name])
        ghost.producer = earlier
        list.__setitem__(earlier._outputs, earlier._outputs.index(value), ghost)
        value.producer = node
        return value

    def _connect(self, nodes: list[Node], headers: list[NodeHeader]) -> None:
        """Resolve operands in order: what is defined so far, else what an outer graph defines, else what comes later
        (a graph that is not sorted)."""
        graph, local = self.graph, self.local
        seen = {name: value for name, value in local.items() if value.producer is None} if graph.owner else local
        for node, header in zip(nodes, headers, strict=True):
            operands = []
            for index, name in enumerate(header.proto.input):
                value = seen.get(name) if name else Variable("")
                if value is None:
                    value = self._resolve(name, seen)
                value.uses[node, index] = None
                operands.append(value)
            node._inputs = Inputs(operands, node)
            if header.bodies:
                self._add_bodies(node, header.bodies)
            if seen is not local:
                seen.update((value.name, value) for value in node._outputs)

    def _add_bodies(self, node: Node, bodies: tuple[tuple[str, int, Span], ...]) -> None:
        found = []
        for attribute, position, span in bodies:
            body = Graph(self.model, node, opsets=self.graph.opsets)
            found.append((attribute, position, body))
            self.bodies.append(_Pending(body, span, GRAPH))
        node.bodies = tuple(found)

    def _resolve(self, name: str, seen: dict[str, Value]) -> Value:
        """The value that `name` stands for here. One that nothing defines is made and found by the check later."""
        _check_text(name)
        value = seen.get(name)
        if value is None:
            value = self.visible.find(name)
        if value is not None:
            return value
        if name not in self.local:
            self.local[name] = Variable(name, graph=self.graph)
            if name in self.infos:
                self.local[name].info = self.infos[name]
        return self.local[name]


def _check_text(*names: str) -> None:
    """Refuse names that are not UTF-8, which protobuf gives as bytes."""
    for name in names:
        if isinstance(name, bytes):
            wire.decode(name)
