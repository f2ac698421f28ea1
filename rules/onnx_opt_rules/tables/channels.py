"""How channels pass through operators, and what the operators make of padded ones.

`ROWS` says the first, an operator a row; elementwise operators pass by the rules of broadcasting, and `PADDING` says
what they make of padding. An operator without a row stops channels: it could see how many there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.channels import content
from onnx_opt.channels.along import (
    Along,
    Padding,
    Reducing,
    only_zeros,
    rounded,
    same,
    unknown,
    with_zeros,
)
from onnx_opt.channels.behaviour import TRAIT, Behaviour, Fixed
from onnx_opt.channels.content import Bounded, Chosen, Content, Holes, Interval, Monotone, Range
from onnx_opt.channels.linear import Convolution, MatrixProduct, Product
from onnx_opt.channels.parts import Concatenating, Cutting, Selecting, Splitting
from onnx_opt.channels.quantized import Quantizing
from onnx_opt.channels.sizes import Depth, Measuring, Sized
from onnx_opt.channels.views import Squeezing, Transposing, Viewing
from onnx_opt.traits import declare

if TYPE_CHECKING:
    from onnx_opt.ir import Node


# -- what rows ask of a node -------------------------------------------------------------------------------------------


def _before_13(node: Node) -> bool:
    """Until then, Softmax and its kin took all dims from their axis on as one."""
    return node.version < 13


def _always(node: Node) -> bool:
    return True


def _between_0_and_1(node: Node, found: Content) -> Content:
    return None if found is None else Range(0, 1)


def _in_training(node: Node) -> str:
    return "it is in training mode" if len(node.outputs) > 1 or node.attribute("spatial", 1) == 0 else ""


def _without_epsilon(node: Node) -> str:
    return "" if node.attribute("epsilon", 1e-5) > 0 else "with no epsilon it divides by the deviation of padding, 0"


def _gives_indices(node: Node) -> str:
    return "its indices count channels" if node.output(1) is not None else ""


def _crops(node: Node) -> str:
    mode = node.attribute("coordinate_transformation_mode", "")
    if mode == "tf_crop_and_resize":
        return "it crops"
    return (
        "it keeps the ratio of all sizes" if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch" else ""
    )


def _sizes(node: Node) -> int | None:
    """The operand that holds all sizes of the result."""
    if node.op == "Expand":
        return 1
    if node.op == "Resize" and node.input(3) is not None and node.attribute("axes") is None:
        return 3
    return None


# -- the rows ----------------------------------------------------------------------------------------------------------

NORMALIZED = Along(axis="axis", to_end=_always, why="normalizes over them", keeps=unknown)
OVER_AXIS = Along(axis="axis", to_end=_before_13, why="works along them", keeps=unknown)
SCALE, SHIFT, MEAN, VARIANCE = (1, 0), (2, 0), (3, 0), (4, 1)
"""Operands of normalizations, and what they are padded with: zeros come out of whatever is finite."""

ROWS: dict[str, Behaviour] = {
    # layers
    "Conv": Convolution(),
    "ConvTranspose": Convolution(transposed=True),
    "Gemm": MatrixProduct(),
    "MatMul": Product(),
    # normalizations: along an axis other than that of their parameters, zeros come out shifted
    "BatchNormalization": Along(parameters=(SCALE, SHIFT, MEAN, VARIANCE), keeps=unknown, refuses=_in_training),
    "InstanceNormalization": Along(
        parameters=(SCALE, SHIFT),
        spatial_from=2,
        keeps=unknown,
        refuses=_without_epsilon,
        why="normalizes over this dim",
    ),
    "GroupNormalization": Along(spatial_from=1, why="normalizes over groups of them", keeps=unknown),
    "LayerNormalization RMSNormalization": NORMALIZED,
    "LRN": Along(stops=(1,), why="normalizes over neighbouring ones", keeps=only_zeros),
    "LpNormalization": OVER_AXIS,
    "MeanVarianceNormalization": Fixed("normalizes over its operand"),
    "Softmax": Along(axis="axis", to_end=_before_13, why="sums over them", keeps=_between_0_and_1),
    "Hardmax LogSoftmax": OVER_AXIS,
    # windows
    "AveragePool": Along(spatial_from=2, keeps=with_zeros, why="slides over this dim"),
    "MaxPool": Along(spatial_from=2, keeps=same, refuses=_gives_indices, why="slides over this dim"),
    "LpPool": Along(spatial_from=2, keeps=only_zeros, why="slides over this dim"),
    "GlobalAveragePool": Along(spatial_from=2, keeps=rounded, why="reduces this dim"),
    "GlobalMaxPool": Along(spatial_from=2, keeps=same, why="reduces this dim"),
    "GlobalLpPool": Along(spatial_from=2, keeps=only_zeros, why="reduces this dim"),
    "GridSample": Along(spatial_from=2, keeps=only_zeros, why="samples this dim"),
    "Pad": Padding(),
    "Resize Upsample": Sized(_sizes, keeps_point=False, refuses=_crops),
    # reductions
    "ReduceL1 ReduceL2 ReduceSum ReduceSumSquare": Reducing(absorbs=True),
    "ReduceMax ReduceMin": Reducing(keeps=same),
    "ReduceMean": Reducing(keeps=rounded),
    "ReduceLogSum ReduceLogSumExp ReduceProd": Reducing(keeps=unknown),
    "ArgMax ArgMin": Reducing(keeps=unknown),
    # parts
    "Concat": Concatenating(),
    "Split": Splitting(),
    "Slice": Cutting(),
    "Gather": Selecting(),
    # views
    "Transpose": Transposing(),
    "Reshape Flatten": Viewing(),
    "Squeeze": Squeezing(drops=True),
    "Unsqueeze": Squeezing(drops=False),
    "Expand Tile": Sized(_sizes),
    "DepthToSpace": Depth(to_space=True),
    "SpaceToDepth": Depth(to_space=False),
    "Shape": Measuring(),
    # numbers
    "QuantizeLinear DequantizeLinear": Quantizing(),
}

# What elementwise operators make of padding. Without a row, only what can be computed from single numbers is known.
PADDING: dict[str, Holes] = {
    "Add Sum": Interval(combine=content.add),
    "Sub": Interval(combine=content.subtract),
    "Mul": Interval(combine=content.multiply),
    "Div": Interval(1, combine=content.divide),
    "Max": Interval(combine=content.largest),
    "Min": Interval(combine=content.smallest),
    "Mean": Interval(combine=content.average),
    "Mod Pow": Holes(1),
    "Where": Chosen(first=1),
    "Identity Cast CastLike Dropout": Monotone(),
    "Abs Elu LeakyRelu ThresholdedRelu Celu Selu Relu Clip Ceil Floor Round Sign Neg": Monotone(turns=(0.0,)),
    "Exp Softplus Softsign Log Sqrt Asinh Atan": Monotone(),
    "Gelu HardSwish Mish": Monotone(turns=(0.0,), dip=1.0),
    "HardSigmoid Sigmoid": Bounded(low=0, high=1),
    "Cos Erf Sin Tanh": Bounded(low=-1, high=1),
}

MICROSOFT: dict[str, Behaviour] = {"FusedConv": Convolution(), "FusedGemm": MatrixProduct()}

for _ops, _row in ROWS.items():
    declare("", _ops, **{TRAIT: _row})
for _ops, _row in MICROSOFT.items():
    declare("com.microsoft", _ops, **{TRAIT: _row})
for _ops, _padding in PADDING.items():
    declare("", _ops, **{content.TRAIT: _padding})
