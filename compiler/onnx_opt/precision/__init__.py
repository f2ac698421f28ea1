"""Lowering of FP32 graphs to half precision (FP16 or BF16).

Two questions, two calls:

    keep = choose(graph, context, elem_type, ...)          which nodes must stay FP32, by measurement
    done = lower(graph, context, elem_type, keep=keep)     the change itself

`lower` takes any set of nodes and makes a valid model of it: it adds to `keep` what has static reasons (an operator
without a half precision form in this operator set or on this target, a constant that overflows, arithmetic on sizes
and positions), lets the operators that only move or select elements run in whichever type costs fewer bytes of casts,
converts constants at rest, and inserts one Cast for each value that is needed in both types. It never raises for a
graph that the checker takes; what it leaves alone has a reason in `Lowering.kept`.

`choose` never changes the graph. It sees what `lower` would refuse anyway through `static_reasons`.
"""

from __future__ import annotations

from onnx_opt.precision.lowering import Lowering, lower, static_reasons
from onnx_opt.precision.measured import Measured, measure
from onnx_opt.precision.opsets import raise_opset
from onnx_opt.precision.rounding import Rounding
from onnx_opt.precision.search import Choice, choose

__all__ = ["Choice", "Lowering", "Measured", "Rounding", "choose", "lower", "measure", "raise_opset", "static_reasons"]
