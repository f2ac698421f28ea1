"""The table of ONNX Runtime's operators agrees with ONNX Runtime's own schemas."""

from __future__ import annotations

import subprocess
import sys

import pytest

from onnx_opt import traits
from onnx_opt.precision.constraints import FLOAT16, PRECISION, signature

pytest.importorskip("onnxruntime")

SCHEMAS = """
import onnxruntime.capi.onnxruntime_pybind11_state as state
for s in state.get_all_operator_schema():
    if s.domain == "com.microsoft":
        allowed = {c.type_param_str: list(c.allowed_type_strs) for c in s.type_constraints}
        names = [[p.typeStr for p in group] for group in (s.inputs, s.outputs)]
        print(repr((s.name, *names, sorted(k for k, v in allowed.items() if "tensor(float16)" in v))), flush=True)
"""


def test_rows_are_as_ONNX_Runtime_says():
    """Where the table lets a type change, the schema does too; what it ties has one name there."""
    done = subprocess.run([sys.executable, "-c", SCHEMAS], capture_output=True, text=True, timeout=120)
    checked = 0
    for line in done.stdout.splitlines():
        op, operands, results, allowed = eval(line)
        row = traits.ask("com.microsoft", op, PRECISION)
        if row is None:
            continue
        checked += 1
        known = signature(op, "com.microsoft", 1, FLOAT16, row.types)
        assert known is not None
        named = {}
        for names, of in ((operands, known.operand), (results, known.result)):
            for index, name in enumerate(names):
                if of(index):
                    assert name in allowed, f"{op} {index}: {name} does not take float16"
                    assert named.setdefault(name, of(index)) == of(index), f"{op}: {name}"
    assert checked > 40 or not done.stdout
