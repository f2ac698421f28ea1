"""Shape functions: what is known of a node's results from what is known of its operands. One module for each family."""

from onnx_opt.analysis.infer import (
    attention,
    control,
    convolution,
    elementwise,
    generation,
    indexing,
    matmul,
    movement,
    normalization,
    quantization,
    recurrent,
    reduction,
    resize,
    sequences,
    signal,
    slicing,
)
from onnx_opt.analysis.infer.registry import NodeView, find, infer, registered

__all__ = [
    "NodeView",
    "attention",
    "control",
    "convolution",
    "elementwise",
    "find",
    "generation",
    "indexing",
    "infer",
    "matmul",
    "movement",
    "normalization",
    "quantization",
    "recurrent",
    "reduction",
    "registered",
    "resize",
    "sequences",
    "signal",
    "slicing",
]
