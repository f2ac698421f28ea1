"""Algebraic properties of the operators.

"To the bit" includes the sign of zeros, and NaN going to NaN.
"""

from __future__ import annotations

from onnx_opt.traits import VARIADIC, declare

# Of more than two operands, only the first two may be exchanged: Sum adds from left to right.
COMMUTATIVE = "Add And BitwiseAnd BitwiseOr BitwiseXor Equal Max Mean Min Mul Or Sum Xor"

IDEMPOTENT = "Abs Ceil Floor Identity Relu Round Sign"

INVOLUTIONS = "BitwiseNot Identity Neg Not"

SELECTIVE = "And BitwiseAnd BitwiseOr Max Min Or"

UNARY = """
    Abs Acos Acosh Asin Asinh Atan Atanh BitCast BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu
    HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign
    Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu
"""

BINARY = """
    Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Mod Mul Or PRelu
    Pow StringConcat Sub Xor
"""

declare("", COMMUTATIVE, commutative=True)
declare("", IDEMPOTENT, idempotent=True)
declare("", INVOLUTIONS, involution=True)
declare("", SELECTIVE, selective=True)

declare("", UNARY, elementwise=1)
declare("", BINARY, elementwise=2)
declare("", "Where", elementwise=3)
declare("", "Max", "Mean", "Min", "Sum", elementwise=VARIADIC)
declare("", "Dropout", "ParametricSoftplus", "ScaledTanh", elementwise=1)

declare("ai.onnx.ml", "Binarizer", "LabelEncoder", elementwise=1)
declare("com.microsoft", "Gelu", "QuickGelu", elementwise=1)
