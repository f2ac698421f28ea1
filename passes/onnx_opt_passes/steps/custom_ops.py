"""Stripping custom operators: which nodes a user means, what takes their place, and when that is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from onnx_opt import schemas, shapes
from onnx_opt.errors import PassError, UsageError
from onnx_opt.ir import Graph, Node, Value
from onnx_opt.passes import PassContext, nearest

RULE = "strip-op"
_SPELLING = re.compile(r"(?P<domain>[^:=\s]+)::(?P<op>[^:=\s]+)(?:=(?P<kind>input|op):(?P<what>\w+))?")


@dataclass(frozen=True)
class Selector:
    """DOMAIN::OP with wildcards, and what to do: keep operand `operand`, or apply the standard operator `standard`."""

    text: str
    domain: str
    op: str
    operand: int | None = None
    standard: str = ""

    @staticmethod
    def parse(text: str) -> Selector:
        """Read DOMAIN::OP, DOMAIN::OP=input:N or DOMAIN::OP=op:NAME. Raises UsageError."""
        found = _SPELLING.fullmatch(text.strip())
        if found is None or (found["kind"] == "input" and not found["what"].isdigit()):
            raise UsageError(
                f"'{text}' names no operator", remedy="write DOMAIN::OP, DOMAIN::OP=input:N or DOMAIN::OP=op:NAME"
            )
        if schemas.normal_domain(found["domain"]) == "":
            raise UsageError(f"'{text}' is a standard operator: only custom ones can be stripped")
        if found["kind"] == "op":
            return Selector(text, found["domain"], found["op"], standard=found["what"])
        return Selector(text, found["domain"], found["op"], int(found["what"]) if found["kind"] else None)

    def matches(self, node: Node) -> bool:
        return bool(node.domain) and fnmatchcase(node.domain, self.domain) and fnmatchcase(node.op, self.op)


def strip(graph: Graph, context: PassContext, selectors: Sequence[Selector]) -> None:
    """Strip what the selectors name, everywhere in the model. Raises UsageError where one names nothing, and PassError
    where stripping would change types or the interface."""
    unused = dict.fromkeys(selectors)
    stripped = []
    for node, selector in _selected(graph, selectors):
        unused.pop(selector, None)
        stripped.append(node)
        if context.admit(RULE, node):
            _strip(node, selector, context)
    graph.model.facts.clear()  # what was known of a stripped result need not hold of what took its place
    graph.model.settle()
    _drop_imports(graph, {node.domain for node in stripped})
    if unused and not _already_stripped(context):
        _refuse(graph, next(iter(unused)))


def _selected(graph: Graph, selectors: Sequence[Selector]) -> Iterator[tuple[Node, Selector]]:
    for inner in graph.model.all_graphs():
        for node in inner:
            selector = next((each for each in selectors if each.matches(node)), None)
            if selector is not None:
                yield node, selector


def _drop_imports(graph: Graph, domains: set[str]) -> None:
    """A runtime that does not know the domain need not hear of it."""
    used = {node.domain for inner in graph.model.all_graphs() for node in inner}
    for domain in sorted(domains - used):
        graph.model.drop_opset(domain)


def _already_stripped(context: PassContext) -> bool:
    """In a second run of the pass there is nothing left to name."""
    return any(rewrite.rule == RULE for rewrite in context.journal.rewrites)


def _refuse(graph: Graph, selector: Selector) -> None:
    present = {f"{node.domain}::{node.op}" for inner in graph.model.all_graphs() for node in inner if node.domain}
    otherwise = f"it has {', '.join(sorted(present))}" if present else "it has no custom operators"
    raise UsageError(f"the model has no operator '{selector.text}'", remedy=nearest(selector.text, present, otherwise))


def _strip(node: Node, selector: Selector, context: PassContext) -> None:
    graph, label, origin = node.graph, node.label(), node.origin
    assert graph is not None
    if any(value.uses for value in node.outputs[1:]):
        raise PassError(f"{selector.text} has several results that are read", node=label, remedy="it can't be removed")
    result = node.outputs[0]
    if selector.standard:
        _replace(node, selector)
    else:
        operand = _operand(node, selector)
        _check_types(node, operand, result, selector)
        graph.replace_value(result, operand)
    context.applied(RULE, [label], origin, [result.name])


def _operand(node: Node, selector: Selector) -> Value:
    """The operand that stays: the one named, else the only one that is no constant."""
    if selector.operand is not None:
        value = node.input(selector.operand)
        if value is None:
            count = len(node.inputs)
            raise PassError(
                f"it has no operand {selector.operand}", node=node.label(), remedy=f"it has {count}: 0 to {count - 1}"
            )
        return value
    data = [value for value in node.inputs if value.name and value.constant is None]
    if len(data) != 1:
        remedy = f"say which one stays: --strip-op '{node.domain}::{node.op}=input:0'"
        raise PassError(f"{node.domain}::{node.op} has {len(data)} data operands", node=node.label(), remedy=remedy)
    return data[0]


def _check_types(node: Node, operand: Value, result: Value, selector: Selector) -> None:
    """Operand and result must agree in element type and shape: known not to differ, and known at all unless the user
    named the operand."""
    kinds = operand.elem_type, result.elem_type
    before, after = operand.dims, result.dims
    name, label = f"{node.domain}::{node.op}", node.label()
    instead = f"replace it instead: --strip-op '{name}=op:NAME'"
    if all(kinds) and kinds[0] != kinds[1]:
        raise PassError(f"{name} changes the element type: the model would differ", node=label, remedy=instead)
    if before is not None and after is not None and (len(before) != len(after) or any(map(_differ, before, after))):
        shown = " to ".join("x".join(map(shapes.text, each)) for each in (before, after))
        raise PassError(f"{name} changes the shape from {shown}", node=label, remedy=instead)
    if selector.operand is None and (before is None or after is None or not all(kinds)):
        vouch = f"vouch for it: --strip-op '{name}=input:{node.inputs.index(operand)}'"
        raise PassError(f"the model does not state the type of the result of {name}", node=label, remedy=vouch)


def _differ(one: object, other: object) -> bool:
    difference = shapes.sub(one, other)
    return isinstance(difference, int) and difference != 0


def _replace(node: Node, selector: Selector) -> None:
    """Apply a standard operator to the same operands, with those attributes that it knows."""
    graph = node.graph
    assert graph is not None
    schema = schemas.schema(selector.standard, "", graph.opset)
    if schema is None:
        raise UsageError(f"'{selector.text}': opset {graph.opset} has no operator {selector.standard}")
    for name in [name for name in node.attrs if name not in schema.attributes]:
        node.set_attr(name, None)
    graph.set_op(node, selector.standard)
