"""What the passes `fp16` and `bf16` share."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from onnx_opt.precision import Lowering
from onnx_opt.precision import lower as lower_graph
from onnx_opt.precision.constraints import only_moves

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node
    from onnx_opt.passes import PassContext


def lower(
    graph: Graph, context: PassContext, elem_type: int, block: Sequence[str], allow: Sequence[str], keep_io: bool
) -> Lowering:
    """Lower what the user's lists leave."""
    keep = _kept(graph, block, allow)
    return lower_graph(graph, context, elem_type, keep=keep, keep_io=keep_io)


def _kept(graph: Graph, block: Sequence[str], allow: Sequence[str]) -> dict[Node, str]:
    """The nodes that the user wants in FP32."""
    found: dict[Node, str] = {}
    if not block and not allow:
        return found
    for inner in graph.model.all_graphs():
        for node in inner:
            pattern = next((text for text in block if _matches(node, text)), None)
            if pattern is not None:
                found[node] = f"it is blocked ({pattern})"
            elif allow and _computes(node) and not any(_matches(node, text) for text in allow):
                found[node] = "it is not on the list of what may be lowered"
    return found


def _computes(node: Node) -> bool:
    """Whether the node does more than move elements, which it does in whatever type its neighbours have."""
    return not node.bodies and not only_moves(node)


def _matches(node: Node, pattern: str) -> bool:
    """Whether a pattern such as Softmax, com.microsoft::* or /decoder/* means the node."""
    called = (node.op, f"{node.domain or 'ai.onnx'}::{node.op}", node.label())
    return any(fnmatchcase(name, pattern) for name in called)
