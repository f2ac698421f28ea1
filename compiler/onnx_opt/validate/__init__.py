"""Proof that an optimized model does what the original does. It knows models as files or bytes, and nothing of the IR.

`prove(original, candidate)` compares them in ONNX Runtime and returns a `Verdict`; a `Reference` runs the original once
for many candidates; `first_bad` and `find_faults` search the rewrite at fault.
"""

from onnx_opt.validate.bisect import Fault, find_faults, first_bad
from onnx_opt.validate.compare import Tolerance, ToleranceLike
from onnx_opt.validate.prove import prove
from onnx_opt.validate.reference import Reference
from onnx_opt.validate.run import Runtime
from onnx_opt.validate.source import Source
from onnx_opt.validate.verdict import OutputVerdict, Verdict

__all__ = [
    "Fault",
    "OutputVerdict",
    "Reference",
    "Runtime",
    "Source",
    "Tolerance",
    "ToleranceLike",
    "Verdict",
    "find_faults",
    "first_bad",
    "prove",
]
