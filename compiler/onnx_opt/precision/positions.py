"""Arithmetic on sizes, positions and angles.

Half precision holds whole numbers up to 2048 (BF16: 256), and of an angle of 1000 not even the quadrant. Sizes and
positions that are computed in floating point (Shape -> Cast -> Mul -> Floor -> Cast, or positions times frequencies ->
Sin) must therefore stay in FP32 from where they come out of integers to where they are used as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from onnx_opt import traits, types
from onnx_opt.precision.constraints import only_moves, policy_of
from onnx_opt.precision.groups import is_wide
from onnx_opt.precision.problem import Plan, is_constant

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

LINEAR = frozenset({"Add", "Div", "Einsum", "Gemm", "MatMul", "Mul", "Neg", "Sub"})
"""What angles are computed with from positions that come in as floating point."""
TRIGONOMETRIC = frozenset({"Cos", "Sin", "Tan"})
REASON = "it computes sizes, positions or angles, which half precision does not hold"


def position_arithmetic(plan: Plan) -> dict[Node, str]:
    """The nodes between integers (or, for angles, inputs of the model) and an operator that needs them exactly."""
    sinks = {node: exact for node in plan.nodes() if (exact := _exact_operands(node))}
    if not sinks:
        return {}
    counted = _spread((_results(node) for node in plan.nodes() if _starts(node)), _counts)
    angles = _spread([counted, filter(is_wide, plan.model.graph.inputs)], _carries)
    found: dict[Node, str] = {}
    for node, exact in sinks.items():
        known = angles if node.op in TRIGONOMETRIC else counted
        needed = [node.inputs[index] for index in exact if index < len(node.inputs) and node.inputs[index] in known]
        if needed and 0 in exact:
            found[node] = REASON
        _trace(needed, known, found)
    return found


def _exact_operands(node: Node) -> tuple[int, ...]:
    if node.op == "Cast" and not node.domain:
        return (0,) if types.is_integer(node.outputs[0].elem_type) else ()
    return policy_of(node).exact


def _starts(node: Node) -> bool:
    """Whether the node makes floating point of integers that may be large."""
    if node.op == "Cast" and not node.domain:
        elem_type = node.inputs[0].elem_type
        return types.is_integer(elem_type) and types.element_bits(elem_type) > 8
    return node.op == "Range" and not node.domain


def _counts(node: Node) -> bool:
    """Whether what the node makes of sizes and positions may still be large."""
    return node.op not in TRIGONOMETRIC and (traits.is_elementwise(node.domain, node.op) or _carries(node))


def _carries(node: Node) -> bool:
    return node.op in LINEAR or only_moves(node)


def _results(node: Node) -> list[Value]:
    return [value for value in node.outputs if value.name and is_wide(value)]


def _spread(starts: Iterable[Iterable[Value]], through: Callable[[Node], bool]) -> set[Value]:
    """The values of `starts`, and what is computed through such nodes from them and constants alone."""
    found: set[Value] = set()
    pending = [value for values in starts for value in values if is_wide(value)]
    while pending:
        value = pending.pop()
        if value in found:
            continue
        found.add(value)
        for user in value.users:
            if not user.bodies and through(user) and _rests_on(user, found):
                pending += _results(user)
    return found


def _rests_on(node: Node, known: set[Value]) -> bool:
    """Whether each FP32 operand is one of `known` or a constant."""
    return all(v in known or not v.name or not is_wide(v) or is_constant(v) for v in node.inputs)


def _trace(values: list[Value], known: set[Value], found: dict[Node, str]) -> None:
    """Note the nodes that `values` come from, as far as they are `known`."""
    stack = list(values)
    while stack:
        node = stack.pop().producer
        if node is not None and node not in found:
            found[node] = REASON
            stack.extend(value for value in node.inputs if value in known)
