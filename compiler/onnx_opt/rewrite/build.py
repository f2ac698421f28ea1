"""Replacements made real: `op.X(...)` trees become nodes of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_opt import schemas
from onnx_opt.ir import Constant, Graph, Node, Origin, Value
from onnx_opt.rewrite.pattern import Call, Result
from onnx_opt.rewrite.rule import NoMatch


class Builder:
    """Makes the nodes of one replacement, right before the node that they replace."""

    def __init__(self, graph: Graph, before: Node, origin: Origin, rule: str):
        self.graph = graph
        self.before = before
        self.origin = origin
        self.rule = rule
        self.hint = before.label() or rule
        self.made: list[Node] = []
        self._nodes: dict[int, tuple[Call, Node]] = {}

    def value(self, item: Any) -> Value:
        """The value of one part of a replacement: a value as it is, an array as an initializer, a call as a node."""
        if isinstance(item, Value):
            return item
        if isinstance(item, np.ndarray | np.generic):
            if self.graph.is_function_body and not self.graph.holds(item.dtype):
                raise NoMatch("the local function can't hold a constant of that type")
            return self.graph.add_constant(np.asarray(item), f"{self.hint}_constant")
        if isinstance(item, Call):
            return self._node(item).outputs[0]
        if isinstance(item, Result):
            return self._node(item.call).outputs[item.index]
        raise TypeError(
            f"rule {self.rule} returns a {type(item).__name__} where a value, an array or op.X(...) is needed"
        )

    def _node(self, call: Call) -> Node:
        """The node of a call; a call that stands in several places is one node."""
        if id(call) in self._nodes:
            return self._nodes[id(call)][1]
        (domain, op), *others = call.heads
        if others:
            raise TypeError(f"rule {self.rule} must choose one operator for its replacement")
        self._check_domain(domain, op)
        operands = [None if arg is None else self.value(arg) for arg in call.args]
        while operands and operands[-1] is None:
            operands.pop()
        attrs = {name: _plain(value) for name, value in call.attrs.items() if value is not None}
        node = self.graph.make_node(op, operands, attrs, domain, call.outputs, self.hint, self.origin)
        self.graph.insert(node, self.before)
        self.made.append(node)
        self._nodes[id(call)] = (call, node)
        return node

    def _check_domain(self, domain: str, op: str) -> None:
        if domain in self.graph.opsets:
            return
        version = schemas.newest_version(domain) or 1
        if self.graph.is_function_body or self.graph.opsets is not self.graph.model.opsets:
            raise NoMatch(f"the local function does not import the domain of {domain}.{op}")
        self.graph.model.require_opset(domain, version)


def _plain(value: Any) -> Any:
    """Attribute values as ONNX takes them: tuples as lists, constants as arrays."""
    if isinstance(value, tuple):
        return list(value)
    return value.values if isinstance(value, Constant) else value
