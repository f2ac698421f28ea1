"""The traits of the operators of ONNX and ONNX Runtime; importing this package declares them."""

from onnx_opt_rules.tables import algebra, noops, purity

__all__ = ["algebra", "noops", "purity"]
