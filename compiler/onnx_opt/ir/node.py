"""Nodes: one application of an operator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
from onnx import AttributeProto, NodeProto, TensorProto

from onnx_opt import schemas, wire
from onnx_opt.errors import ModelError
from onnx_opt.ir import attributes
from onnx_opt.ir.attributes import AttributeRef, Attributes
from onnx_opt.ir.lists import Inputs, Outputs
from onnx_opt.ir.origin import Origin
from onnx_opt.ir.values import Constant, Identity, Value
from onnx_opt.wire import Span

if TYPE_CHECKING:
    from onnx_opt.ir.graph import Graph

NODE_ATTRIBUTE, ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS = 5, 6, 11


class Node(Identity, gs.Node):
    """An operator applied to values. It belongs to one graph and knows its neighbours in execution order.

    `inputs` and `outputs` are lists whose changes are edits of the graph; an absent optional operand is a value whose
    name is ''. `origin` names the nodes of the source model that this one stands for.
    """

    is_graph = False
    graph: Graph | None = None
    prev: Node | None = None
    next: Node | None = None
    source: Span | None = None
    """The NodeProto in the model's bytes; None for a node that a pass made."""
    alive = False
    """Whether the node is in a graph; false before it is inserted and after it is erased, with all around it."""
    dirty = False
    """Whether the source bytes no longer say what the node is."""
    rewired = False
    """Whether the names of operands or results differ from the source's."""
    retyped = False
    """Whether operator, domain or name differ from the source's."""
    bodies: tuple[tuple[str, int, Graph], ...] = ()
    """Subgraphs: (attribute, position in it, graph)."""
    overload = ""
    _attrs: Attributes | None = None
    _origin: Origin | None = None

    def __init__(
        self,
        op: str,
        name: str = "",
        attrs: dict[str, Any] | None = None,
        inputs: Sequence[Value] = (),
        outputs: Sequence[Value] = (),
        domain: str | None = None,
        origin: Origin | None = None,
    ):
        self.op = op
        self.name = name or ""
        self.domain = schemas.normal_domain(domain)
        self._inputs = Inputs(inputs, self)
        self._outputs = Outputs(outputs, self)
        self._origin = origin
        self._attrs = Attributes(self, attrs or {}, set(attrs or ()))

    # -- operands and results --------------------------------------------------------------------------------------

    @property
    def inputs(self) -> Inputs:
        return self._inputs

    @inputs.setter
    def inputs(self, values: Sequence[Value]) -> None:
        if values is not self._inputs:
            self.set_inputs(list(values))

    @property
    def outputs(self) -> Outputs:
        return self._outputs

    @outputs.setter
    def outputs(self, values: Sequence[Value]) -> None:
        if values is not self._outputs:
            self.set_outputs(list(values))

    def input(self, index: int) -> Value | None:
        """The operand at `index`, None where it is absent."""
        return self._inputs[index] if index < len(self._inputs) and self._inputs[index].name else None

    def output(self, index: int) -> Value | None:
        """The result at `index`, None where it is absent."""
        return self._outputs[index] if index < len(self._outputs) and self._outputs[index].name else None

    def set_inputs(self, values: list[Value]) -> None:
        """Replace all operands."""
        if self.graph is None:
            list.__init__(self._inputs, values)
        else:
            self.graph.set_inputs(self, values)

    def set_outputs(self, values: list[Value]) -> None:
        """Replace all results."""
        if self.graph is None:
            list.__init__(self._outputs, values)
        else:
            self.graph.set_outputs(self, values)

    # -- attributes ------------------------------------------------------------------------------------------------

    @property
    def attrs(self) -> Attributes:
        """name -> value as GraphSurgeon gives them: tensors as constants without a name, subgraphs as graphs."""
        if self._attrs is None:
            self._attrs = Attributes(self, self._decode_attributes(), set())
        return self._attrs

    @attrs.setter
    def attrs(self, items: dict[str, Any]) -> None:
        self.attrs.clear()
        self.attrs.update(items)

    def _decode_attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for span in self.source_attributes():
            name, graph = self._subgraph_attribute(span)
            if graph is None:
                assert self.graph is not None
                name, graph = self._decode_attribute(self.graph.model.buffer[span.start : span.end])
            found[name] = graph
        return found

    def _decode_attribute(self, source: bytes) -> tuple[str, Any]:
        name = ""
        try:
            proto = AttributeProto.FromString(source)
            name = proto.name
            value = attributes.decode(proto)
        except Exception as error:  # protobuf and numpy each have their own kinds
            raise ModelError(f"attribute '{name}' can't be decoded: {error}", node=self.label()) from None
        if isinstance(value, AttributeRef) and self.graph is not None and not self.graph.in_function:
            raise ModelError(f"attribute '{name}' refers to that of a function, and is in none", node=self.label())
        return name, value

    def _subgraph_attribute(self, span: Span) -> tuple[str, Any]:
        if not self.bodies:
            return "", None
        assert self.graph is not None
        name = wire.text_field(self.graph.model.buffer, span.start, span.end, 1)
        graphs = [graph for attr, _, graph in self.bodies if attr == name]
        single = [position for attr, position, _ in self.bodies if attr == name] == [-1]
        return name, (graphs[0] if single else graphs or None)

    def source_attributes(self) -> Iterator[Span]:
        """The AttributeProto fields of the source."""
        if self.source is None or self.graph is None:
            return
        for field, tag, start, end in wire.scan(self.graph.model.buffer, self.source.start, self.source.end):
            if field == NODE_ATTRIBUTE:
                yield Span(tag, start, end)

    def source_tensors(self) -> Iterator[TensorProto]:
        """The tensors in the attributes of the source."""
        for span in self.source_attributes():
            assert self.graph is not None
            try:
                proto = AttributeProto.FromString(self.graph.model.buffer[span.start : span.end])
            except DecodeError:
                raise ModelError("an attribute can't be decoded", node=self.label()) from None
            yield from [proto.t] if proto.type == AttributeProto.TENSOR else proto.tensors

    def attribute(self, name: str, default: Any = None) -> Any:
        """The attribute `name`; where the node does not set it, the default of this operator version, then `default`.

        Tensors come as numpy arrays. A reference to an attribute of a local function comes as `AttributeRef`.
        """
        value = self.attrs.get(name)
        if value is None:
            value = schemas.attribute_default(self.op, self.domain, self.version, name)
        if value is None:
            return default
        return value.values if isinstance(value, Constant) else value

    def set_attr(self, name: str, value: Any) -> None:
        """Set the attribute `name`; None removes it."""
        if self.graph is None:
            self.apply_attr(name, value)
        else:
            self.graph.set_attr(self, name, value)

    def apply_attr(self, name: str, value: Any) -> Any:
        """Change the attribute without a journal entry and return what it was. For `Graph.set_attr` alone."""
        attrs = self.attrs
        old = attrs.get(name)
        attrs.changed.add(name)
        if value is None:
            dict.pop(attrs, name, None)
        else:
            dict.__setitem__(attrs, name, value)
        return old

    @property
    def has_attribute_refs(self) -> bool:
        """Whether an attribute takes its value from the call of the enclosing local function."""
        if self.graph is None or not self.graph.in_function:
            return False
        return any(isinstance(value, AttributeRef) for value in self.attrs.values())

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The version of the operator set that the node's domain is imported with; 0 where it is not imported."""
        return self.graph.opsets.get(self.domain, 0) if self.graph is not None else 0

    @property
    def subgraphs(self) -> _Subgraphs:
        """The graphs that the node carries. A list that can also be called, as GraphSurgeon's method is."""
        return _Subgraphs(self)

    @property
    def origin(self) -> Origin:
        """Where the node comes from."""
        if self._origin is None:
            self._origin = Origin.of_node(self.name or (self._outputs[0].name if self._outputs else ""))
        return self._origin

    def proto(self) -> NodeProto:
        """The node as protobuf, without its subgraphs."""
        out = NodeProto(op_type=self.op, name=self.name, domain=self.domain, overload=self.overload)
        out.input.extend(v.name for v in self._inputs)
        out.output.extend(v.name for v in self._outputs)
        bodies = {name for name, _, _ in self.bodies}
        for name, value in self.attrs.items():
            if name not in bodies:
                out.attribute.append(AttributeProto.FromString(attributes.encode(name, value)))
        return out

    def copy(self, inputs: Any = None, outputs: Any = None, tensor_map: Any = None) -> Node:
        """A detached twin with other operands and results (GraphSurgeon's method); not for nodes with subgraphs."""
        if self.bodies:
            raise TypeError(f"node '{self.name}' carries subgraphs: copy the whole graph instead")
        return Node(self.op, self.name, dict(self.attrs), inputs or (), outputs or (), self.domain, self.origin)

    def label(self) -> str:
        """How messages call the node: its name, or its first result where it has none."""
        return self.name or next((v.name for v in self._outputs if v.name), "")

    def __repr__(self) -> str:
        results = ", ".join(v.name or "_" for v in self._outputs)
        operands = ", ".join(v.name or "_" for v in self._inputs)
        domain = f"{self.domain}." if self.domain else ""
        return f"{results} = {domain}{self.op}({operands})"

    __str__ = __repr__


class _Subgraphs(list[Any]):
    """A node's subgraphs."""

    def __init__(self, node: Node):
        super().__init__(graph for _, _, graph in node.bodies)

    def __call__(self, recursive: bool = False) -> list[Graph]:
        return [inner for graph in self for inner in graph.nested()] if recursive else list(self)
