"""Evaluate nodes whose operands are known, exactly as ONNX Runtime's CPU kernels would.

`result_bytes` says what a node would cost before anything is computed, `evaluate` computes a batch of nodes. Two
engines share the work: a table of numpy kernels that give the same bits as ONNX Runtime, and ONNX Runtime itself.
"""

# Importing these fills the table of kernels.
from onnx_opt.evaluate import arithmetic, casts, indexing, movement  # noqa: F401
from onnx_opt.evaluate.batch import Evaluation, evaluate
from onnx_opt.evaluate.size import result_bytes

__all__ = ["Evaluation", "evaluate", "result_bytes"]
