"""The `pad-channels` pass: channel counts that matrix units take at full speed.

It takes activations to be finite: padding is taken in by weights of zero, and zero times an infinity is NaN. Where a
real channel overflows, a padded model may give NaN instead of an infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from onnx_opt.options import option
from onnx_opt.passes import Pass, PassContext

if TYPE_CHECKING:
    from onnx_opt.ir import Graph


@dataclass(frozen=True)
class PadChannels(Pass):
    """Pad the channels of Conv, Gemm and MatMul with zeros to multiples that matrix units take at full speed."""

    name: ClassVar[str] = "pad-channels"
    stage: ClassVar[str] = "pad"
    finite_only: ClassVar[bool] = True

    multiple: int | None = option(
        None, help="multiple of channels; by default the target's for each dtype", primary=True
    )
    inputs: bool = option(False, help="pad the channels of the model's inputs too, behind the inputs")
    max_overhead: float | None = option(None, help="most percent of FLOPs and of bytes that padding may add")
    profile_file: str | None = option(
        None, help="measured figures of a device (JSON) in place of the target's model", flag="--profile-file"
    )

    def __post_init__(self) -> None:
        if self.multiple is not None and self.multiple < 1:
            raise ValueError("multiple must be at least 1")
        if self.max_overhead is not None and self.max_overhead < 0:
            raise ValueError("max-overhead must not be negative")

    def run(self, graph: Graph, context: PassContext) -> None:
        from onnx_opt.channels.cost import read_profile
        from onnx_opt.rewrite import apply_rules
        from onnx_opt_passes.steps import padding
        from onnx_opt_rules import conv_stride

        model = context.target.cost
        if self.profile_file is not None:
            model = read_profile(self.profile_file, model)
        apply_rules(graph, context, conv_stride.RULES)
        table = padding.new_table()
        for inner in graph.model.graph.nested():
            padding.pad(inner, context, self.multiple, self.inputs, self.max_overhead, model, table)
        if padding.says_more(table, context.journal.tables.get(padding.RULE)):
            context.journal.tables[padding.RULE] = table
