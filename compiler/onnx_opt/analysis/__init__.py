"""What is known of a model's values without running it: types, dims, constants, the contents of small tensors."""

from onnx_opt.analysis.facts import Facts
from onnx_opt.analysis.merge import FactConflict

__all__ = ["FactConflict", "Facts"]
