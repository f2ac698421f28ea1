"""Where QuantizeLinear and DequantizeLinear go.

A layer (Conv, Gemm, MatMul and their kin) reads its data quantized. Nothing is put between a layer and the activation
behind it, nor at the outputs of the model. Where all readers of a value want it quantized, and what computes it only
moves elements (MaxPool, Concat, Reshape), its operands are quantized as well, with one scale for all, so that the
whole runs in integers. Sums at the end of residual blocks read the branch that no layer computes for them quantized
(the other one is added up in that layer's kernel); on targets whose kernels also give integers, every operand and every
result is quantized.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from onnx_opt.quantization.forms import Form, stored_type
from onnx_opt.quantization.roles import Activation, Layer, Move, Pool, Sum, role_of

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value

PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})
Unfit = Callable[["Value"], str]
"""Why a value can't be quantized; '' where it can."""


@dataclass
class Placement:
    """What is to be quantized in one graph."""

    layers: dict[Node, Layer] = field(default_factory=dict)
    """Those whose weights are stored in the form, or were already."""
    reads: dict[Node, dict[int, None]] = field(default_factory=dict)
    """Node -> the operands that it reads quantized."""
    values: dict[Value, None] = field(default_factory=dict)
    """The values that are quantized."""
    declined: dict[Node, str] = field(default_factory=dict)
    """Nodes that have a role and no part in it, and why."""
    _same: dict[Value, Value] = field(default_factory=dict)

    @property
    def nodes(self) -> list[Node]:
        """The nodes that take part, layers first."""
        return list(dict.fromkeys((*self.layers, *self.reads)))

    def group(self, value: Value) -> Value:
        """The value that stands for all those of one scale."""
        root = value
        while (following := self._same.get(root, root)) is not root:
            root = following
        while value is not root:  # what was asked for once is found at once from then on
            self._same[value], value = root, self._same[value]
        return root

    def join(self, one: Value, other: Value) -> None:
        """Let two values have one scale."""
        first, second = self.group(one), self.group(other)
        if first is not second:
            self._same[first] = second

    def read(self, node: Node, index: int) -> None:
        """Let a node read an operand quantized."""
        self.reads.setdefault(node, {})[index] = None
        self.values[node.inputs[index]] = None

    def is_read(self, user: Node | Graph, index: int) -> bool:
        """Whether that use of a value is a quantized one."""
        return not user.is_graph and index in self.reads.get(user, ())


def place(graph: Graph, form: Form, unfit: Unfit, kept: Collection[Node] = ()) -> Placement:
    """Decide for the main graph `graph`, without the nodes `kept`. Changes nothing."""
    return _Placer(graph, form, unfit, kept).run()


class _Placer:
    def __init__(self, graph: Graph, form: Form, unfit: Unfit, kept: Collection[Node]) -> None:
        self.graph, self.form, self.unfit, self.kept = graph, form, unfit, kept
        self.placement = Placement()
        self.order = {node: number for number, node in enumerate(graph)}
        self.moving: set[Node] = set()

    def run(self) -> Placement:
        for node in self.graph:
            role = role_of(node)
            if isinstance(role, Layer):
                self._try(node, self._layer(node, role))
        if self.form.activations:
            for node in self.graph:
                role = role_of(node)
                if isinstance(role, Pool | Sum) and node not in self.kept:
                    self._try(node, self._pool(node, role) if isinstance(role, Pool) else self._sum(node))
            if self.form.results:
                for node in self.placement.nodes:
                    self._result(node)
            self._spread()
        return self.placement

    def _try(self, node: Node, reason: str) -> None:
        if reason:
            self.placement.declined[node] = reason

    # -- layers --------------------------------------------------------------------------------------------------------

    def _layer(self, node: Node, role: Layer) -> str:
        """Let a layer take part, or say why not."""
        if node in self.kept:
            return ""
        if reason := self._unfit_layer(node, role):
            return reason
        if self.form.activations:
            self.placement.read(node, role.data)
        self.placement.layers[node] = role
        return ""

    def _unfit_layer(self, node: Node, role: Layer) -> str:
        if self.form.block and not role.packs:
            return f"{self.form.name} is for products of matrices"
        data, weight = node.inputs[role.data], node.inputs[role.weight]
        if is_op(data.producer, *PAIR) or (self.form.block and is_op(weight.producer, *PAIR)):
            return "it is quantized already"
        if reason := self._unfit_weight(weight):
            return reason
        if not self.form.activations:
            return ""
        if self.form.results and not role.floats and not self._readers_of_result(node):
            return "its result is read in FP32, and integer kernels of it give integers"
        return role.problem(node) or self._unfit_value(data)

    def _unfit_weight(self, weight: Value) -> str:
        """Why a weight can't be in the form. One that is in it already is dequantized where it is read."""
        if weight.producer is not None and is_op(weight.producer, "DequantizeLinear"):
            return self._unfit_stored(weight.producer)
        weights = weight.constant
        if weights is None:
            return "its weights are only known when the model runs"
        if weights.dtype != np.float32:
            return f"its weights are {weights.dtype.name}, not float32"
        if not weights.size or not np.isfinite(weights).all():
            return "its weights are empty, infinite or NaN"
        return "its weights are no matrix" if weights.ndim < 2 and self.form.block else ""

    def _unfit_stored(self, dequantize: Node) -> str:
        """Why weights that are stored in few bits are not in the form."""
        weights, scales, zero_point = (dequantize.input(index) for index in range(3))
        if weights is None or scales is None or weights.constant is None or scales.constant is None:
            return "its weights are only known when the model runs"
        zeros = zero_point.constant if zero_point is not None else np.zeros(1)
        if weights.constant.dtype != stored_type(self.form.weights) or zeros is None or zeros.astype(np.float32).any():
            return "its weights are quantized in another form"
        return ""

    def _unfit_value(self, value: Value) -> str:
        if value.graph is not self.graph:
            return f"'{value.name}' comes from outside of the graph"
        if value.elem_type != TensorProto.FLOAT:
            return f"'{value.name}' is no FP32 tensor"
        if value.constant is not None:
            return f"'{value.name}' is a constant"
        if any(not user.is_graph and is_op(user, "QuantizeLinear") for user, _ in value.uses):
            return f"'{value.name}' is quantized already"
        return self.unfit(value)

    # -- what stands beside them ---------------------------------------------------------------------------------------

    def _pool(self, node: Node, role: Pool) -> str:
        if self._layer_behind(node.inputs[0]) is None:
            return "no quantized layer computes its operand"
        if reason := role.problem(node) or self._unfit_value(node.inputs[0]):
            return reason
        self.placement.read(node, 0)
        return ""

    def _sum(self, node: Node) -> str:
        """A residual sum: which operands are read quantized depends on the target."""
        if any(value.constant is not None for value in node.inputs) or node.inputs[0] is node.inputs[1]:
            return ""
        behind = [self._layer_behind(value) for value in node.inputs]
        if not any(behind):
            return "no quantized layer computes an operand of it"
        wanted = [0, 1] if self.form.results else self._shortcut(node, behind)
        for index in wanted:
            if reason := self._unfit_value(node.inputs[index]):
                return reason
        for index in wanted:
            self.placement.read(node, index)
        return "" if wanted else "no layer computes an operand for it alone"

    def _shortcut(self, node: Node, behind: list[Node | None]) -> list[int]:
        """The operand that is not added up in the kernel of the layer that computes the other one for this sum alone.
        Where there are two such layers, the later one takes it."""
        alone = [
            layer if layer in self.placement.layers and layer is value.producer and len(value.uses) == 1 else None
            for value, layer in zip(node.inputs, behind, strict=True)
        ]
        places = [self.order[layer] if layer is not None else -1 for layer in alone]
        if max(places) < 0:
            return []
        return [0] if places[1] > places[0] else [1]

    def _layer_behind(self, value: Value) -> Node | None:
        """The node that takes part in integers and computes a value, maybe through an activation and moves."""
        while (node := value.producer) is not None and node.graph is self.graph:
            if node in self.placement.layers or node in self.placement.reads:
                return node
            if not isinstance(role_of(node), Activation | Move) or node in self.kept:
                return None
            value = node.inputs[0]
        return None

    # -- results -------------------------------------------------------------------------------------------------------

    def _result(self, node: Node) -> None:
        """Let all nodes that read what a kernel gives, behind its activation, read it quantized."""
        for user, index in self._readers_of_result(node):
            self.placement.read(user, index)

    def _readers_of_result(self, node: Node) -> list[tuple[Node, int]]:
        """The uses of what a kernel gives, behind its activation; none where some of them need it in FP32."""
        value = _behind_activation(node.outputs[0])
        if value.is_graph_output or self._unfit_value(value):
            return []
        readers = [(user, index) for user, index in value.uses if user.graph is self.graph and user not in self.kept]
        return readers if len(readers) == len(value.uses) else []

    def _spread(self) -> None:
        """Quantize what is moved to where it is read quantized."""
        pending = list(self.placement.values)
        while pending:
            value = pending.pop()
            node = value.producer
            if node is None or node.graph is not self.graph:
                continue
            role = role_of(node)
            if isinstance(role, Move) and node not in self.kept and node not in self.moving and self._moves(node, role):
                pending += [node.inputs[index] for index in role.moved(node)]

    def _moves(self, node: Node, role: Move) -> bool:
        """Let a node move quantized elements if all that it gives is read quantized."""
        results = [value for value in node.outputs if value.name]
        uses = [use for value in results for use in value.uses]
        if not uses or not all(self.placement.is_read(*use) for use in uses):
            return False
        operands = [node.inputs[index] for index in role.moved(node)]
        reason = role.problem(node) or next(filter(None, map(self._unfit_value, operands)), "")
        if reason:
            self.placement.declined[node] = reason
            return False
        self.moving.add(node)
        for index in role.moved(node):
            self.placement.read(node, index)
        for value in (*operands[1:], *results):
            self.placement.join(value, operands[0])
        return True


def is_op(node: Node | None, *ops: str) -> bool:
    """Whether a node is one of these standard operators."""
    return node is not None and node.op in ops and not node.domain


def _behind_activation(value: Value) -> Value:
    """What integer kernels give instead of a value: the result of its only reader, where that just cuts values off."""
    uses = list(value.uses)
    user = uses[0][0] if len(uses) == 1 else None
    if user is None or user.is_graph or uses[0][1] != 0:
        return value
    role = role_of(user)
    return user.outputs[0] if isinstance(role, Activation) and role.saturates else value
