"""How operators behave when FP32 becomes half precision, beyond what the ONNX schemas say.

Operators that compute, and whose schema says all, need no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.precision.constraints import (
    ADDS,
    BFLOAT16,
    CARRIES,
    ENDS,
    FLOAT16,
    LACKS_HALF,
    MASK,
    PRECISION,
    SCALES,
    Policy,
)
from onnx_opt.traits import declare
from onnx_opt_rules.tables.purity import MACHINE_LEARNING

if TYPE_CHECKING:
    from onnx_opt.ir import Node

# -- operators that only move, select or compare elements --------------------------------------------------------------


def _replaces(node: Node) -> bool:
    """Scatter operators that write without adding up or multiplying."""
    return node.attribute("reduction", "none") in ("none", b"none", "max", "min")


def _repeats(node: Node) -> bool:
    """Resize and Upsample that interpolate nothing."""
    return node.attribute("mode", "nearest") == "nearest"


MOVES = Policy(moves=True)
MADE = Policy(moves=True, attribute="dtype")
WINDOW = Policy(moves=True, attribute="output_datatype")

ROWS: dict[str, Policy] = {
    "Abs ArgMax ArgMin CenterCropPad Compress Concat DepthToSpace Dropout Equal Expand Flatten Gather": MOVES,
    "GatherElements GatherND GlobalMaxPool Greater GreaterOrEqual Hardmax Identity IsInf IsNaN Less LessOrEqual": MOVES,
    "Max MaxPool MaxRoiPool MaxUnpool Min Neg NonZero Pad ReduceMax ReduceMin Relu Reshape": MOVES,
    "ReverseSequence Scatter Shape Sign Size Slice SpaceToDepth Split Squeeze Tile TopK Transpose Trilu": MOVES,
    "Unique Unsqueeze Where": MOVES,
    "OneHot": Policy(moves=True, stays=(0, 1)),
    "ScatterElements ScatterND": Policy(moves=_replaces),
    "Clip": Policy(moves=True, saturates=(1, 2)),
    "Resize": Policy(moves=_repeats, stays=(1,), exact=(1, 2)),
    "Upsample": Policy(moves=_repeats, exact=(1,)),
    # the type of the result is an attribute
    "Cast": Policy(moves=True, attribute="to"),
    "CastLike": MOVES,
    "Constant": MOVES,
    "ConstantOfShape": Policy(moves=True, attribute="value"),
    "Bernoulli EyeLike RandomNormal RandomNormalLike RandomUniform RandomUniformLike": MADE,
    "BlackmanWindow HammingWindow HannWindow MelWeightMatrix": WINDOW,
    "DequantizeLinear": Policy(moves=True, tied=True, attribute="output_dtype"),
    "QuantizeLinear": Policy(moves=True, tied=True),
    # all operands change together: runtimes have no kernel, or many small ones, for mixed types
    "BatchNormalization": Policy(tied=True),
    "Attention GridSample OptionalGetElement Pow RMSNormalization": Policy(tied=True),
    # of BitCast the bits depend on the type; the definition of the other adds an epsilon that is always FP32
    "BitCast MeanVarianceNormalization": Policy(types=". -> ."),
    # statistics are computed and given in FP32 (`stash_type`)
    "LayerNormalization": Policy(stays_results=(1, 2)),
    # what must not be rounded
    "Ceil Cos Floor Round Sin Tan": Policy(exact=(0,)),
    "Mod": Policy(exact=(0, 1)),
    "Range": Policy(exact=(0, 1, 2)),
}

for _ops, _row in ROWS.items():
    declare("", _ops, **{PRECISION: _row})

# -- masks: the way of huge negative numbers to a softmax --------------------------------------------------------------

MASKS = {
    "Concat Expand Flatten Gather GatherElements GatherND Identity Max Pad Reshape Slice Split Squeeze": CARRIES,
    "Tile Transpose Trilu Unsqueeze Where": CARRIES,
    "Add": ADDS,
    "Mul": SCALES,
    "Softmax": ENDS,
}
for _ops, _role in MASKS.items():
    declare("", _ops, **{MASK: _role})

# -- operators of ONNX Runtime, by the types of operands and results ---------------------------------------------------

MICROSOFT: dict[str, str] = {
    "BiasAdd": "T T T -> T",
    "BiasDropout": "T T T . . -> T .",
    "BiasGelu": "T T -> T",
    "BiasSoftmax": "T T -> T",
    "BiasSplitGelu": "T T -> T",
    "BitmaskDropout": "T . . -> T .",
    "ComplexMul ComplexMulConj": "T T -> T",
    "ConvTransposeWithDynamicPads": "T T . T -> T",
    "DecoderMaskedMultiHeadAttention": "T T T . T T T . . . T -> T T T .",
    "EmbedLayerNormalization": ". . T T T T T . . -> T . T",
    "FastGelu": "T T -> T",
    "FusedConv": "T T T T -> T",
    "FusedGemm": "T T T -> T",
    "FusedMatMul": "T T -> T",
    "FusedMatMulActivation": "T T -> T",
    "GatedRelativePositionBias": "T T T T T T . -> T",
    "Gelu": "T -> T",
    "GemmFastGelu": "T T T -> T",
    "GroupNorm": "T M M -> T",
    "GroupQueryAttention": "T T T T T . . T T . T -> T T T .",
    "Inverse": "T -> T",
    "Irfft Rfft": "T -> T",
    "LongformerAttention": "T T T T T T . -> T",
    "MatMulIntegerToFloat": ". . T T . . T -> T",
    "MatMulNBits": "T . T T . T -> T",
    "MultiHeadAttention": "T T T T . T T T . . -> T T T .",
    "Attention": "T T T . T T . -> T T",
    "NhwcConv": "T T T -> T",
    "NhwcFusedConv": "T T T T -> T",
    "PackedAttention": "T T T . . T -> T",
    "PackedMultiHeadAttention": "T T T T . . T -> T",
    "QAttention": ". . T T T . . . T -> T T",
    "QuickGelu": "T -> T",
    "RelativePositionBias": "T . . -> T",
    "RemovePadding": "T . -> T . . .",
    "RestorePadding": "T . -> T",
    "RotaryEmbedding": "T . T T -> T",
    "SkipGroupNorm": "T M M T T -> T T",
    "SkipLayerNormalization": "T T T T T -> T . . T",
    "SkipSimplifiedLayerNormalization": "T T T T -> T . . T",
    "TransposeMatMul": "T T -> T",
}
MICROSOFT_MOVES: dict[str, str] = {
    "DequantizeLinear": ". T . -> T",
    "ExpandDims": "T . -> T",
    "GatherND": "T . -> T",
    "Pad": "T . T -> T",
    "QuantizeLinear": "T T . -> .",
    "TorchEmbedding": "T . . . -> T",
    "Trilu": "T . -> T",
    "UnfoldTensor": "T -> T",
    "Unique": "T -> T . .",
}

for _ops, _types in MICROSOFT.items():
    declare("com.microsoft", _ops, **{PRECISION: Policy(types=_types)})
for _ops, _types in MICROSOFT_MOVES.items():
    declare("com.microsoft", _ops, **{PRECISION: Policy(types=_types, moves=True)})
# Their attributes hold thresholds and weights in the type of the operand.
declare("ai.onnx.ml", MACHINE_LEARNING, **{PRECISION: Policy(types=". -> .")})
# ONNX Runtime keeps it in the standard domain.
declare("", "SimplifiedLayerNormalization", **{PRECISION: Policy(types="T T -> T .")})

# -- what targets lack -------------------------------------------------------------------------------------------------

# ONNX Runtime casts around an operator that takes half precision and has no kernel for it on the processor. It can't do
# so for those that give a type named by an attribute.
MADE_IN_FP32 = """
    Bernoulli BlackmanWindow EyeLike HammingWindow HannWindow MelWeightMatrix RandomNormal RandomNormalLike
    RandomUniform RandomUniformLike
"""
LACKING: dict[tuple[str, int], str] = {
    ("ort-cpu", FLOAT16): MADE_IN_FP32,
    ("tensorrt", FLOAT16): "Range",
    ("tensorrt", BFLOAT16): "ConvTranspose",
}


def _accumulates(node: Node) -> frozenset[tuple[str, int]]:
    """On the processor, ONNX Runtime scatters half precision elements but does not add or compare them."""
    return (
        frozenset() if node.attribute("reduction", "none") in ("none", b"none") else frozenset({("ort-cpu", FLOAT16)})
    )


declare("", "ScatterElements ScatterND", **{LACKS_HALF: _accumulates})
_lacking: dict[str, set[tuple[str, int]]] = {}
for _case, _ops in LACKING.items():
    for _op in _ops.split():
        _lacking.setdefault(_op, set()).add(_case)
for _op, _cases in _lacking.items():
    declare("", _op, **{LACKS_HALF: frozenset(_cases)})
