"""What ONNX leaves undefined, or rules out, and ONNX Runtime runs all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx


def why_undefined(node: onnx.NodeProto, operands: Mapping[str, Sequence[Any]]) -> str:
    """A reason against a node with these values of its operands, or ''."""
    for first in operands.get(node.input[0], ()) if node.input else ():
        if node.op_type in ("MatMul", "Gemm") and first.ndim and first.shape[_summed(node)] == 0:
            return "ONNX Runtime leaves a product over nothing undefined"
        if node.op_type.startswith("Reduce") and not all(
            -first.ndim <= axis < first.ndim for axis in _axes(node, operands)
        ):
            return "ONNX Runtime does not look at the axes of nothing"
    return ""


def _axes(node: onnx.NodeProto, operands: Mapping[str, Sequence[Any]]) -> list[int]:
    """What the second operand lists."""
    listed = operands.get(node.input[1], ()) if len(node.input) > 1 else ()
    return [int(axis) for array in listed for axis in array.ravel()]


def _summed(node: onnx.NodeProto) -> int:
    """The axis of the first operand that a product sums over."""
    return 0 if any(a.name == "transA" and a.i for a in node.attribute) else -1
