"""Which pixels around a place operators compute its result from.

Elementwise operators need no row. An operator without one counts as one that mixes the whole picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.analysis.locality import (
    Axes,
    Over,
    Windowed,
    blocks,
    expanded,
    follows,
    gathered,
    gemm,
    joined,
    padded,
    product,
    quantized,
    resampled,
    reshaped,
    sizes,
    sliced,
    split,
    transposed,
    transposed_window,
)
from onnx_opt.analysis.receptive import TRAIT, Locality
from onnx_opt.parameters import parameter
from onnx_opt.traits import declare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx_opt.ir import Node


def _listed(node: Node, rank: int) -> Sequence[int]:
    """The axes that a reduction lists; all where it lists none, or none where that is said to do nothing."""
    axes = parameter(node, "axes")
    if not axes.known:
        return range(rank)
    return axes.numbers or ([] if node.attribute("noop_with_empty_axes", 0) else range(rank))


def _one(default: int) -> Axes:
    return lambda node, rank: [int(node.attribute("axis", default))]


def _from_axis(default: int, until: int = 1 << 30) -> Axes:
    """All axes from one on; from operator set `until` on that one alone."""

    def axes(node: Node, rank: int) -> Sequence[int]:
        axis = int(node.attribute("axis", default if node.version < until else -1)) % rank
        return range(axis, rank) if node.version < until else [axis]

    return axes


def _spatial(node: Node, rank: int) -> Sequence[int]:
    return range(2, rank)


def _channels(node: Node, rank: int) -> Sequence[int]:
    return [1]


def _normalized(node: Node, rank: int) -> Sequence[int]:
    """The axes of MeanVarianceNormalization."""
    axes: Sequence[int] = node.attribute("axes") or [0, 2, 3]
    return axes


def _trained(node: Node, rank: int) -> Sequence[int]:
    """BatchNormalization in training takes statistics of the picture."""
    return range(rank) if node.attribute("training_mode", 0) else [1]


def _row(locality: Locality, *ops: str, domain: str = "") -> None:
    declare(domain, *ops, **{TRAIT: locality})


_row(Windowed(kernel=1), "Conv ConvInteger")
_row(Windowed(kernel=3), "QLinearConv")
_row(Windowed(), "MaxPool AveragePool LpPool")
_row(transposed_window, "ConvTranspose")
_row(resampled, "Resize Upsample")
_row(blocks, "DepthToSpace SpaceToDepth")
_row(padded, "Pad")
_row(sliced, "Slice")
_row(transposed, "Transpose")
_row(reshaped, "Reshape Flatten Squeeze Unsqueeze")
_row(joined, "Concat")
_row(split, "Split")
_row(expanded, "Expand Tile")
_row(gathered, "Gather")
_row(product, "MatMul")
_row(gemm, "Gemm")
_row(sizes, "Shape Size")
_row(follows, "Cast Identity Dropout Clip CastLike")
_row(quantized, "QuantizeLinear DequantizeLinear")
_row(Windowed(kernel=1), "FusedConv", domain="com.microsoft")
_row(follows, "Gelu FastGelu QuickGelu BiasGelu", domain="com.microsoft")
_row(
    Over(_listed, reduces=True),
    "ReduceMax ReduceMin ReduceMean ReduceSum ReduceProd ReduceL1 ReduceL2",
    "ReduceLogSum ReduceLogSumExp ReduceSumSquare",
)
_row(Over(_one(0), reduces=True), "ArgMax ArgMin")
_row(Over(_from_axis(1, until=13)), "Softmax LogSoftmax Hardmax")
_row(Over(_from_axis(-1)), "LayerNormalization RMSNormalization")
_row(Over(_one(-1)), "LpNormalization")
_row(Over(_channels), "LRN")
_row(Over(_trained), "BatchNormalization")
_row(Over(_spatial), "InstanceNormalization GroupNormalization GlobalAveragePool GlobalMaxPool GlobalLpPool")
_row(Over(_normalized), "MeanVarianceNormalization")
