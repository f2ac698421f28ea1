"""The edits that bring a model into the types that were chosen."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt import schemas
from onnx_opt.ir.origin import Origin
from onnx_opt.ir.values import Constant
from onnx_opt.precision.constraints import FLOAT, policy_of
from onnx_opt.precision.problem import HALF, WIDE, Forms, is_constant
from onnx_opt.precision.rounding import to_half, to_nearest
from onnx_opt.types import TensorType

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Model, Node, Value

RULE = "lower"
CAST_OPSET = 13
"""The operator set that is imported for the Casts where the model imports none: all that take BF16 serve."""
CONSTANT_FLOATS = ("value_float", "value_floats")


class Rewriter:
    """Applies `forms` to a model. `casts` are the Casts that it inserted. Of the constants `substituted` the half type
    holds the nearest number other than 0 and infinity."""

    def __init__(self, model: Model, elem_type: int, forms: Forms, substituted: Collection[Value] = ()):
        self.model = model
        self.elem_type = elem_type
        self.forms = forms
        self.substituted = substituted
        self.casts: list[Node] = []
        self.cast_bytes = 0
        self._heads: dict[Graph, Node | None] = {}
        nodes = dict.fromkeys(v.producer for v in forms.producer if v.producer is not None)
        readers = dict.fromkeys(user for user, _ in forms.reader if not user.is_graph)
        self._producers: list[Node] = list(nodes)
        self._old_casts = {node: None for node in {**nodes, **readers} if node.op == "Cast" and not node.domain}
        # What will be asked after types have changed.
        self._old_types = {node.inputs[0]: node.inputs[0].elem_type for node in self._old_casts}
        self._declared = {v: v.declared for v in forms.producer if v.is_graph_output}

    def run(self) -> None:
        """Convert constants, change types, insert casts, drop the casts that became needless."""
        values = list(self.forms.producer)
        uses = {value: self._uses(value) for value in values}
        constants = {value for value in values if is_constant(value)}
        for value in values:
            if value in constants:
                self._convert_constant(value, *uses[value])
            else:
                self._retype(value)
        for node in self._producers:
            self._state_type(node)
        for value in values:
            if value not in constants:
                self._cast(value, *uses[value])
        for node in self._old_casts:
            self._drop_needless(node)

    def _uses(self, value: Value) -> tuple[list[Any], list[Any]]:
        """Where a value is read as FP32, and where as half."""
        found: tuple[list[Any], list[Any]] = ([], [])
        for use in value.uses:
            found[self.forms.reader.get(use, WIDE)].append(use)
        return found

    # -- constants -------------------------------------------------------------------------------------------------

    def _convert_constant(self, value: Value, wide: list[Any], half: list[Any]) -> None:
        """In place where only half precision is read, else beside the FP32 one."""
        if not half:
            return
        graph = value.graph
        assert graph is not None
        if not isinstance(value, Constant):
            self._convert_node(value, wide, half)
        elif value in self.substituted:
            self._substitute(value, wide, half)
        elif wide:
            self._redirect(half, graph.add_rounded(value, self.elem_type), self.elem_type)
        else:
            graph.round_constant(value, self.elem_type)

    def _substitute(self, value: Constant, wide: list[Any], half: list[Any]) -> None:
        assert value.graph is not None
        nearest = to_nearest(value.values, self.elem_type)
        if wide:
            self._redirect(half, value.graph.add_constant(nearest, value.name), self.elem_type)
        else:
            value.graph.set_values(value, nearest)
            self._declare_half(value)

    def _convert_node(self, value: Value, wide: list[Any], half: list[Any]) -> None:
        node, array, graph = value.producer, value.constant, value.graph
        assert node is not None and array is not None and graph is not None
        rounded = (to_nearest if value in self.substituted else to_half)(array, self.elem_type)
        if wide:
            twin = graph.make_node("Constant", [], {"value": rounded}, name=node.label(), origin=node.origin)
            graph.insert(twin, node.next)
            self._redirect(half, twin.outputs[0], self.elem_type)
            return
        for name in CONSTANT_FLOATS:
            if name in node.attrs:
                graph.set_attr(node, name, None)
        graph.set_attr(node, "value", rounded)
        self._declare_half(value)

    # -- types -----------------------------------------------------------------------------------------------------

    def _retype(self, value: Value) -> None:
        """State the type of a value that is half precision now."""
        if self.forms.producer[value] != HALF:
            return
        if isinstance(value, Constant):  # an input with a default
            assert value.graph is not None
            value.graph.round_constant(value, self.elem_type)
        self._declare_half(value)

    def _declare_half(self, value: Value) -> None:
        declared = value.declared
        assert value.graph is not None
        if isinstance(declared, TensorType):
            value.graph.declare(value, declared.with_elem_type(self.elem_type))
        else:
            self.model.forget(value)

    def _state_type(self, node: Node) -> None:
        """Bring the attribute that names the type of the results in line with it."""
        name = policy_of(node).attribute
        result = next((value for value in node.outputs if value.name), None)
        form = self.forms.producer.get(result) if result is not None else None
        if not name or form is None or node.op == "Constant" or not _takes(node, name):
            return
        assert node.graph is not None
        if name == "value":
            if form == HALF:
                fill = node.attribute(name, np.zeros(1, np.float32))
                node.graph.set_attr(node, name, to_half(np.asarray(fill), self.elem_type))
            return
        elem_type = self.elem_type if form == HALF else FLOAT
        if node.attrs.get(name) != elem_type and not self._follows_operand(node, name):
            node.graph.set_attr(node, name, elem_type)

    def _follows_operand(self, node: Node, name: str) -> bool:
        """Whether the attribute is absent, and the result has the type of the first FP32 operand anyway."""
        if node.attribute(name):
            return False
        form = self.forms.producer[node.outputs[0]]
        return any(self.forms.reader.get((node, index)) == form for index in range(len(node.inputs)))

    # -- casts -----------------------------------------------------------------------------------------------------

    def _cast(self, value: Value, wide: list[Any], half: list[Any]) -> None:
        """One cast for all who read a value in the type that it does not have."""
        form = self.forms.producer[value]
        others, elem_type = (half, self.elem_type) if form == WIDE else (wide, FLOAT)
        if not others:
            return
        source = value
        if value.producer in self._old_casts:  # casting what it casts leaves no two casts back to back
            source = value.producer.inputs[0]
            if self._has_type(source, elem_type) and not any(user.is_graph for user, _ in others):
                self._redirect(others, source, elem_type)
                return
        self.cast_bytes += self.forms.bytes_of.get(value, 0) * 3 // 2
        self._redirect(others, self._insert_cast(source, value, elem_type), elem_type)

    def _has_type(self, value: Value, elem_type: int) -> bool:
        form = self.forms.producer.get(value)
        if form is None:
            return self._old_types.get(value) == elem_type
        return elem_type == (self.elem_type if form == HALF else FLOAT)

    def _insert_cast(self, source: Value, value: Value, elem_type: int) -> Value:
        """A Cast of `source` where `value` is computed."""
        graph, producer = value.graph, value.producer
        assert graph is not None
        self.model.require_opset("", CAST_OPSET)
        origin = Origin.merge(RULE, [producer.origin if producer is not None else Origin.of_node(value.name)])
        node = graph.make_node("Cast", [source], {"to": elem_type}, name=f"{value.name}_cast", origin=origin)
        place = producer.next if producer is not None else self._heads.setdefault(graph, graph.head)
        graph.insert(node, place)
        self.casts.append(node)
        return node.outputs[0]

    def _drop_needless(self, node: Node) -> None:
        """Remove a Cast from a type to itself."""
        source, result = node.inputs[0], node.outputs[0]
        assert node.graph is not None
        if node.alive and self._has_type(source, int(node.attribute("to"))):
            node.graph.replace_value(result, source)

    def _redirect(self, uses: list[Any], value: Value, elem_type: int) -> None:
        """Let these uses read `value`, of that type; a graph output hands on its name and what is declared of it."""
        for user, index in uses:
            if not user.is_graph:
                user.graph.set_input(user, index, value)
                continue
            old = user.outputs[index]
            name, declared = old.name, self._declared.get(old)
            user.set_graph_output(index, value)
            if old.graph is user:
                user.rename(old, user.fresh(name))
                user.rename(value, name)
            if isinstance(declared, TensorType):
                user.declare(value, declared.with_elem_type(elem_type))


def _takes(node: Node, attribute: str) -> bool:
    """Whether the operator has the attribute in this version."""
    schema = schemas.schema(node.op, node.domain, node.version)
    return schema is not None and attribute in schema.attributes
