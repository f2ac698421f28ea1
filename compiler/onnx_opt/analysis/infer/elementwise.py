"""Operators that work element by element: on one operand, or on several that broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from onnx import TensorProto

from onnx_opt.analysis.infer.registry import MICROSOFT, NodeView, infer
from onnx_opt.shapes import Shapes
from onnx_opt.types import TensorType, Type

BOOL = int(TensorProto.BOOL)
MULTIDIRECTIONAL_SINCE = 7
"""Before, the second operand was stretched to the first one's dims, where the attribute `broadcast` asked for it."""


# fmt: off
LIKE_FIRST = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Ceil", "Celu", "Clip", "Cos", "Cosh",
    "CumProd", "CumSum", "Elu", "Erf", "Exp", "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish",
    "Hardmax", "Identity", "InstanceNormalization", "LRN", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization",
    "MeanVarianceNormalization", "Mish", "Neg", "Not", "Reciprocal", "Relu", "ReverseSequence",
    "RotaryEmbedding", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus", "Softsign",
    "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Trilu",
)
VENDOR_LIKE_FIRST = (
    "BiasGelu", "BiasSoftmax", "FastGelu", "Gelu", "GroupNorm", "Inverse", "QuickGelu", "RotaryEmbedding", "Trilu",
)
# fmt: on


@infer(*LIKE_FIRST)
@infer(*VENDOR_LIKE_FIRST, domain=MICROSOFT)
def like_first(n: NodeView) -> Type | None:
    """The result has the type of the first operand."""
    return n.types[0] if n.types else None


@infer("PRelu")
def prelu(n: NodeView) -> Type | None:
    """As the first operand. Runtimes stretch that to larger slopes as well, which the specification rules out."""
    x, slope = n.dims(0), n.dims(1)
    if x is None or slope is None:
        return n.types[0]
    pairs = zip(reversed(x), reversed(slope), strict=False)
    fits = len(slope) <= len(x) and all(mine != 1 or other == 1 for mine, other in pairs)
    return n.types[0] if fits else TensorType(n.elem(0), None)


@infer("IsNaN", "IsInf", kind=BOOL)
def predicate(n: NodeView) -> Type:
    """A truth value for each element."""
    return TensorType(BOOL, n.dims(0))


@infer("Cast", elem=-1)
def cast(n: NodeView) -> Type:
    """The same dims with the element type `to`."""
    return TensorType(int(n.attr("to", 0)), n.dims(0))


@infer("CastLike", elem=1)
def cast_like(n: NodeView) -> Type:
    """The same dims with the element type of the second operand."""
    return TensorType(n.elem(1), n.dims(0))


@infer("BitCast", elem=-1)
def bit_cast(n: NodeView) -> Type:
    """The same bits with the element type `to`, which is of the same width."""
    return TensorType(int(n.attr("to", 0)), n.dims(0))


@infer("Add", "Sub", "Mul", "Div", "Pow", "Mod", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift")
def arithmetic(n: NodeView) -> Type:
    """Two operands that broadcast; the result has the first one's element type."""
    first, second = n.tensor(0), n.tensor(1)
    if first.shape == second.shape:
        return first
    shape = _two(n, first.shape, second.shape)
    return first if shape == first.shape else TensorType(first.elem_type, shape)


@infer("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", kind=BOOL)
def comparison(n: NodeView) -> Type:
    """Two operands that broadcast, and a truth value for each pair."""
    return TensorType(BOOL, _two(n, n.dims(0), n.dims(1)))


def _two(n: NodeView, a: Any, b: Any) -> Any:
    if a == b:
        return a
    if n.version < MULTIDIRECTIONAL_SINCE:
        return a
    return broadcast(n.shapes, a, b)


@infer("Max", "Min", "Sum", "Mean")
def variadic(n: NodeView) -> Type:
    """Any number of operands that broadcast (before version 8 of the operator set all have the same dims)."""
    return TensorType(n.elem(0), broadcast(n.shapes, *[n.dims(index) for index in range(len(n.types))]))


@infer("Where", elem=1)
def where(n: NodeView) -> Type:
    """A choice between the second and the third operand; all three broadcast."""
    return TensorType(n.elem(1) or n.elem(2), broadcast(n.shapes, n.dims(0), n.dims(1), n.dims(2)))


@infer("Dropout")
def dropout(n: NodeView) -> list[Type | None]:
    """The data, and the mask that was applied (of the data's type in the first versions)."""
    data = n.tensor(0)
    return [data, TensorType(BOOL if n.version >= 10 else data.elem_type, data.shape)]


def broadcast(shapes: Shapes, *operands: Sequence[Any] | None) -> tuple[Any, ...] | None:
    """The dims that numpy's broadcasting gives; None where a rank is unknown."""
    result = operands[0]
    for dims in operands[1:]:
        if result is None or dims is None:
            return None
        if dims != result:
            pairs = zip_longest(reversed(result), reversed(dims), fillvalue=1)
            result = tuple([shapes.broadcast(a, b) for a, b in pairs][::-1])
    return None if result is None else tuple(result)
