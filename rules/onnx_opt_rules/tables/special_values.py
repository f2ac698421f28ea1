"""What operators do with NaN, with integers that overflow or have no quotient, and with tensors that have no elements.

Every operator has a row for NaN: what is not listed is left open, and no feed with NaN is compared where it occurs.
What IEEE 754 leaves to the order of operations (the greatest of several numbers, one of them NaN) depends on how a
runtime vectorizes; ReduceMax of ONNX Runtime gives NaN only where it comes first.
"""

from __future__ import annotations

from onnx_opt.traits import declare, define

define(
    "nan",
    "what a NaN among the elements does: it 'keeps' on in all that is computed from it, it 'decides' one defined "
    "result, or what comes out is 'open', for it depends on the order in which elements are visited",
)
define("overflow", "of integers: the result 'wraps' around, or the operation 'traps' where there is no result")
define("empty", "what a reduction over no elements gives: its neutral number, or 'error'")

KEEPS, DECIDES, OPEN = "keeps", "decides", "open"

ELEMENTWISE = """
    Abs Acos Acosh Add Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh Div Dropout Elu Erf Exp Floor Gelu HardSigmoid
    HardSwish Identity LeakyRelu Log Max Mean Min Mish Mod Mul Neg Reciprocal Relu Round Selu Sigmoid Sin Sinh Softplus
    Softsign Sqrt Sub Sum SwiGLU Swish Tan Tanh
"""
SUMS = """
    Attention AveragePool BatchNormalization CausalConvWithState Conv ConvTranspose CumProd CumSum DeformConv Einsum
    Gemm GlobalAveragePool GlobalLpPool GroupNormalization InstanceNormalization LRN LayerNormalization LinearAttention
    LogSoftmax LpNormalization LpPool MatMul MeanVarianceNormalization RMSNormalization ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMean ReduceProd ReduceSum ReduceSumSquare RotaryEmbedding Softmax
"""
MOVEMENT = """
    BitCast CenterCropPad Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape DepthToSpace Expand Flatten
    Gather GatherElements GatherND Optional OptionalGetElement Pad Reshape ReverseSequence Scatter ScatterElements
    ScatterND SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert Slice SpaceToDepth Split
    SplitToSequence Squeeze TensorScatter Tile Transpose Trilu Unsqueeze
"""
# Float to integer: ONNX Runtime's casts and quantization give one number for NaN, wherever it stands in a tensor.
DECIDED = """
    Cast CastLike DequantizeLinear Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual NonZero
    OptionalHasElement PRelu Pow QuantizeLinear SequenceLength Shape Shrink Sign Size ThresholdedRelu Where
"""
NO_FLOATS = """
    And BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow ConvInteger EyeLike HammingWindow HannWindow
    ImageDecoder MatMulInteger MelWeightMatrix Not OneHot Or QLinearConv QLinearMatMul Range RegexFullMatch StringConcat
    StringNormalizer StringSplit TfIdfVectorizer Xor
"""
CONTROL_FLOW = "If Scan SequenceMap"
# Comparisons that visit elements in some order; factors of zero that an implementation may leave out; recurrences whose
# activations are approximated; loops that may never end; results that are random anyway.
LEFT_OPEN = """
    AffineGrid ArgMax ArgMin Bernoulli DFT Det DynamicQuantizeLinear GRU GlobalMaxPool GridSample Hardmax LSTM Loop
    MaxPool MaxRoiPool MaxUnpool Multinomial NegativeLogLikelihoodLoss NonMaxSuppression RNN RandomNormal
    RandomNormalLike RandomUniform RandomUniformLike ReduceMax ReduceMin Resize RoiAlign STFT SoftmaxCrossEntropyLoss
    TopK Unique Upsample
"""

for _ops, _nan in (
    (ELEMENTWISE + SUMS + MOVEMENT + CONTROL_FLOW, KEEPS),
    (DECIDED + NO_FLOATS, DECIDES),
    (LEFT_OPEN, OPEN),
):
    declare("", _ops, nan=_nan)
declare("com.microsoft", "BiasGelu FastGelu FusedConv FusedGemm FusedMatMul Gelu QuickGelu", nan=KEEPS)
declare("com.microsoft", "SkipLayerNormalization SkipSimplifiedLayerNormalization", nan=KEEPS)

declare("", "Abs Add BitShift CumProd CumSum Mul Neg ReduceProd ReduceSum Sub Sum", overflow="wraps")
declare("", "Div Mod", overflow="traps")

NUMBERS_OF_NOTHING = {
    "ReduceL1 ReduceL2 ReduceSum ReduceSumSquare": 0,
    "ReduceProd": 1,
    "ArgMax ArgMin": "error",
}
for _ops, _number in NUMBERS_OF_NOTHING.items():
    declare("", _ops, empty=_number)
