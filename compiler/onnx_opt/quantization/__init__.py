"""Quantized models: QuantizeLinear and DequantizeLinear around what a target computes in few bits.

    choice = choose(graph, context, request, fixed)              scales, and which nodes stay, by measurement
    done = quantize(graph, context, form, choice.ranges, keep)   the change itself

`quantize` takes any set of nodes to keep and makes a valid model of it; what has no integer kernel, no known range or
no constant weights stays as it is, with a reason. `choose` never changes the graph.
"""

from __future__ import annotations

from onnx_opt.quantization.apply import Quantization, quantize
from onnx_opt.quantization.forms import FORMS, Form, form_for
from onnx_opt.quantization.search import Choice, Findings, Request, choose

__all__ = ["FORMS", "Choice", "Findings", "Form", "Quantization", "Request", "choose", "form_for", "quantize"]
