"""The `nchw-io` pass: a channels-first network gets channels-first inputs and outputs.

It changes the interface on purpose, so it comes first and the rest is proven against what it leaves. By itself it only
puts a Transpose behind each input and before each output; `layout` then finds that they cancel those of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.passes import Pass, PassContext

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Value
    from onnx_opt.layout.perms import Perm

RULE = "exchange-layout"


@dataclass(frozen=True)
class NchwIo(Pass):
    """Give a channels-first network channels-first inputs and outputs: this changes the interface."""

    name: ClassVar[str] = "nchw-io"
    stage: ClassVar[str] = "strip"
    redefines: ClassVar[bool] = True

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.layout.region import regions

        main = graph.model.graph
        inputs: dict[Value, Perm] = {}
        outputs: dict[Value, Perm] = {}
        for region in regions(main):
            if region.preferred_form is None:
                continue
            for tensor in region.tensors:
                for member, form in tensor.members.items():
                    perm = tensor.perm_from(form)
                    if form == region.preferred_form or not _brings_channels_first(perm):
                        continue
                    if member.is_graph_output and member.producer is not None:
                        outputs[member] = perm
                    elif member.is_graph_input and not member.is_graph_output and member.declared is not None:
                        inputs[member] = perm
        for value, perm in inputs.items():
            _exchange_input(main, value, perm, context)
        for value, perm in outputs.items():
            _exchange_output(main, value, perm, context)


def _brings_channels_first(perm: Perm) -> bool:
    """Whether `perm` moves the last dim behind the first one and leaves the others in their order."""
    return perm == (0, len(perm) - 1, *range(1, len(perm) - 1))


def _exchange_input(graph: Graph, value: Value, perm: Perm, context: PassContext) -> None:
    from onnx_opt.layout.perms import inverse, permuted
    from onnx_opt_passes.steps.interface import exchange_input

    declared = value.declared
    assert declared is not None
    wanted = declared.with_shape(permuted(declared.shape, perm))  # type: ignore[union-attr,arg-type]
    attrs = {"perm": list(inverse(perm))}
    exchange_input(graph, value, wanted, "Transpose", attrs, f"{value.name}_nhwc", RULE, context)


def _exchange_output(graph: Graph, value: Value, perm: Perm, context: PassContext) -> None:
    from onnx_opt.layout.perms import permuted
    from onnx_opt_passes.steps.interface import exchange_output

    declared = value.declared
    shape = getattr(declared, "shape", None)
    wanted = None if declared is None or shape is None else declared.with_shape(permuted(shape, perm))  # type: ignore[union-attr]
    attrs = {"perm": list(perm)}
    exchange_output(graph, value, wanted, "Transpose", attrs, f"{value.name}_nchw", RULE, context)
