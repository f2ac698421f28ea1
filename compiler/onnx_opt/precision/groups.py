"""The FP32 operands and results of a node, in groups of one type, and why a group can't be half precision."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from onnx_opt import schemas, traits
from onnx_opt.precision.constraints import (
    FLOAT,
    FLOAT16,
    LACKS_HALF,
    TYPE_NAMES,
    Policy,
    Signature,
    policy_of,
    signature,
)
from onnx_opt.target import PORTABLE, Target
from onnx_opt.types import TensorType, Type

if TYPE_CHECKING:
    from onnx_opt.ir import Model, Node, Value

TIED = "tied"


@dataclass
class Group:
    """FP32 operands and results of a node (by index) that have one type. `problem` says why it can't be half."""

    operands: list[int] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """What the signature calls the type ('' for one that is fixed); several where the row ties them."""
    problem: str = ""


def main_group(groups: list[Group]) -> Group:
    """The group that a node's data belongs to: the first result's, or the first operand's where no result is FP32."""
    return next((group for group in groups if group.results), groups[0])


def is_wide(value: Value) -> bool:
    """Whether a value is a dense FP32 tensor."""
    kind = type_of(value)
    return type(kind) is TensorType and kind.elem_type == FLOAT


def type_of(value: Value) -> Type | None:
    """What is known of the type of a value."""
    return value.graph.model.facts.type(value) if value.graph is not None else None


class Constraints:
    """What one target and half type mean for the nodes of one model."""

    def __init__(self, model: Model, elem_type: int, target: Target):
        self.model = model
        self.elem_type = elem_type
        self.target = target
        self._operators: dict[tuple[str, str, int], _Operator] = {}

    def groups(self, node: Node) -> list[Group]:
        """The groups of a node that carries no subgraphs; none where it has nothing in FP32."""
        operator = self._operator(node)
        groups: dict[str, Group] = {}
        problem = ""
        for values, names in ((node.inputs, operator.operand_names), (node.outputs, operator.result_names)):
            for index, value in enumerate(values):
                if not value.name:
                    continue
                kind, name = type_of(value), names(index)
                if type(kind) is TensorType and kind.elem_type == FLOAT:
                    group = groups.setdefault(TIED if name and operator.row.tied else name, Group())
                    group.names.add(name)
                    (group.operands if values is node.inputs else group.results).append(index)
                elif type(kind) is not TensorType or not kind.elem_type:
                    problem = problem or _odd(value, kind, name)
        if groups:
            self._judge(node, operator, groups, problem)
        return list(groups.values())

    def _judge(self, node: Node, operator: _Operator, groups: dict[str, Group], problem: str) -> None:
        if self.model.functions and self.model.function(node) is not None:
            problem = f"{node.op} is a local function"
        elif node.has_attribute_refs:
            problem = "an attribute of it differs from call to call of the local function around it"
        elif operator.may_lack and (lacking := self._targets_without(node)):
            problem = f"{lacking} has no {node.op} in {TYPE_NAMES[self.elem_type]}"
        problem = operator.problem or problem
        for group in groups.values():
            lacks = operator.known is None or not group.names <= operator.known.allowed
            group.problem = problem or (_lacking(node, self.elem_type) if lacks else "")

    def _operator(self, node: Node) -> _Operator:
        key = (node.domain, node.op, node.version)
        if key not in self._operators:
            row = policy_of(node)
            known = signature(node.op, node.domain, node.version, self.elem_type, row.types)
            may_lack = traits.ask(node.domain, node.op, LACKS_HALF) is not None
            self._operators[key] = _Operator(row, known, self._problem(node, row, known), may_lack)
        return self._operators[key]

    def _problem(self, node: Node, row: Policy, known: Signature | None) -> str:
        """Why no node of this operator may change."""
        called, name = f"{node.domain}.{node.op}" if node.domain else node.op, TYPE_NAMES[self.elem_type]
        if self.model.function(node) is not None:
            return ""
        if known is None:
            return f"nothing is known of the types of {called}"
        if row.types and known.allowed and self.elem_type != FLOAT16:
            return f"nothing is known of {called} in {name}"
        if name not in self.target.dtypes:
            return f"{self.target.name} has no {name}"
        return ""

    def _targets_without(self, node: Node) -> str:
        """The target, if it lacks the operator in that type; a portable model is for all targets."""
        answer = traits.ask(node.domain, node.op, LACKS_HALF)
        lacking: frozenset[tuple[str, int]] = answer(node) if callable(answer) else answer
        found = sorted(name for name, lacks in lacking if lacks == self.elem_type)
        if self.target.name == PORTABLE.name:
            return ", ".join(found)
        return self.target.name if self.target.name in found else ""


@dataclass(frozen=True)
class _Operator:
    """What holds of all nodes of one operator of one version."""

    row: Policy
    known: Signature | None
    problem: str
    may_lack: bool
    """Whether a target lacks the operator, or some nodes of it, in a half type."""

    def operand_names(self, index: int) -> str:
        return self.known.operand(index) if self.known is not None and index not in self.row.stays else ""

    def result_names(self, index: int) -> str:
        return self.known.result(index) if self.known is not None and index not in self.row.stays_results else ""


def _odd(value: Value, kind: Type | None, name: str) -> str:
    """What a value that is no tensor of known type means for the node."""
    if kind is None or isinstance(kind, TensorType):
        return f"the type of '{value.name}' is unknown" if name else ""
    while kind is not None and not isinstance(kind, TensorType) and getattr(kind, "elem_type", 0) != FLOAT:
        kind = getattr(kind, "elem", None) or getattr(kind, "value", None)
    return "sequences, optionals and sparse tensors keep their type" if getattr(kind, "elem_type", 0) == FLOAT else ""


@cache
def _first_version(op: str, domain: str, version: int, elem_type: int) -> int:
    """The first operator set from `version` on in which the operator has the type; 0 where none is known."""
    for later in range(version, schemas.newest_version(domain) + 1):
        known = signature(op, domain, later, elem_type)
        if known is not None and known.allowed:
            return later
    return 0


def _lacking(node: Node, elem_type: int) -> str:
    """That the operator has no such type, and from which operator set on it does."""
    name, first = TYPE_NAMES[elem_type], _first_version(node.op, node.domain, node.version, elem_type)
    if first > node.version:
        return f"{node.op} of operator set {node.version} has no {name} (that came with {first})"
    return f"{node.op} takes or gives FP32 here, never {name}"
