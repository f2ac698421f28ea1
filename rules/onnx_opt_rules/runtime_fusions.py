"""What runtimes fuse when they load a model, so that taking a part out costs more than it saves.

ONNX Runtime and TensorRT recognize LayerNormalization, RMS normalization and Gelu written out, by their shape: a scale
by ones removed from the first, or a factor of the last moved into the next weights, leaves five kernels where one was.
"""

from __future__ import annotations

from onnx_opt.ir import Node, Value

NORMALIZATION, GELU = "runtimes fuse it as part of a normalization", "runtimes fuse it as part of Gelu"

INTEGERS = "runtimes compute it in integers, which one operator would keep them from"

_ROOTS = frozenset({"Sqrt", "Reciprocal", "Pow", "Rsqrt"})
_PASSED = frozenset({"Mul", "Add", "Div", "Cast"})
_STEPS = 4
"""How far from a scale or factor the telling operator may be."""


def in_integers(*operands: Value) -> bool:
    """Whether all operands were integers: runtimes look for such a product, by its operator, between DequantizeLinear
    and QuantizeLinear."""
    return all(value.producer is not None and value.producer.op == "DequantizeLinear" for value in operands)


def part_of_fusion(node: Node) -> str | None:
    """Why a scale or shift by a constant had better stay where it is; None where nothing speaks for that."""
    if node.op not in ("Mul", "Add", "Sub", "Div"):
        return None
    if any(user.op == "Erf" for value in node.outputs for user in value.users):
        return GELU
    data = [value for value in node.inputs if value.name and value.constant is None]
    if _comes_from(data, "Erf") or _comes_from(data, "Tanh"):
        return GELU
    return NORMALIZATION if _is_normalized(data) else None


def _comes_from(values: list[Value], op: str) -> bool:
    """Whether an operator lies a few arithmetic steps above."""
    level = values
    for _ in range(_STEPS):
        producers = [value.producer for value in level if value.producer is not None]
        if any(producer.op == op for producer in producers):
            return True
        level = [value for producer in producers if producer.op in _PASSED for value in producer.inputs]
    return False


def _is_normalized(values: list[Value]) -> bool:
    """Whether a value is x / sqrt(mean of squares), scaled perhaps."""
    for value in values:
        node = value.producer
        if node is not None and node.op in ("Mul", "Cast"):
            inner = [operand for operand in node.inputs if operand.constant is None]
            if _divides_by_root(node) or any(v.producer is not None and _divides_by_root(v.producer) for v in inner):
                return True
        elif node is not None and _divides_by_root(node):
            return True
    return False


def _divides_by_root(node: Node) -> bool:
    """x / sqrt(v), or x * reciprocal of it."""
    if node.op not in ("Div", "Mul"):
        return False
    producers = [value.producer for value in node.inputs if value.producer is not None]
    if node.op == "Div":
        return len(node.inputs) == 2 and any(p.op == "Sqrt" and p.outputs[0] is node.inputs[1] for p in producers)
    return any(p.op in _ROOTS or (p.op == "Div" and _divides_by_root(p)) for p in producers)
