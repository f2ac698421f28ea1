"""Constant folding: choose what to compute, then compute it in one batch.

The choice comes first and looks at sizes only, so a node that would make a bomb of a small file costs nothing. Nodes
are folded where all that they read is known; of a folded region only the values that something outside reads are kept,
and they count against the growth that the user allows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set

import numpy as np

from onnx_opt import traits, types
from onnx_opt.evaluate import evaluate, result_bytes
from onnx_opt.ir import Constant, Graph, Node, Value
from onnx_opt.ir.graph import ANY_CONSTANT, FIRST_CONSTANTS
from onnx_opt.passes import PassContext
from onnx_opt.report import FLOPS, estimate_flops

RULE = "fold-constant"
INTERMEDIATE_LIMIT = 1 << 28
"""Bytes of one result above which a node is not even an intermediate step of folding."""
SMALL_GROWTH = 64 << 10
"""Bytes by which folding may make a small model grow."""
LEAST_WORK, WORK_BY_WEIGHT = 1 << 30, 8
"""Bytes that folding may compute in all, and how many for each byte of the model's weights if that is more."""
LEAST_FLOPS, FLOPS_BY_WEIGHT = 1 << 34, 2048
"""The same in operations of matrix products and convolutions."""
ATTEMPTS = 4
"""Rounds of choosing and computing; only nodes that can't be computed make a second one necessary."""


def fold(graph: Graph, context: PassContext, max_growth: int | None) -> None:
    """Replace what is known by initializers. The model grows by at most `max_growth` bytes; None: in proportion."""
    weights = _weight_bytes(graph)
    limit = max(weights // 10, SMALL_GROWTH) if max_growth is None else max_growth
    refused: set[Node] = set()
    for _ in range(ATTEMPTS):
        folder = _Folder(graph, context, limit, weights, refused)
        folder.choose()
        declined = folder.compute()
        if not declined:
            break
        refused.update(declined)  # what they read is worth keeping instead
    folder.replace()
    graph.model.settle()


def _weight_bytes(graph: Graph) -> int:
    return sum(constant.nbytes for inner in graph.model.all_graphs() for constant in inner.constants)


class _Folder:
    def __init__(self, graph: Graph, context: PassContext, max_growth: int, weights: int, refused: Set[Node]):
        self.graph = graph
        self.context = context
        self.refused = refused
        self.growth_left = max_growth
        self.work_left = max(LEAST_WORK, WORK_BY_WEIGHT * weights)
        self.flops_left = max(LEAST_FLOPS, FLOPS_BY_WEIGHT * weights)
        self.arrays: dict[Value, np.ndarray] = {}
        """Values whose elements are known without computing a node: contents of shape arithmetic, Constant nodes."""
        self.chosen: dict[Node, None] = {}
        self.credit: dict[Value, int] = {}
        """Bytes of initializers that go when the value is computed ahead of time."""

    def choose(self) -> None:
        """Find the nodes to fold, in topological order, then drop those whose results would be too large to keep."""
        for inner in self.graph.model.all_graphs():
            for node in inner:
                if self._is_known(node) or self._is_foldable(node):
                    self.chosen[node] = None
        for node in reversed(list(self.chosen)):
            self._check_growth(node)

    def _is_known(self, node: Node) -> bool:
        """Whether the analyses know all results: then nothing is left to compute."""
        if node.bodies or node.has_attribute_refs or traits.is_kept(node):
            return False
        if node.op == "Constant" and not node.domain and node.graph.is_function_body:  # type: ignore[union-attr]
            return False
        found = {}
        for value in node.outputs:
            if not value.name:
                continue
            array = _known_array(value)
            if array is None:
                return False
            found[value] = array
        self.arrays.update(found)
        return bool(found)

    def _is_foldable(self, node: Node) -> bool:
        if node in self.refused or traits.is_kept(node) or node.bodies or node.has_attribute_refs or not node.inputs:
            return False
        if not all(self._is_constant(value) for value in node.inputs if value.name):
            return False
        if not traits.is_foldable(node):
            if traits.is_known(node):
                self.context.declined(RULE, node, "it is random, keeps state, or is left to the runtime")
            return False
        size = result_bytes(node)
        if size is None or size > INTERMEDIATE_LIMIT:
            self.context.declined(
                RULE, node, f"its result would be {'of unknown size' if size is None else _text(size)}"
            )
            return False
        return True

    def _is_constant(self, value: Value) -> bool:
        if isinstance(value, Constant):
            return not value.overridable and value.is_readable
        return value.producer in self.chosen or (value.producer is not None and value.constant is not None)

    def _check_growth(self, node: Node) -> None:
        """Users come before this in the reversed order: what they did not fold must be kept, and be worth its bytes."""
        kept = [value for value in node.outputs if self._is_kept(value)]
        if not kept:
            return
        if any(value.is_graph_output for value in kept) and node.op == "Constant":
            del self.chosen[node]
            return
        size = sum(self.arrays[v].nbytes for v in kept) if node.outputs[0] in self.arrays else result_bytes(node) or 0
        growth = size - self._freed(node)
        if growth > max(self.growth_left, 0) and growth > 0:
            self.context.declined(RULE, node, f"it would add {_text(growth)} to the model (--max-fold-growth)")
            del self.chosen[node]
            return
        self.growth_left -= max(growth, 0)

    def _is_kept(self, value: Value) -> bool:
        return bool(value.name) and any(user.is_graph or user not in self.chosen for user, _ in value.uses)

    def _freed(self, node: Node) -> int:
        """Bytes of the initializers that only this node reads, directly or through nodes that only it reads."""
        if node.op == "Constant":
            return sum(self.arrays[value].nbytes for value in node.outputs if value in self.arrays)
        freed, stack = 0, list(node.inputs)
        seen: set[Value] = set()
        while stack and len(seen) < 64:
            value = stack.pop()
            if value in seen or len(value.uses) != 1:
                continue
            seen.add(value)
            if isinstance(value, Constant):
                freed += value.nbytes
            elif value.producer is not None:
                stack.extend(value.producer.inputs)
        return freed

    def compute(self) -> Collection[Node]:
        """Compute the chosen nodes in one batch; returns those that could not be."""
        wanted = [value for value in self._kept() if value not in self.arrays]
        needed = _cone(wanted, self.chosen)
        if not needed:
            return ()
        nodes = [node for node in self.chosen if node in needed and self._is_affordable(node)]
        result = evaluate(nodes, wanted, known=self._array)
        result.declined.update((node, "folding computes too much already") for node in needed.difference(nodes))
        for node, reason in result.declined.items():
            self.context.declined(RULE, node, reason)
        self.arrays.update(result.arrays)
        return result.declined.keys()

    def _is_affordable(self, node: Node) -> bool:
        """Whether there is room for one more: many results may be small each, and live at the same time."""
        size = result_bytes(node) or 0
        flops = estimate_flops(node)[0] if node.op in FLOPS else 0
        if size > self.work_left or flops > self.flops_left:
            return False
        self.work_left -= size
        self.flops_left -= flops
        return True

    def replace(self) -> None:
        """Put initializers in the place of what was computed and is read by something that stays."""
        for value, node in self._kept().items():
            array = self.arrays.get(value)
            if array is not None and _is_replaceable(node, value, array) and self.context.admit(RULE, node):
                self._replace(node, value, array)

    def _kept(self) -> dict[Value, Node]:
        return {value: node for node in self.chosen for value in node.outputs if self._is_kept(value)}

    def _array(self, value: Value) -> np.ndarray | None:
        known = self.arrays.get(value)
        return known if known is not None else value.constant

    def _replace(self, node: Node, value: Value, array: np.ndarray) -> None:
        """The value becomes an initializer under its own name; what a graph returns stays the result of a node."""
        graph = node.graph
        assert graph is not None
        if value.is_graph_output:
            constant = graph.make_node("Constant", [], {"value": array}, name=value.name, origin=node.origin)
            graph.insert(constant, node)
            graph.replace_value(value, constant.outputs[0])
        else:
            graph.make_constant(value, array)
        self.context.applied(RULE, [node.label()], node.origin, [value.name])


def _is_replaceable(node: Node, value: Value, array: np.ndarray) -> bool:
    """Whether an initializer, or for what a graph returns a Constant node, can stand in place of the value."""
    if not all(user.is_graph or traits.admits(user, index, array) for user, index in value.uses):
        return False
    assert node.graph is not None
    if not value.is_graph_output:
        return node.graph.holds(array.dtype)
    if "" not in node.graph.opsets:  # operators of other domains alone: there is no Constant
        return False
    return node.op != "Constant" and (node.graph.opset >= ANY_CONSTANT or array.dtype in FIRST_CONSTANTS)


def _known_array(value: Value) -> np.ndarray | None:
    """The elements of a value that the analyses know completely."""
    array = value.constant
    if array is not None:
        return array
    content = value.content
    if content is None or not all(isinstance(item, int) for item in content.flat):
        return None
    dtype = types.numpy_dtype(value.elem_type)
    return None if dtype is None else np.array(content.tolist(), dtype).reshape(content.shape)


def _cone(values: Iterable[Value], within: dict[Node, None]) -> set[Node]:
    """The nodes of `within` that `values` depend on."""
    found: set[Node] = set()
    stack = [value.producer for value in values]
    while stack:
        node = stack.pop()
        if node is not None and node in within and node not in found:
            found.add(node)
            stack.extend(value.producer for value in node.inputs)
    return found


def _text(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size} bytes"
