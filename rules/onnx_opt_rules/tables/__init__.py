"""The traits of the operators of ONNX and ONNX Runtime; importing this package declares them."""

from onnx_opt_rules.tables import (
    algebra,
    channels,
    half,
    laws,
    layout,
    noops,
    purity,
    quantize,
    receptive,
    special_values,
    versions,
)

__all__ = [
    "algebra",
    "channels",
    "half",
    "laws",
    "layout",
    "noops",
    "purity",
    "quantize",
    "receptive",
    "special_values",
    "versions",
]
