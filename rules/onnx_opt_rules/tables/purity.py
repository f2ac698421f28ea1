"""Which operators are pure: their results depend on operands and attributes only and are the same in every run.

Every operator of every operator set is listed, so that a new one stands out: what is not listed is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.traits import declare

if TYPE_CHECKING:
    from onnx_opt.ir import Node

STANDARD = """
    Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BitCast BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike CausalConvWithState Ceil Celu CenterCropPad
    Clip Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh
    CumProd CumSum DFT DeformConv DepthToSpace DequantizeLinear Det Div DynamicQuantizeLinear Einsum Elu Equal Erf Exp
    Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish
    Hardmax Identity ImageDecoder InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less
    LessOrEqual LinearAttention Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxRoiPool
    MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Neg NegativeLogLikelihoodLoss
    NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement OptionalHasElement Or PRelu Pad Pow QLinearConv
    QLinearMatMul QuantizeLinear RMSNormalization RNN Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare RegexFullMatch Relu Reshape Resize
    ReverseSequence RoiAlign RotaryEmbedding Round STFT Scatter ScatterElements ScatterND Selu SequenceAt
    SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength Shape Shrink Sigmoid Sign Sin Sinh Size
    Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze
    StringConcat StringNormalizer StringSplit Sub Sum SwiGLU Swish Tan Tanh TensorScatter TfIdfVectorizer
    ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor
"""

MACHINE_LEARNING = """
    ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
    LinearClassifier LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble
    TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
"""

TRAINING = "Adagrad Adam Momentum"

# Operators that ONNX Runtime keeps in the standard domain without ONNX defining them.
RUNTIME_IN_STANDARD = """
    Affine Crop DynamicSlice GRUUnit GivenTensorFill ImageScaler ParametricSoftplus Scale ScaledTanh
    SimplifiedLayerNormalization
"""

MICROSOFT = """
    AttnLSTM BiasAdd BiasGelu BiasSoftmax BiasSplitGelu BifurcationDetector BranchwiseRMSNorm CDist
    CausalConvWithState ComplexMul ComplexMulConj ConvTransposeWithDynamicPads CropAndResize DecoderAttention
    DequantizeBFP DequantizeLinear DequantizeWithOrder DynamicQuantizeLSTM DynamicQuantizeMatMul
    DynamicTimeWarping EmbedLayerNormalization EngramGate ExpandDims FastGelu FusedConv FusedGemm FusedMatMul
    FusedMatMulActivation GatedAdd GatedRMSNorm GatedRelativePositionBias GatherBlockQuantized GatherND Gelu
    GemmFastGelu GemmFloat8 GemmaRotaryEmbedding GridSample GroupNorm HyperConnectionPostMix HyperConnectionPreMix
    Inverse Irfft IsAllFinite LinearAttention LinearAttentionGate LongformerAttention MRotaryEmbedding
    MatMulBlockQuantizedFp4Weight MatMulBlockQuantizedFp8Weight MatMulBnb4 MatMulFpQ4 MatMulInteger16
    MatMulIntegerToFloat MatMulNBits MatMulNBitsMlp MatMulNBitsQkv MaxpoolWithMask MoE MulInteger MurmurHash3
    NGramHashMapping NGramRepeatBlock NhwcConv NhwcFusedConv NhwcMaxPool PackedAttention
    PackedMultiHeadAttention Pad QAttention QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat
    QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax
    QLinearWhere QMoE QOrderedAttention QOrderedGelu QOrderedLayerNormalization QOrderedLongformerAttention
    QOrderedMatMul QuantizeBFP QuantizeLinear QuantizeWithOrder QuickGelu Range ReduceSumInteger RelativePositionBias
    RemovePadding RestorePadding Rfft RotaryEmbedding SampleOp ScaledSiLU SkipGroupNorm SkipLayerNormalization
    SkipSimplifiedLayerNormalization SparseToDenseMatMul Tokenizer TorchEmbedding TransposeMatMul Trilu UnfoldTensor
    Unique WordConvEmbedding
"""

NCHWC = """
    AveragePool Conv GlobalAveragePool GlobalMaxPool MaxPool ReorderInput ReorderOutput Upsample
"""

RANDOM = "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"

# They may write into an operand's buffer (caches of keys and values, states kept between runs).
MICROSOFT_STATEFUL = """
    DecoderMaskedMultiHeadAttention DecoderMaskedSelfAttention DynamicSparseAttention GatedDeltaNet GroupQueryAttention
    PackedSparseAttentionIndexer PagedAttention SparseAttention SparseAttentionIndexer SparsePagedAttention
    VarlenCausalConvWithState VarlenNGramHashMapping
"""

# What they run lies outside of the model.
MICROSOFT_OPAQUE = "EPContext Snpe"

CONTROL_FLOW = "If Loop Scan SequenceMap"
MICROSOFT_GENERATION = "BeamSearch GreedySearch WhisperBeamSearch"


def _infers_dropout(node: Node) -> bool:
    """Dropout drops nothing: `is_test` before operator set 7, always from 7, `training_mode` (an operand) from 12."""
    if node.version < 7:
        return node.attribute("is_test", 0) == 1
    return _training_mode_is_off(node, 2)


def _training_mode_is_off(node: Node, operand: int) -> bool:
    mode = node.input(operand)
    if mode is None:
        return True
    value = mode.constant
    return value is not None and value.size == 1 and not value.item()


def _infers_batch_normalization(node: Node) -> bool:
    """Statistics come from operands. Before operator set 14, more than one result means training."""
    if node.version >= 14:
        return node.attribute("training_mode", 0) == 0
    if any(value.name for value in node.outputs[1:]):
        return False
    return node.version >= 7 or node.attribute("is_test", 0) == 1


def _appends_to_no_buffer(node: Node) -> bool:
    """Whether an attention keeps its cache by concatenation instead of writing into its operand's buffer."""
    if node.op == "MultiHeadAttention":
        return node.input(8) is None
    return node.attribute("past_present_share_buffer", 0) == 0


declare("", STANDARD, RUNTIME_IN_STANDARD, pure=True)
declare("", "Dropout", pure=_infers_dropout)
declare("", "BatchNormalization", pure=_infers_batch_normalization)
declare("", CONTROL_FLOW, pure=True, carries_bodies=True)
declare("", RANDOM, pure=False)
# Quantized weights stay quantized: the pair tells the runtime to compute in integers.
for _domain in ("", "com.microsoft"):
    declare(_domain, "QuantizeLinear DequantizeLinear", kept=True)

declare("ai.onnx.ml", MACHINE_LEARNING, pure=True)
declare("ai.onnx.preview", "FlexAttention", pure=True, carries_bodies=True)
declare("ai.onnx.preview.training", TRAINING, pure=True)
declare("ai.onnx.training", TRAINING, pure=True)
# Gradient differentiates the graph around it, which it names in its attributes: no operand tells what it depends on.
declare("ai.onnx.preview.training", "Gradient", pure=False)
declare("ai.onnx.training", "Gradient", pure=False)

declare("com.microsoft", MICROSOFT, pure=True)
declare("com.microsoft", MICROSOFT_STATEFUL, MICROSOFT_OPAQUE, pure=False, removable=False)
declare("com.microsoft", "Attention", "MultiHeadAttention", pure=_appends_to_no_buffer)
declare("com.microsoft", MICROSOFT_GENERATION, pure=True, carries_bodies=True)
declare("com.microsoft", "Sampling", pure=False)
declare("com.microsoft", "BitmaskDropout", pure=lambda node: _training_mode_is_off(node, 2))
declare("com.microsoft", "BiasDropout", "BitmaskBiasDropout", pure=lambda node: _training_mode_is_off(node, 4))
declare("com.microsoft.nchwc", NCHWC, pure=True)
