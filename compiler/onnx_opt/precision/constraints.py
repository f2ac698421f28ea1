"""Which operands and results of a node have one type, and which of them may be half precision.

The ONNX schemas say it: operands and results whose types bear one name are tied, and a name allows a set of types. What
schemas don't say is data (`Policy` rows, declared as the trait `precision`): operators without a schema, operands that
runtimes want in FP32, attributes that name the type of a result. What a target can't run in half precision is the trait
`lacks_half`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from onnx import TensorProto, defs

from onnx_opt import schemas, traits

if TYPE_CHECKING:
    from onnx_opt.ir import Node

PRECISION, LACKS_HALF, MASK = "precision", "lacks_half", "mask"
traits.define(PRECISION, "how the operator behaves when FP32 becomes half precision (a Policy)")
traits.define(LACKS_HALF, "(target, element type) pairs without a kernel (a frozenset, or a function of the node)")
traits.define(MASK, "what the operator does to a mask: it carries or adds to or scales its elements, or ends it")
CARRIES, ADDS, SCALES, ENDS = "carries", "adds", "scales", "ends"

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
