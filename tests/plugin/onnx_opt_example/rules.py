"""The rules of the pass; ``--passes rules.py`` runs them without it."""

from onnx_opt.ir import Value
from onnx_opt.rewrite import op, rule
from onnx_opt.rewrite.pattern import Call


@rule(op.Neg(op.Neg("x")), shared=True, exact=True)
def double_negation(x: Value) -> Value:
    """Minus minus x is x."""
    return x


@rule(op.Abs(op.Neg("x")), shared=True, exact=True)
def abs_of_negation(x: Value) -> Call:
    """The magnitude knows no sign."""
    return op.Abs(x)
