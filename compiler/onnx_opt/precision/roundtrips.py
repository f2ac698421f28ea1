"""Rounding written into a graph: after every node, its results go to half precision and back.

In an FP32 graph with these casts each operator computes in FP32 from half operands and rounds its result once, as
Tensor Cores and the fused kernels of GPUs do; overflow becomes Inf. Sums that a target keeps in half precision are
written out as steps, so that they are rounded (and overflow) in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

FLOAT = 1  # onnx.TensorProto.FLOAT
SUMS = frozenset({"ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL1", "ReduceL2", "GlobalAveragePool"})
"""Operators of which the steps can be written out."""

_AXES_AS_OPERAND = 13
"""From this version on, ReduceSum takes its axes as an operand; the other reductions do from 18 on."""


@dataclass
class Rounder:
    """Writes nodes with their roundings. `sums` are the operators whose sums are kept in half precision; `opset` the
    version of the standard domain; `fresh` makes a name."""

    fresh: Callable[[], str]
    opset: int
    sums: frozenset[str] = frozenset()
    made: list[onnx.NodeProto] = field(default_factory=list)

    def add(self, op: str, inputs: Iterable[str], result: str = "", **attrs: Any) -> str:
        from onnx import helper

        result = result or self.fresh()
        self.made.append(helper.make_node(op, list(inputs), [result], name=f"{result}.node", **attrs))
        return result

    def rounded(self, value: str, half: int, result: str = "") -> str:
        """`value` after a round trip through the half precision type `half`."""
        return self.add("Cast", [self.add("Cast", [value], to=half)], result, to=FLOAT)

    def node(self, node: onnx.NodeProto, halves: Mapping[str, int], rank: int | None = None) -> None:
        """Append `node`; its results that `halves` names (with their types) are rounded. `rank` is its operand's."""
        wanted = [(index, name) for index, name in enumerate(node.output) if name in halves]
        if wanted and node.op_type in self.sums and node.domain in ("", "ai.onnx") and self._sum(node, halves, rank):
            return
        raw = {}
        for index, name in wanted:
            node.output[index] = raw[name] = self.fresh()
        self.made.append(node)
        for name, unrounded in raw.items():
            self.rounded(unrounded, halves[name], name)

    # -- sums in half precision ----------------------------------------------------------------------------------------

    def _sum(self, node: onnx.NodeProto, halves: Mapping[str, int], rank: int | None) -> bool:
        """Write a reduction out as rounded steps; whether that was possible."""
        result, half = node.output[0], halves[node.output[0]]
        before, after = _STEPS[node.op_type]
        if node.op_type == "GlobalAveragePool" and (rank is None or rank < 3):
            return False
        x = node.input[0]
        if before:
            x = self.rounded(self.add(before, [x, x] if before == "Mul" else [x]), half)
        total = self.rounded(self._reduce_sum(node, x, rank), half, "" if after else result)
        if after == "mean":
            self.rounded(self.add("Div", [total, self._count(x, total)]), half, result)
        elif after:
            self.rounded(self.add(after, [total]), half, result)
        return True

    def _reduce_sum(self, node: onnx.NodeProto, x: str, rank: int | None) -> str:
        from onnx import helper

        if node.op_type == "GlobalAveragePool":
            axes: Any = list(range(2, rank or 0))
            attrs: dict[str, Any] = {"keepdims": 1}
            operand = ""
        else:
            attrs = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            axes, operand = attrs.pop("axes", None), node.input[1] if len(node.input) > 1 else ""
        if operand:
            return self.add("ReduceSum", [x, operand], **attrs)
        if axes is None:
            return self.add("ReduceSum", [x], **attrs)
        if self.opset < _AXES_AS_OPERAND:
            return self.add("ReduceSum", [x], axes=axes, **attrs)
        return self.add("ReduceSum", [x, self._ints(axes)], **attrs)

    def _count(self, x: str, total: str) -> str:
        """How many elements of `x` each element of `total` is the sum of."""
        sizes = [self.add("Cast", [self.add("Size", [value])], to=FLOAT) for value in (x, total)]
        return self.add("Div", sizes)

    def _ints(self, values: Iterable[int]) -> str:
        from onnx import numpy_helper

        return self.add("Constant", [], value=numpy_helper.from_array(np.array(list(values), np.int64)))


# What comes before the sum and after it.
_STEPS = {
    "ReduceSum": ("", ""),
    "ReduceMean": ("", "mean"),
    "GlobalAveragePool": ("", "mean"),
    "ReduceL1": ("Abs", ""),
    "ReduceSumSquare": ("Mul", ""),
    "ReduceL2": ("Mul", "Sqrt"),
}
