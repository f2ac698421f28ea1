"""Inner values as further outputs, to see errors that hardly reach the model's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from onnx_opt.validate.source import Source

if TYPE_CHECKING:
    import onnx

    from onnx_opt.validate.reference import Reference


def with_inner_outputs(reference: Reference, candidate: Source, count: int) -> tuple[Source, Source] | None:
    """Original and candidate with up to `count` more outputs, spread evenly over the values of the main graph that both
    compute under the same name; None where there are none."""
    original, changed = reference.source.skeleton(), candidate.skeleton()
    kept = _computed(changed.graph)
    outputs = {info.name for info in original.graph.output}
    common = [name for name in _computed(original.graph) if name in kept and name not in outputs]
    if not common:
        return None
    step = max(len(common) / count, 1.0)
    chosen = [common[int(i * step)] for i in range(min(count, len(common)))]
    for model in (original, changed):
        _add_outputs(model, chosen)
    return reference.source.with_proto(original), candidate.with_proto(changed)


def _computed(graph: onnx.GraphProto) -> dict[str, None]:
    """What nodes of the graph compute, in order; constants are no computation."""
    return {name: None for node in graph.node if node.op_type != "Constant" for name in node.output if name}


def _add_outputs(model: onnx.ModelProto, names: Iterable[str]) -> None:
    import onnx

    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
