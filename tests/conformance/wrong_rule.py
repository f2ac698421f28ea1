"""A rule that is wrong on purpose: the runner must find it."""

from onnx_opt.rewrite import op, rule


@rule(op.Relu("x"))
def relu_is_identity(x):
    """Relu(x) is x: not for negative numbers."""
    return x
