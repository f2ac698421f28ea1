"""Reasons against half precision that show without running the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from onnx_opt.ir.values import Constant
from onnx_opt.precision.constraints import TYPE_NAMES, policy_of
from onnx_opt.precision.formats import FORMATS
from onnx_opt.precision.groups import is_wide
from onnx_opt.precision.positions import position_arithmetic
from onnx_opt.precision.problem import Plan, is_constant
from onnx_opt.precision.ranges import vanishes
from onnx_opt.precision.rounding import Rounding, measure

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value
    from onnx_opt.precision.substitutes import Substitutes

LARGEST_ERROR = 0.1
"""||x - half(x)|| / ||x|| of a constant above which its users stay in FP32: rounding alone costs FP16 2.8e-4 and BF16
2.3e-3 at most, on average; more means that it is lost among the subnormals."""
SUMS_OF_PRODUCTS = frozenset({"ConvInteger", "MatMulInteger"})
"""Their results are integers of up to 32 bits: half precision holds them after scaling only."""


class Constants:
    """The constants of a model and what rounding does to them, measured when first asked for."""

    def __init__(self, elem_type: int):
        self.elem_type = elem_type
        self._known: dict[Value, Rounding] = {}

    def rounding(self, value: Value) -> Rounding:
        """Of an FP32 constant. Reads all of it."""
        if value not in self._known:
            array = value.values if isinstance(value, Constant) else value.constant
            assert array is not None
            self._known[value] = measure(value.name, array, self.elem_type)
        return self._known[value]


def reasons(
    plan: Plan, constants: Constants, substitutes: Substitutes, magnitudes: Mapping[str, float] | None
) -> dict[Node, str]:
    """The nodes that must stay in FP32 although they have a half precision form, and why; masks aside. Measured
    `magnitudes` tell of results that are as nothing in half precision, so that constants may be, too."""
    found: dict[Node, str] = {}
    for node, reason in position_arithmetic(plan).items():
        found.setdefault(node, reason)
    for node in plan.nodes():
        if node.op in SUMS_OF_PRODUCTS and not node.domain:
            _keep_scaling(node.outputs[0], found)
    for value in constants_of(plan.graphs):
        _keep_users(plan, value, constants, substitutes, magnitudes or {}, found)
    return found


def _keep_scaling(value: Value, found: dict[Node, str]) -> None:
    """Keep the Cast of an integer sum and what it is multiplied by."""
    for node in value.users:
        if node.op == "Cast" and is_wide(node.outputs[0]):
            reason = "sums of integer products do not fit into half precision before they are scaled"
            found.setdefault(node, reason)
            for user in node.outputs[0].users:
                if user.op in ("Mul", "Div", "Add"):
                    found.setdefault(user, reason)


def constants_of(graphs: Collection[Graph]) -> list[Value]:
    """The FP32 constants of a model: initializers, and what Constant nodes give."""
    found: list[Value] = [value for graph in graphs for value in graph.constants]
    found += [node.outputs[0] for graph in graphs for node in graph if is_constant(node.outputs[0])]
    return [value for value in found if is_wide(value)]


def _keep_users(
    plan: Plan,
    value: Value,
    constants: Constants,
    substitutes: Substitutes,
    magnitudes: Mapping[str, float],
    found: dict[Node, str],
) -> None:
    uses = [(user, index) for user, index in value.uses if not user.is_graph and _may_be_half(plan, user, index)]
    uses = [(user, index) for user, index in uses if not substitutes.covers(value, user)]
    if not uses:
        return
    rounding = constants.rounding(value)
    name = TYPE_NAMES[plan.elem_type]
    if rounding.overflows:
        what = "overflows" if rounding.count == 1 else f"has {rounding.overflows} elements that overflow"
        for user, index in uses:
            if index not in policy_of(user).saturates:
                found.setdefault(user, f"constant '{value.name}' {what} {name}")
    elif rounding.error > LARGEST_ERROR:
        what = f"constant '{value.name}' is too small for {name}: rounding costs {rounding.error:.1%}"
        form = FORMATS[plan.elem_type]
        for user, _ in uses:
            if vanishes(user.outputs[0], magnitudes, form):
                continue
            why = substitutes.declined.get(user)
            found.setdefault(user, f"{what}; no larger one will do: {why}" if why else what)


def _may_be_half(plan: Plan, user: Node, index: int) -> bool:
    return any(index in group.operands and not group.problem for group in plan.groups.get(user, ()))
