"""What is wrong on purpose: the runner must find it."""

from onnx_opt.ir import Graph
from onnx_opt.rewrite import op, rule


@rule(op.Relu("x"))
def relu_is_identity(x):
    """Relu(x) is x: not for negative numbers."""
    return x


def fails_on_dead_code(graph: Graph) -> None:
    """Takes for granted that every value has a reader."""
    for node in graph:
        if not any(value.uses for value in node.outputs):
            raise RuntimeError("nothing reads it")
