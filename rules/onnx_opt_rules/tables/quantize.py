"""The parts that operators take in a quantized graph.

An operator without a row stays in FP32, and so does what it reads. Sources: NVIDIA's "Working with Quantized Types"
(placement that TensorRT fuses) and the node selectors of ONNX Runtime (core/optimizer/qdq_transformer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx_opt.quantization.roles import TRAIT, Activation, Layer, Move, Pool, Role, Sum
from onnx_opt.traits import declare

if TYPE_CHECKING:
    from onnx_opt.ir import Node


def _gemm_channels(node: Node, rank: int) -> int:
    return 0 if node.attribute("transB", 0) else 1


def _gemm_summed(node: Node, rank: int) -> int:
    return 1 - _gemm_channels(node, rank)


def _product_channels(node: Node, rank: int) -> int | None:
    return rank - 1 if rank > 1 else None


def _product_summed(node: Node, rank: int) -> int:
    return max(rank - 2, 0)


def _scaled(node: Node) -> str:
    """Integer kernels of Gemm have no factors."""
    factors = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    if factors != (1.0, 1.0) or node.attribute("transA", 0):
        return "it multiplies by alpha or beta, or transposes its first operand"
    return ""


def _gives_indices(node: Node) -> str:
    return "it gives indices too" if node.output(1) is not None else ""


def _interpolates(node: Node) -> str:
    crops = node.attribute("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    return "it interpolates" if node.attribute("mode", "nearest") != "nearest" or crops else ""


def _fills(node: Node) -> str:
    """Padding with anything but 0, which every scale holds exactly."""
    if node.attribute("mode", "constant") != "constant":
        return ""
    if node.version < 11:
        filled = node.attribute("value", 0.0)
        return "it pads with something else than 0" if filled else ""
    value = node.input(2)
    if value is None:
        return ""
    constant = value.constant
    return "it pads with something else than 0" if constant is None or constant.any() else ""


ROWS: dict[str, Role] = {
    # products with weights
    "Conv": Layer(channels=lambda node, rank: 0, summed=lambda node, rank: 1),
    "ConvTranspose": Layer(channels=lambda node, rank: 1, summed=lambda node, rank: 0),
    "Gemm": Layer(channels=_gemm_channels, summed=_gemm_summed, packs=True, floats=True, problem=_scaled),
    "MatMul": Layer(channels=_product_channels, summed=_product_summed, bias=None, packs=True, floats=True),
    # what has integer kernels beside them
    "Add": Sum(),
    "AveragePool GlobalAveragePool": Pool(),
    # kernels of the above compute these as well
    "Clip Relu": Activation(saturates=True),
    "Elu HardSigmoid HardSwish LeakyRelu Sigmoid Tanh": Activation(),
    # the same elements in another place
    "Concat": Move(operands=None),
    "DepthToSpace Expand Flatten Gather Identity Reshape Slice SpaceToDepth Split Squeeze Tile Transpose": Move(),
    "Unsqueeze": Move(),
    "MaxPool": Move(problem=_gives_indices),
    "Pad": Move(problem=_fills),
    "Resize": Move(problem=_interpolates),
}

for _ops, _role in ROWS.items():
    declare("", _ops, **{TRAIT: _role})
