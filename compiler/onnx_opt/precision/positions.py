"""Arithmetic on sizes, positions and angles.

Half precision holds whole numbers up to 2048 (BF16: 256), and of an angle of 1000 not even the quadrant. Sizes and
positions that are computed in floating point (Shape -> Cast -> Mul -> Floor -> Cast, or positions times frequencies ->
Sin) must therefore stay in FP32 from where they come out of integers to where they are used as such.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt import traits, types
from onnx_opt.precision.constraints import is_wide, only_moves, policy_of
from onnx_opt.precision.problem import Plan, is_constant

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

LINEAR = frozenset({"Add", "Div", "Einsum", "Gemm", "MatMul", "Mul", "Neg", "Sub"})
"""What angles are computed with from positions that come in as floating point."""
TRIGONOMETRIC = frozenset({"Cos", "Sin", "Tan"})
REASON = "it computes sizes, positions or angles, which half precision does not hold"


def position_arithmetic(plan: Plan) -> dict[Node, str]:
    """The nodes between integers (or, for angles, inputs of the model) and an operator that needs them exactly."""
    counted: set[Value] = set()
    for node in plan.nodes():
        if _counts(node, counted):
            counted.update(value for value in node.outputs if value.name and is_wide(value))
    angles = counted | {value for value in plan.model.graph.inputs if is_wide(value)}
    for node in plan.nodes():
        if _carries(node) and _rests_on(node, angles):
            angles.update(value for value in node.outputs if value.name and is_wide(value))
    found: dict[Node, str] = {}
    for node in plan.nodes():
        known = angles if node.op in TRIGONOMETRIC else counted
        exact = (0,) if _gives_integers(node) else policy_of(node).exact
        needed = [node.inputs[index] for index in exact if index < len(node.inputs) and node.inputs[index] in known]
        if needed and 0 in exact:
            found[node] = REASON
        _trace(needed, known, found)
    return found


def _counts(node: Node, counted: set[Value]) -> bool:
    """Whether the node's results are computed from integers alone, and may still be large."""
    if node.op == "Cast" and not node.domain:
        operand = node.inputs[0]
        return operand in counted or (types.is_integer(operand.elem_type) and types.element_bits(operand.elem_type) > 8)
    if node.op == "Range" and not node.domain:
        return True
    if node.op in TRIGONOMETRIC or not (traits.is_elementwise(node.domain, node.op) or _carries(node)):
        return False
    return _rests_on(node, counted)


def _carries(node: Node) -> bool:
    return node.op in LINEAR or only_moves(node)


def _rests_on(node: Node, known: set[Value]) -> bool:
    """Whether each FP32 operand is one of `known` or a constant, and not all are constants."""
    operands = [value for value in node.inputs if value.name and is_wide(value)]
    return any(value in known for value in operands) and all(value in known or is_constant(value) for value in operands)


def _gives_integers(node: Node) -> bool:
    return node.op == "Cast" and not node.domain and types.is_integer(node.outputs[0].elem_type)


def _trace(values: list[Value], known: set[Value], found: dict[Node, str]) -> None:
    """Note the nodes that `values` come from, as far as they are `known`."""
    stack = list(values)
    while stack:
        node = stack.pop().producer
        if node is not None and node not in found:
            found[node] = REASON
            stack.extend(value for value in node.inputs if value in known)
