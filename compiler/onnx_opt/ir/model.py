"""The model around the graphs: source bytes, operator sets, names, local functions, and the journal of edits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt import files
from onnx_opt.errors import ModelError
from onnx_opt.ir import order, tensors
from onnx_opt.ir.names import Names
from onnx_opt.wire import Buffer, Span

if TYPE_CHECKING:
    from onnx_opt.analysis import Facts
    from onnx_opt.ir.graph import Function, Graph
    from onnx_opt.ir.node import Node
    from onnx_opt.ir.values import Constant, Value

Undo = tuple[Callable[..., Any], tuple[Any, ...]]


class Model:
    """What the graphs of one file share.

    `buffer` holds the source for as long as any part of the model is unread or unchanged. `layout` is the order of the
    top-level fields, as (field number, span).
    """

    def __init__(self, buffer: Buffer, path: Path | None):
        self.buffer = buffer
        self.path = path
        self.layout: list[tuple[int, Span]] = []
        self.ir_version = 0
        self.opsets: dict[str, int] = {}
        self.source_opsets: dict[str, int] = {}
        self.functions: list[Function] = []
        self.producer_name = self.producer_version = ""
        self.metadata: dict[str, str] = {}
        """Entries of the model's metadata_props to be written when it is saved, in place of those of the source under
        the same keys; the others stay as they are."""
        self.names = Names()
        """The names of all values."""
        self.graph: Graph
        self.revision = 0
        """Grows with every edit: equal revisions mean that nothing happened in between."""
        self.orphans: dict[Value, None] = {}
        """Values that lost their last use since the last sweep."""
        self.has_training_info = False
        self.external_nodes: list[Node] = []
        """Nodes of the source whose attributes hold external data."""
        self.problem: ModelError | None = None
        """What the first node is accused of that is not as its operator's schema asks."""
        self._node_names: Names | None = None
        self._function_table: dict[tuple[str, str, str], Function] | None = None
        self._log: list[Undo] | None = None
        self._external: dict[str, Buffer] = {}

    @cached_property
    def facts(self) -> Facts:
        """What the analyses prove about the values; computed when asked for, kept up to date by the edits."""
        from onnx_opt.analysis import Facts

        return Facts(self)

    # -- the journal of edits --------------------------------------------------------------------------------------

    def record(self, undo: Callable[..., Any], *args: Any) -> None:
        """Note how to take back the edit that is about to happen."""
        self.revision += 1
        if self._log is not None:
            self._log.append((undo, args))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Edits inside, and what the analyses made of them, are all taken back when an exception leaves the block. May
        be nested."""
        outer, self._log = self._log, []
        facts = self._known_facts
        try:
            with facts.transaction() if facts is not None else nullcontext():
                yield
        except BaseException:
            log, self._log = self._log, None
            for undo, args in reversed(log or []):
                undo(*args)
            self._log = outer
            if facts is None and self._known_facts is not None:
                self.facts.clear()
            raise
        if outer is not None:
            outer.extend(self._log or ())
        self._log = outer

    def settle(self) -> int:
        """After edits: remove what they left unused, and let the analyses look again at what they touched.

        Returns the number of nodes removed. Raises FactConflict where an edit changed the type of a value.
        """
        removed = order.sweep(self)
        if self._known_facts is not None:
            self.facts.refresh()
        return removed

    @property
    def _known_facts(self) -> Facts | None:
        """The analyses if they were asked for already."""
        return self.__dict__.get("facts")

    def touched(self, node: Node) -> None:
        """Tell the analyses that a node's operands or attributes changed."""
        if self._known_facts is not None:
            self.facts.changed(node)

    def became_constant(self, value: Value) -> None:
        """Tell the analyses that a value is an initializer now, with the elements that it always had."""
        if self._known_facts is not None:
            self.facts.became_constant(value)

    def forget(self, value: Value) -> None:
        """Tell the analyses that a value may differ from what it was."""
        if self._known_facts is not None:
            self.facts.forget(value)

    # -- names and operator sets -----------------------------------------------------------------------------------

    def fresh(self, hint: str) -> str:
        """A name that no value of the model bears, made from `hint`; it is taken from then on."""
        return self.names.fresh(hint or "value")

    def fresh_node_name(self, hint: str) -> str:
        """A name that no node of the model bears: ONNX does not ask for that, ONNX Runtime does."""
        return self._names_of_nodes().fresh(hint)

    def unique_node_name(self, name: str) -> str:
        """`name`, which a node bears, unless another node of the model bears it too: then a fresh one."""
        return self.fresh_node_name(name) if name and self._names_of_nodes().get(name, 0) > 1 else name

    def _names_of_nodes(self) -> Names:
        if self._node_names is None:
            self._node_names = Names(node.name for graph in self.all_graphs() for node in graph)
        return self._node_names

    def require_opset(self, domain: str, version: int) -> None:
        """Import an operator set if the model does not import that domain yet."""
        if domain not in self.opsets:
            self.record(self.opsets.pop, domain, None)
            self.opsets[domain] = version

    def raise_opset(self, domain: str, version: int) -> None:
        """Import a later operator set of a domain. Every node of it must be valid and mean the same there."""
        self.record(self.opsets.update, dict(self.opsets))
        self.opsets[domain] = version

    def drop_opset(self, domain: str) -> None:
        """Stop importing an operator set that no node uses any more."""
        if domain in self.opsets:
            self.record(self.opsets.update, dict(self.opsets))
            del self.opsets[domain]

    def all_graphs(self) -> Iterator[Graph]:
        """The main graph, its nested subgraphs, and the local functions with theirs; outer before inner."""
        for graph in (self.graph, *self.functions):
            yield from graph.nested()

    def function(self, node: Node) -> Function | None:
        """The local function that a node calls."""
        if not self.functions:
            return None
        if self._function_table is None:
            self._function_table = {(f.domain, f.name, f.overload): f for f in self.functions}
        return self._function_table.get((node.domain, node.op, node.overload))

    def set_functions(self, functions: list[Function]) -> None:
        """Keep only these local functions, in this order."""
        self.record(self.set_functions, list(self.functions))
        self.functions[:] = functions
        self._function_table = None

    # -- tensors ---------------------------------------------------------------------------------------------------

    def tensor_header(self, constant: Constant) -> tensors.TensorHeader:
        """Name, type, shape and place of an initializer, without its payload."""
        assert constant.source is not None
        if constant.sparse:
            return tensors.read_sparse_header(self.buffer, constant.source)
        return tensors.read_header(self.buffer, constant.source)

    def tensor_array(self, constant: Constant) -> np.ndarray:
        """The payload of an initializer, as a view where possible."""
        header = self.tensor_header(constant) if constant.rounded_to else constant.header
        assert header is not None and constant.source is not None
        if constant.sparse:
            return tensors.read_sparse(self.buffer, constant.source, header)
        return tensors.read_array(self.buffer, constant.source, header, self.external_file)

    def external_locations(self) -> Iterator[str]:
        """The files that initializers of the source refer to, as far as they were opened; checking opens all."""
        return iter(self._external)

    def external_file(self, location: str) -> Buffer:
        """The mapped contents of an external data file. Raises ModelError where it is missing or out of bounds."""
        if location not in self._external:
            path = tensors.resolve_external(self.path.parent if self.path else None, location)
            try:
                self._external[location] = files.contents(path)
            except OSError as error:
                raise ModelError(f"external data '{location}' can't be read: {error.strerror}") from None
        return self._external[location]
