"""The traits of the operators of ONNX and ONNX Runtime; importing this package declares them."""

from onnx_opt_rules.tables import algebra, layout, noops, purity

__all__ = ["algebra", "layout", "noops", "purity"]
