"""The `fp32-io` pass: an interface that runtimes without FP64 can have.

It changes the interface on purpose, so it comes first and the rest is proven against what it leaves. By itself it only
puts a Cast behind each FP64 input and before each FP64 output; where the target has no FP64, `legalize` then lowers
what is between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.passes import Pass, PassContext

if TYPE_CHECKING:
    from onnx_opt.ir import Graph

RULE = "exchange-fp64"
FLOAT, DOUBLE = 1, 11


@dataclass(frozen=True)
class Fp32Io(Pass):
    """Take and give FP32 where the model takes and gives FP64: this changes the interface."""

    name: ClassVar[str] = "fp32-io"
    stage: ClassVar[str] = "strip"
    redefines: ClassVar[bool] = True

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.ir import Constant
        from onnx_opt.types import TensorType
        from onnx_opt_passes.steps.interface import exchange_input, exchange_output

        main = graph.model.graph
        for value in list(main.inputs):
            declared = value.declared
            if isinstance(declared, TensorType) and declared.elem_type == DOUBLE and not isinstance(value, Constant):
                name, wanted = f"{value.name}_fp64", declared.with_elem_type(FLOAT)
                if not value.is_graph_output:
                    exchange_input(main, value, wanted, "Cast", {"to": DOUBLE}, name, RULE, context)
        for value in dict.fromkeys(main.outputs):
            declared = value.declared
            if value.elem_type == DOUBLE and value.producer is not None and value.graph is main:
                kind = declared.with_elem_type(FLOAT) if isinstance(declared, TensorType) else None
                exchange_output(main, value, kind, "Cast", {"to": FLOAT}, f"{value.name}_fp32", RULE, context)
