"""True half precision in ONNX Runtime, on any machine.

ONNX Runtime has few half precision kernels for the processor: it computes in FP32 and leaves the casts in between out,
so that a square which overflows looks right. `true_half` makes an FP32 model of a half precision one that does round:
every half precision value becomes FP32, and after each node its results are cast to half precision and back, which ONNX
Runtime does as written. One ordinary session then shows what the target would compute: each operator accumulates in
FP32 (as Tensor Cores do) and rounds once, sums that the target keeps in half precision are rounded too, subnormals are
kept, and what is too large becomes Inf.

What it cannot see: rounding inside of an operator that the target computes in several steps of its own (a softmax in
half, a convolution by Winograd's transforms), and the order of the target's additions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, numpy_helper

from onnx_opt.precision.formats import FORMATS
from onnx_opt.precision.probe import subgraphs
from onnx_opt.precision.roundtrips import FLOAT, Rounder
from onnx_opt.validate.source import Source

if TYPE_CHECKING:
    from onnx_opt.ir import Graph

_TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype", "precision", "softmax_precision", "stash_type"})
"""Attributes of standard and vendor operators that hold an element type."""


@dataclass
class _Scope:
    """A graph, with the half precision type of each of its values that has one, and the ranks of operands."""

    proto: GraphProto
    halves: dict[str, int] = field(default_factory=dict)
    ranks: dict[str, int | None] = field(default_factory=dict)


def true_half(source: Source, sums: frozenset[str] = frozenset()) -> Source:
    """The model in `source` as an FP32 model that rounds as half precision does.

    Inputs and outputs keep their names and types. `sums` are the operators whose sums the target keeps in half
    precision. A model without half precision values comes out as it went in. Raises ModelError for what is no model.
    """
    model = source.skeleton()
    if model.functions:
        from onnx.inliner import inline_local_functions

        model = inline_local_functions(model)
    scopes = _scopes(model, source)
    if not any(scope.halves for scope in scopes):
        return source
    _Widening(model, scopes, sums).run()
    return source.with_proto(model)


def _scopes(model: ModelProto, source: Source) -> list[_Scope]:
    """Every graph of the model, outer before inner, with what the analyses know of the types of its values."""
    from onnx_opt.ir.load import load_bytes

    folder = source.external_folder
    graph = load_bytes(model.SerializeToString(), folder / "model.onnx" if folder is not None else None)
    pairs: list[tuple[Graph, GraphProto]] = [(graph, model.graph)]
    scopes = []
    while pairs:
        known, proto = pairs.pop()
        scopes.append(_scope(known, proto))
        for node, written in zip(known, proto.node, strict=True):
            if node.bodies:
                pairs += zip((body for _, _, body in node.bodies), subgraphs(written), strict=True)
    return scopes


def _scope(graph: Graph, proto: GraphProto) -> _Scope:
    scope = _Scope(proto)
    results = [value for node in graph for value in node.outputs]
    for value in (*graph.inputs, *graph.constants, *results):
        if value.name and value.elem_type in FORMATS and _is_tensor(value):
            scope.halves[value.name] = value.elem_type
    for node in graph:
        if node.op == "GlobalAveragePool":
            scope.ranks[node.inputs[0].name] = node.inputs[0].rank
    return scope


def _is_tensor(value: object) -> bool:
    from onnx_opt import types

    declared = getattr(value, "declared", None)
    return declared is None or isinstance(declared, types.TensorType)


class _Widening:
    """The edits on one model."""

    def __init__(self, model: ModelProto, scopes: list[_Scope], sums: frozenset[str]) -> None:
        self.model, self.scopes, self.sums = model, scopes, sums
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        self.renamed: dict[str, str] = {}
        """Half precision inputs and outputs of the model -> the FP32 value that stands for them inside."""
        self._count = 0

    def run(self) -> None:
        main = self.scopes[0]
        fed = {info.name for info in main.proto.input}
        for info in (*main.proto.input, *main.proto.output):
            if info.name in main.halves:
                self.renamed.setdefault(info.name, self._fresh())
        for scope in reversed(self.scopes):  # inner ones first: what an outer one writes are copies
            self._rewrite(scope, fed if scope is main else set())

    def _fresh(self) -> str:
        self._count += 1
        return f"onnx_opt.half.{self._count}"

    def _rewrite(self, scope: _Scope, fed: set[str]) -> None:
        proto, is_main = scope.proto, scope is self.scopes[0]
        rounder = Rounder(self._fresh, self.opset, self.sums)
        # Capturing scopes know the value by another name only where it is an input or output of the model.
        halves = {self.renamed.get(name, name): half for name, half in scope.halves.items()}
        for name in fed & self.renamed.keys():
            rounder.add("Cast", [name], self.renamed[name], to=FLOAT)
        for tensor in (*proto.initializer, *(sparse.values for sparse in proto.sparse_initializer)):
            if tensor.data_type in FORMATS and tensor.name not in fed:
                known, tensor.name = self.renamed.get(tensor.name, tensor.name), self._fresh()
                rounder.add("Cast", [tensor.name], known, to=FLOAT)
        for node in proto.node:
            self._rename(node)
            if _is_half_constant(node):
                known, node.output[0] = node.output[0], self._fresh()
                rounder.made.append(node)
                rounder.add("Cast", [node.output[0]], known, to=FLOAT)
                continue
            _widen_attributes(node)
            rounder.node(node, halves, scope.ranks.get(node.input[0]) if node.input else None)
        if is_main:
            for info in proto.output:
                if info.name in self.renamed and info.name not in fed:
                    rounder.add("Cast", [self.renamed[info.name]], info.name, to=scope.halves[info.name])
        else:
            self._widen_interface(proto)
        for info in proto.value_info:
            _widen_type(info.type)
        del proto.node[:]
        proto.node.extend(rounder.made)

    def _rename(self, node: NodeProto) -> None:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in self.renamed:
                    names[index] = self.renamed[name]

    def _widen_interface(self, proto: GraphProto) -> None:
        for info in (*proto.input, *proto.output):
            _widen_type(info.type)
            info.name = self.renamed.get(info.name, info.name)


def _is_half_constant(node: NodeProto) -> bool:
    return node.op_type == "Constant" and any(a.name == "value" and a.t.data_type in FORMATS for a in node.attribute)


def _widen_attributes(node: NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.INT and attribute.name in _TYPE_ATTRIBUTES and attribute.i in FORMATS:
            attribute.i = FLOAT
        elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type in FORMATS:
            attribute.t.CopyFrom(_widened(attribute.t))
        elif attribute.type == AttributeProto.TYPE_PROTO:
            _widen_type(attribute.tp)


def _widened(tensor: TensorProto) -> TensorProto:
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name)


def _widen_type(kind: TypeProto) -> None:
    while (field_name := kind.WhichOneof("value")) in ("sequence_type", "optional_type", "map_type"):
        kind = kind.map_type.value_type if field_name == "map_type" else getattr(kind, field_name).elem_type
    if field_name in ("tensor_type", "sparse_tensor_type"):
        found = getattr(kind, field_name)
        if found.elem_type in FORMATS:
            found.elem_type = FLOAT
