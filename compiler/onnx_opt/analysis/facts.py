"""Facts about values: proven, computed when asked for, kept while the model is rewritten.

A rewrite preserves what a value is, so what was proven of a value stays true while nodes around it change; only a pass
that changes meaning (it strips, pads, converts) has to say `forget`. After an edit, `refresh` infers again what it
touched: that can sharpen facts further downstream, and it exposes an edit that did not preserve what it should have.

Facts hold in every run that succeeds on inputs of the declared types. What exporters assume is assumed here too:

- inputs whose dims bear the same name agree in them;
- where the shape operand of a Reshape is computed from sizes of the model's inputs, those are not zero (0 would mean
  "copy that dim");
- a pool's window fits into what it slides over, and sizes that Resize scales are below 2^24, where float32 is exact.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnx_opt.analysis import content, content_ops, leaves
from onnx_opt.analysis.infer import fallback, find
from onnx_opt.analysis.infer.registry import Entry, Needed, NodeView, Unknown
from onnx_opt.analysis.merge import Contradiction, FactConflict, sharpen
from onnx_opt.analysis.undo import UndoLog
from onnx_opt.errors import ModelError
from onnx_opt.shapes import Shapes
from onnx_opt.types import TensorType, Type, defined, numpy_dtype

if TYPE_CHECKING:
    from onnx_opt.ir import Model, Node, Value

assert content_ops  # imported to register its functions

_MISSING: Any = object()


class Content(NamedTuple):
    """The goal of knowing a value's content; the goal of knowing its type is the value itself."""

    value: Value


class Facts:
    """What is proven of the values of one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.shapes = Shapes()
        """The symbols of the model with their bounds, arithmetic on dims, proofs."""
        self.strict = False
        """Whether an error in a shape function is raised instead of meaning "unknown"; for tests."""
        self._types: dict[Value, Type | None] = {}
        self._contents: dict[Value, np.ndarray | None] = {}
        self._constants: dict[Value, np.ndarray | None] = {}
        self._pinned: dict[Value, TensorType] = {}
        self._stale: dict[Node, None] = {}
        self._forgotten: set[Value] = set()
        self._view = NodeView(self)
        self._log = UndoLog()

    # -- questions -------------------------------------------------------------------------------------------------

    def type(self, value: Value) -> Type | None:
        """The type of a value, None where nothing is known."""
        if value not in self._types:
            self._solve(value)
        return self._types[value]

    def elem_type(self, value: Value) -> int:
        """The element type (an `onnx.TensorProto` enum) of a tensor, 0 where it is unknown."""
        return getattr(self.type(value), "elem_type", 0)

    def dtype(self, value: Value) -> np.dtype | None:
        """The numpy (or ml_dtypes) dtype of a tensor, None where it is unknown."""
        return numpy_dtype(self.elem_type(value))

    def dims(self, value: Value) -> tuple[Any, ...] | None:
        """The dims of a tensor, each an int or a sympy expression; None where the rank is unknown."""
        return getattr(self.type(value), "shape", None)

    def constant(self, value: Value) -> np.ndarray | None:
        """A value that is the same in every run: an initializer that callers can't override, or what a Constant node
        gives."""
        if value in self._constants:
            return self._constants[value]
        found = leaves.constant(value)
        if value.producer is not None:
            self._log.set(self._constants, value, found)
        return found

    def content(self, value: Value) -> np.ndarray | None:
        """The elements of a small integer or bool tensor (rank <= 2, at most 256 elements), as an object array of ints
        and sympy expressions; None where they are unknown."""
        if value not in self._contents:
            self._solve(Content(value))
        return self._contents[value]

    def bounds(self, symbol: Any) -> tuple[int | None, int | None]:
        """The least and the greatest value of a symbol or expression; None where there is no bound."""
        return self.shapes.bounds(symbol)

    # -- what the user states --------------------------------------------------------------------------------------

    def fix(self, symbol: Any, size: int | tuple[int, int | None]) -> None:
        """Let a symbol (or the dim of that name) be `size`, or lie in a range (lowest, highest or None).

        Everything is inferred again. Raises ValueError for a negative size, an empty range, and a contradiction.
        """
        symbol = self.shapes.symbol(symbol) if isinstance(symbol, str) else self.shapes.current(symbol)
        if isinstance(symbol, int):
            low, high = (size, size) if isinstance(size, int) else size
            if symbol < low or (high is not None and symbol > high):
                raise ValueError(f"a dim that is {symbol} can't be {size}")
            return
        self.shapes.fix(symbol, size)
        self.clear()

    def fix_shape(self, value: Value, dims: tuple[int | None, ...]) -> None:
        """Let a graph input have these dims; None leaves one as it is. Raises ValueError where they contradict it."""
        known = self.dims(value)
        if known is None:
            self._pinned[value] = TensorType(self.elem_type(value), (None,) * len(dims))
            self.clear()
            known = self.dims(value)
        if known is None or len(known) != len(dims):
            raise ValueError(f"'{value.name}' has {len(known or ())} dims, not {len(dims)}")
        for dim, size in zip(known, dims, strict=True):
            if size is not None:
                self.fix(dim, size)

    # -- keeping up with edits -------------------------------------------------------------------------------------

    def changed(self, node: Node) -> None:
        """Operands or attributes of a node changed, its results did not: `refresh` will look at it again."""
        self._stale[node] = None
        for value in node.outputs:
            self._log.drop(self._constants, value)
        if self._forgotten and any(map(self._is_forgotten, node.inputs)):
            self.forget(*node.outputs)

    def became_constant(self, value: Value) -> None:
        """A value that was the same in every run is an initializer now: what uses it may be known better.

        Raises `FactConflict` where the elements are not what was proven of the value.
        """
        if value in self._types:
            self._sharpen(value, leaves.type_of(self, value))
        self._log.drop(self._constants, value)
        self._log.drop(self._contents, value)
        self._stale.update(dict.fromkeys(_dependants(value)))

    def forget(self, *values: Value) -> None:
        """These values may differ from what they were: drop what is known of them and of what is computed from them."""
        self.shapes.forget_learned()
        pending = list(values)
        roots = set(values)
        while pending:
            value = pending.pop()
            if value not in roots and self._is_forgotten(value):
                continue
            roots.discard(value)
            self._forgotten.add(value)
            for table in (self._types, self._contents, self._constants):
                self._log.drop(table, value)
            for node in _dependants(value):
                pending.extend(node.outputs)
                pending.extend(leaf for _, _, body in node.bodies for leaf in body.inputs)

    def _is_forgotten(self, value: Value) -> bool:
        """Whether a value was forgotten, with all that rests on it, and nothing was asked of it since."""
        return value in self._forgotten and value not in self._types

    def clear(self) -> None:
        """Drop everything that was inferred; what the user stated stays."""
        self.shapes.forget_learned()
        for table in (self._types, self._contents, self._constants):
            self._log.clear(table)
        self._stale.clear()
        self._forgotten.clear()

    def refresh(self) -> None:
        """Infer again around every node that changed, as far as facts become sharper.

        Raises `FactConflict` where what is found contradicts what was proven before: an edit changed a value's type.
        """
        pending, self._stale = self._stale, {}
        while pending:
            node, _ = pending.popitem()
            if node.alive:
                pending.update(dict.fromkeys(self._refresh_node(node)))

    def equate(self, value: Value, other: Value) -> None:
        """`value` is the same as `other`: what was proven of `other` holds for it too, and, within one graph, the other
        way round. Raises `FactConflict` where that can't be."""
        pairs = [(value, other)] if value.graph is not other.graph else [(value, other), (other, value)]
        for to, source in pairs:
            if source in self._types and self._sharpen(to, self._types[source]):
                self._stale.update(dict.fromkeys(_dependants(to)))

    def transaction(self) -> AbstractContextManager[None]:
        """What is inferred inside is dropped when an exception leaves the block. May be nested."""
        return self._log.transaction()

    # -- for shape functions ---------------------------------------------------------------------------------------

    def type_or_need(self, value: Value) -> Type | None:
        """The type of a value; raises `Needed` where it has yet to be computed."""
        if value not in self._types:
            raise Needed([value])
        return self._types[value]

    def content_or_need(self, value: Value) -> np.ndarray | None:
        """The content of a value; raises `Needed` where it has yet to be computed."""
        if value not in self._contents:
            raise Needed([Content(value)])
        return self._contents[value]

    def elements_or_need(self, value: Value) -> list[Any] | None:
        """The elements of a short integer tensor; those of which nothing is known become symbols of their own."""
        found = self.content_or_need(value)
        if found is None:
            found = content.unknown_elements(self.type_or_need(value), self.shapes)
            if found is None:
                return None
            self._log.set(self._contents, value, found)
        return found.reshape(-1).tolist()

    def learn(self, node: Node, dim: Any) -> None:
        """`dim` is the size of a result of `node`. What runs every time tells what sizes must be for a run to succeed;
        an edit that may yet be taken back tells nothing."""
        if not self._log.is_open and node.alive and node.graph is self.model.graph:
            self.shapes.learn(dim)

    def pinned(self, value: Value) -> TensorType | None:
        """The rank that the user stated for a graph input, as a type."""
        return self._pinned.get(value)

    # -- the work stack --------------------------------------------------------------------------------------------

    def _solve(self, goal: Value | Content) -> None:
        """Make one fact known, and first all that it rests on. A loop with its own stack: graphs may be deep."""
        stack: list[Any] = [goal]
        opened: set[Any] = set()
        while stack:
            top = stack[-1]
            needed = self._content_step(top.value) if type(top) is Content else self._type_step(top)
            if not needed:
                stack.pop()
                continue
            opened.add(top)
            for need in needed:
                if need not in opened:
                    stack.append(need)
                elif type(need) is Content:  # it rests on itself: the graph has a cycle
                    self._contents.setdefault(need.value, None)
                else:
                    self._types.setdefault(need, None)

    def _type_step(self, value: Value) -> Any:
        """Compute a value's type, or say which goals come first."""
        types = self._types
        if value in types:
            return ()
        node = value.producer
        if node is None:
            try:
                self._log.set(types, value, self._leaf(value))
            except Needed as need:
                return need.goals
            return ()
        inputs = node.inputs
        missing = [operand for operand in inputs if operand not in types and operand.name]
        if missing:
            return missing
        try:
            results = self._infer(node)
        except Needed as need:
            return need.goals
        self._log.set(types, value, None)
        for result, kind in zip(node.outputs, results, strict=False):
            if kind is not None and types.get(result) is None and result.name:
                self._log.set(types, result, kind)
        return ()

    def _content_step(self, value: Value) -> Any:
        if value in self._contents:
            return ()
        if value not in self._types:
            return (value,)
        try:
            found = self._compute_content(value)
        except Needed as need:
            return need.goals
        self._log.set(self._contents, value, found)
        return ()

    def _compute_content(self, value: Value) -> np.ndarray | None:
        kind = self._types[value]
        if not isinstance(kind, TensorType) or not content.is_small(kind):
            return None
        constant = self.constant(value)
        if constant is not None:
            return content.from_array(constant)
        node = value.producer
        if node is None or self._is_call(node):
            return None
        missing = [operand for operand in node.inputs if operand not in self._types and operand.name]
        if missing:
            raise Needed(missing)
        view = self._look_at(node)
        try:
            return content.of_node(view, node.outputs.index(value), kind)
        except (Needed, ModelError):
            raise
        except Unknown:
            return None
        except Exception:
            if self.strict:
                raise
            return None

    # -- inference -------------------------------------------------------------------------------------------------

    def _look_at(self, node: Node) -> NodeView:
        view, types = self._view, self._types
        view.node = node
        view.types = [types[operand] if operand.name else None for operand in node.inputs]
        return view

    def _infer(self, node: Node) -> list[Type | None]:
        """The types of a node's results. Raises `Needed`."""
        entry = find(node.domain, node.op)
        view = self._look_at(node)
        if self.model.functions and self._is_call(node):
            return [leaves.declared_type(self, value) for value in node.outputs]
        if entry is not None:
            result = self._apply(entry, view)
        else:
            result = fallback.infer(view)
            if result is None:
                return [leaves.declared_type(self, value) for value in node.outputs]
        results = result if type(result) is list else [result]
        if len(results) != len(node.outputs):
            results = (results + [None] * len(node.outputs))[: len(node.outputs)]
        for index, kind in enumerate(results):
            if kind is None or (type(kind) is TensorType and not defined(kind.elem_type)):
                bound = fallback.bound_elem_type(view, index)
                if bound:
                    results[index] = TensorType(bound, getattr(kind, "shape", None))
                else:
                    results[index] = leaves.with_declared_elem_type(kind, node.outputs[index])
        return results

    def _apply(self, entry: Entry, view: NodeView) -> Any:
        try:
            return entry.function(view)
        except (Needed, ModelError):
            raise
        except Unknown:
            return TensorType(entry.kind or (view.elem(entry.elem) if entry.elem >= 0 else 0), None)
        except Exception:  # a malformed node: attributes of the wrong type, missing operands
            if self.strict:
                raise
            return None

    def _leaf(self, value: Value) -> Type | None:
        try:
            return leaves.type_of(self, value)
        except (Needed, ModelError):
            raise
        except Exception:  # the attributes of a malformed Loop or Scan
            if self.strict:
                raise
            return None

    def _is_call(self, node: Node) -> bool:
        return bool(self.model.functions) and self.model.function(node) is not None

    # -- refreshing ------------------------------------------------------------------------------------------------

    def _refresh_node(self, node: Node) -> list[Node]:
        """Infer a node again; returns the nodes that use what became sharper."""
        touched: list[Node] = []
        for _, _, body in node.bodies:
            for leaf in [value for value in body.inputs if value in self._types]:
                if self._sharpen(leaf, self._again(lambda leaf=leaf: self._leaf(leaf))):
                    touched.extend(_dependants(leaf))
        known = [value for value in node.outputs if value in self._types or value in self._contents]
        if not known:
            return touched
        for operand in node.inputs:
            if operand.name:
                self.type(operand)
        results = dict(zip(node.outputs, self._again(lambda: self._infer(node)), strict=True))
        for value in known:
            sharper = self._sharpen(value, results[value])
            if self._sharpen_content(value) or sharper:
                touched.extend(_dependants(value))
        return touched

    def _again(self, compute: Any) -> Any:
        """The answer of a computation that may ask for other facts first."""
        while True:
            try:
                return compute()
            except Needed as need:
                for goal in need.goals:
                    self._solve(goal)

    def _sharpen(self, value: Value, found: Type | None) -> bool:
        """Combine a new fact with the one that is kept; returns whether that says more than before."""
        kept = self.type(value)
        try:
            sharper = sharpen(kept, found, self.shapes)
        except Contradiction:
            raise FactConflict(value.name, kept, found) from None  # type: ignore[arg-type]
        if sharper == kept:
            return False
        self._log.set(self._types, value, sharper)
        return True

    def _sharpen_content(self, value: Value) -> bool:
        kept = self._contents.get(value, _MISSING)
        if kept is _MISSING or content.is_settled(kept):
            return False
        self.type(value)
        found = self._again(lambda: self._compute_content(value))
        sharper = content.sharpen(kept, found, self.shapes)
        if sharper is kept:
            return False
        self._log.set(self._contents, value, sharper)
        return True


def _dependants(value: Value) -> list[Node]:
    """The nodes whose facts rest on a value: its users, and the owner of a subgraph that gives it out."""
    found: list[Any] = [user.owner if user.is_graph else user for user, _ in value.uses]
    return [node for node in found if node is not None]
