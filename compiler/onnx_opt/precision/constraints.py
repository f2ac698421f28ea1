"""Which operands and results of a node have one type, and which of them may be half precision.

The ONNX schemas say it: operands and results whose types bear one name are tied, and a name allows a set of types. What
schemas don't say is data (`Policy` rows, declared as the trait `precision`): operators without a schema, operands that
runtimes want in FP32, attributes that name the type of a result. What a target can't run in half precision is the trait
`lacks_half`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from onnx import TensorProto, defs

from onnx_opt import schemas, traits
from onnx_opt.target import PORTABLE, Target
from onnx_opt.types import TensorType, Type

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

PRECISION, LACKS_HALF = "precision", "lacks_half"
traits.define(PRECISION, "how the operator behaves when FP32 becomes half precision (a Policy)")
traits.define(LACKS_HALF, "the (target, element type) pairs for which the operator has no kernel (a frozenset)")

FLOAT, FLOAT16, BFLOAT16 = int(TensorProto.FLOAT), int(TensorProto.FLOAT16), int(TensorProto.BFLOAT16)
TYPE_NAMES = {FLOAT16: "float16", BFLOAT16: "bfloat16"}
VARIADIC = "*"


@dataclass(frozen=True)
class Policy:
    """A row of the table.

    `moves`: the operator only moves, selects or compares elements, so that rounding before it or after it comes to the
    same: it runs in whichever type costs fewer casts. `types`: the types of operands and results where there is no
    schema or it says too little, as in "T T . -> T": equal names are tied, '.' stays as it is, 'T*' repeats. `tied`:
    all FP32 operands and results change together. `stays`: operands that keep their type; `stays_results`: results
    that do. `attribute`: the attribute that names the element type of the results. `saturates`: operands of which a
    constant may overflow, because an infinity means the same there. `exact`: operands that
    must not be rounded where they are computed from sizes and positions.
    """

    moves: bool | Callable[[Node], bool] = False
    types: str = ""
    tied: bool = False
    stays: tuple[int, ...] = ()
    stays_results: tuple[int, ...] = ()
    attribute: str = ""
    saturates: tuple[int, ...] = ()
    exact: tuple[int, ...] = ()


_NONE = Policy()


def policy_of(node: Node) -> Policy:
    """The row for a node's operator."""
    found: Policy = traits.ask(node.domain, node.op, PRECISION, _NONE)
    return found


def only_moves(node: Node) -> bool:
    """Whether rounding the node's operands and rounding its results come to the same."""
    moves = policy_of(node).moves
    return moves if isinstance(moves, bool) else moves(node)


@dataclass(frozen=True)
class Signature:
    """The names of the types of operands and results, and which of these names allow the half type. '' is a type that
    is fixed or unknown; the last name repeats where there are more operands (results) than names and it is variadic."""

    operands: tuple[str, ...]
    results: tuple[str, ...]
    more_operands: bool
    more_results: bool
    allowed: frozenset[str]

    def operand(self, index: int) -> str:
        return _at(self.operands, index, self.more_operands)

    def result(self, index: int) -> str:
        return _at(self.results, index, self.more_results)


def _at(names: tuple[str, ...], index: int, more: bool) -> str:
    if index < len(names):
        return names[index]
    return names[-1] if more and names else ""


@cache
def signature(op: str, domain: str, version: int, elem_type: int, types: str = "") -> Signature | None:
    """What is known of the types of an operator's operands and results; None where nothing is."""
    if types:
        return _stated(types)
    schema = schemas.schema(op, domain, version)
    if schema is None:
        return None
    wanted = f"tensor({TYPE_NAMES[elem_type]})"
    names = {c.type_param_str: wanted in c.allowed_type_strs for c in schema.type_constraints}
    operands, more_operands = _names(schema.inputs, names)
    results, more_results = _names(schema.outputs, names)
    return Signature(
        operands, results, more_operands, more_results, frozenset(name for name, allows in names.items() if allows)
    )


def _names(parameters: Sequence[defs.OpSchema.FormalParameter], named: dict[str, bool]) -> tuple[tuple[str, ...], bool]:
    """A concrete type such as tensor(float) has no name, and neither have operands that may differ in type."""
    variadic = bool(parameters) and parameters[-1].option == defs.OpSchema.FormalParameterOption.Variadic
    found = [p.type_str if p.type_str in named and p.is_homogeneous else "" for p in parameters]
    return tuple(found), variadic


def _stated(types: str) -> Signature:
    operands, _, results = types.partition("->")
    names = [operands.split(), results.split()]
    more = [bool(part) and part[-1].endswith(VARIADIC) for part in names]
    first, second = (tuple(name.rstrip(VARIADIC).replace(".", "") for name in part) for part in names)
    return Signature(first, second, more[0], more[1], frozenset({*first, *second} - {""}))


# -- nodes -------------------------------------------------------------------------------------------------------------


@dataclass
class Group:
    """FP32 operands and results of a node (by index) that have one type. `problem` says why it can't be half."""

    operands: list[int] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """What the signature calls the type ('' for one that is fixed); several where the row ties them."""
    problem: str = ""


def is_wide(value: Value) -> bool:
    """Whether a value is a dense FP32 tensor."""
    return _is_wide(type_of(value))


def type_of(value: Value) -> Type | None:
    return value.graph.model.facts.type(value) if value.graph is not None else None


def _is_wide(kind: Type | None) -> bool:
    return isinstance(kind, TensorType) and kind.elem_type == FLOAT


def groups_of(node: Node, elem_type: int, target: Target) -> list[Group]:
    """The FP32 operands and results of a node that carries no subgraphs, by type."""
    row = policy_of(node)
    known = signature(node.op, node.domain, node.version, elem_type, row.types)
    groups: dict[str, Group] = {}
    for index, value in enumerate(node.inputs):
        if value.name:
            name = known.operand(index) if known is not None and index not in row.stays else ""
            _place(groups, row, name, value, index, is_result=False)
    for index, value in enumerate(node.outputs):
        if value.name:
            name = known.result(index) if known is not None and index not in row.stays_results else ""
            _place(groups, row, name, value, index, is_result=True)
    found = [group for group in groups.values() if group.operands or group.results]
    if not found:
        return []
    problem = _problem(node, known, elem_type, target)
    for group in found:
        lacks = known is None or not group.names <= known.allowed
        group.problem = problem or group.problem or (_lacking(node, elem_type) if lacks else "")
    return found


def _place(groups: dict[str, Group], row: Policy, name: str, value: Value, index: int, is_result: bool) -> None:
    kind = type_of(value)
    key = "tied" if name and row.tied else name
    if _is_wide(kind):
        group = groups.setdefault(key, Group())
        group.names.add(name)
        (group.results if is_result else group.operands).append(index)
    elif name and (kind is None or (isinstance(kind, TensorType) and not kind.elem_type)):
        groups.setdefault(key, Group()).problem = f"the type of '{value.name}' is unknown"


def _problem(node: Node, known: Signature | None, elem_type: int, target: Target) -> str:
    """Why no operand or result of the node may change."""
    called = f"{node.domain}.{node.op}" if node.domain else node.op
    assert node.graph is not None
    if node.graph.model.function(node) is not None:
        return f"{node.op} is a local function"
    if node.has_attribute_refs:
        return "an attribute of it differs from call to call of the local function around it"
    if known is None:
        return f"nothing is known of the types of {called}"
    if policy_of(node).types and elem_type != FLOAT16:
        return f"nothing is known of {called} in {TYPE_NAMES[elem_type]}"
    if lacking := _targets_without(node, elem_type, target):
        return f"{lacking} has no {node.op} in {TYPE_NAMES[elem_type]}"
    if TYPE_NAMES[elem_type] not in target.dtypes:
        return f"{target.name} has no {TYPE_NAMES[elem_type]}"
    if any(_holds_wide(type_of(value)) for value in (*node.inputs, *node.outputs) if value.name):
        return "sequences, optionals and sparse tensors keep their type"
    return ""


def _targets_without(node: Node, elem_type: int, target: Target) -> str:
    """The target, if it lacks the operator in that type; a portable model is for all targets."""
    lacking: frozenset[tuple[str, int]] = traits.ask(node.domain, node.op, LACKS_HALF, frozenset())
    found = sorted(name for name, lacks in lacking if lacks == elem_type)
    if target.name == PORTABLE.name:
        return ", ".join(found)
    return target.name if target.name in found else ""


def _holds_wide(kind: Type | None) -> bool:
    """Whether a type that is no dense tensor has FP32 in it."""
    if kind is None or isinstance(kind, TensorType):
        return False
    while kind is not None and not isinstance(kind, TensorType):
        if getattr(kind, "elem_type", 0) == FLOAT:
            return True
        kind = getattr(kind, "elem", None) or getattr(kind, "value", None)
    return _is_wide(kind)


@cache
def _first_version(op: str, domain: str, version: int, elem_type: int) -> int:
    """The first operator set after `version` in which the operator has the type; 0 where none is known."""
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
