"""Rules check themselves.

`verify(rule)` makes random small models that contain the rule's pattern, applies the rule, and compares before and
after in ONNX Runtime. `find_rules()` are all rules that are installed. Operators whose operands do not go together by
chance need a `sampler`.

    from onnx_opt.harness import find_rules, verify
    for rule in find_rules().values():
        assert verify(rule).passed
"""

from onnx_opt.harness.discover import find_rules
from onnx_opt.harness.report import Failure, HarnessReport
from onnx_opt.harness.samplers import sampler
from onnx_opt.harness.site import Site, Wish
from onnx_opt.harness.sketch import Operand, Unfit
from onnx_opt.harness.verify import verify

__all__ = ["Failure", "HarnessReport", "Operand", "Site", "Unfit", "Wish", "find_rules", "sampler", "verify"]
