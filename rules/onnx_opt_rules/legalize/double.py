"""FP64 is computed in FP32 where a runtime has no FP64: inputs and outputs of the model keep their types.

What is computed is rounded to 24 bits instead of 53, as such runtimes do silently when they load a model; written out,
it is proven against the original, to the tolerance of FP32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt.ir import Constant, Node, Value
from onnx_opt.rewrite import op, require, rest, rule

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
EXACT = frozenset({FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.BOOL, TensorProto.INT8,
                   TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32})  # fmt: skip
"""Types that FP64 holds exactly, so that a cast through it is a cast."""

# Not Range: how many numbers it gives depends on a quotient that rounding may move past a whole one.
COMPUTED = """
    Abs Acos Acosh Add ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization Ceil Celu Clip
    Compress Concat Conv ConvTranspose Cos Cosh CumSum DepthToSpace Det Div Einsum Elu Equal Erf Exp Expand Flatten
    Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual
    GridSample GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization IsInf IsNaN LRN
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul Max MaxPool Mean
    MeanVarianceNormalization Min Mish Mod Mul Neg NonZero PRelu Pad Pow RMSNormalization Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape ReverseSequence Round ScatterElements ScatterND Selu Shrink Sigmoid Sign Sin Sinh Slice Softmax Softplus
    Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where
"""


def narrow(value: Value) -> Any:
    """An operand in FP32 where it is FP64; a constant that FP32 can't hold is declined."""
    if not value.name or value.elem_type != DOUBLE:
        return value if value.name else None
    array = value.constant
    if array is None:
        return op.Cast(value, to=FLOAT)
    with np.errstate(over="ignore"):
        rounded = array.astype(np.float32)
    require((np.isfinite(rounded) == np.isfinite(array)).all(), "a constant is larger than FP32 can be")
    return rounded


@rule(op[tuple(COMPUTED.split())](rest("operands")).named("node"), precision="float32")
def computed_in_fp32(operands: list[Value], node: Node) -> Any:
    """FP64 is computed in FP32, with casts around that cancel between neighbours."""
    kinds = [value.elem_type for value in (*operands, *node.outputs) if value.name]
    if DOUBLE not in kinds:
        return None  # most nodes: no reason is worth keeping
    require(not _holds_double(node), "an attribute is FP64")
    attrs = dict(node.attrs)
    call = op[node.op](*map(narrow, operands), **attrs).returning(len(node.outputs))
    results = [call] if len(node.outputs) == 1 else list(call)
    return tuple(
        None if not value.name else op.Cast(result, to=DOUBLE) if value.elem_type == DOUBLE else result
        for result, value in zip(results, node.outputs, strict=True)
    )


def _holds_double(node: Node) -> bool:
    return any(isinstance(value, Constant) and value.elem_type == DOUBLE for value in node.attrs.values())


@rule(op.ConstantOfShape("shape").named("node"), precision="float32")
def filled_in_fp32(shape: Value, node: Node) -> Any:
    """A tensor filled with an FP64 number is filled in FP32."""
    value = node.attribute("value")
    require(value is not None and value.dtype == np.float64, "it is not filled with FP64")
    rounded = value.astype(np.float32)
    require((np.isfinite(rounded) == np.isfinite(value)).all(), "a constant is larger than FP32 can be")
    return op.Cast(op.ConstantOfShape(shape, value=rounded), to=DOUBLE)


@rule(op.Cast(op.Cast("x", to=DOUBLE).named("inner")).named("outer"), shared=True)
def through_fp64(x: Value, inner: Node, outer: Node) -> Any:
    """A cast to FP64 and on to another type is a cast where FP64 holds every number exactly."""
    require(x.elem_type in EXACT, "FP64 does not hold every number exactly")
    require(set(outer.attrs) <= {"to"} and set(inner.attrs) <= {"to"}, "a Cast has other attributes than its type")
    wanted = outer.outputs[0].elem_type
    return x if x.elem_type == wanted else op.Cast(x, to=wanted)
