"""onnx-opt: a graph compiler for ONNX models that proves what it changes.

    import onnx_opt
    result = onnx_opt.optimize("model.onnx")
    result.save("model.opt.onnx")

The names in ``__all__`` are stable, and those of `onnx_opt.errors`, `onnx_opt.rewrite` and `onnx_opt.instrument` that
stand in theirs; others may change with any version. What the library has to tell goes to the logger ``onnx_opt``.

Names are imported when they are first used, so that ``onnx-opt --help`` does not wait for onnx, numpy or ONNX Runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx_opt.api import Result, optimize
    from onnx_opt.errors import (
        LimitError,
        MissingRuntimeError,
        ModelError,
        OnnxOptError,
        PassError,
        TargetError,
        UsageError,
        ValidationError,
    )
    from onnx_opt.ir import Constant, Function, Graph, Node, Value, Variable
    from onnx_opt.ir.load import load
    from onnx_opt.ir.save import save
    from onnx_opt.passes import Pass, PassContext, Size, option
    from onnx_opt.pipeline import Pipeline, Repeat
    from onnx_opt.report import Report, Stats
    from onnx_opt.rewrite import Rule, apply_rules, require
    from onnx_opt.rewrite.rule import rule
    from onnx_opt.target import Target

_HOME = {
    "onnx_opt.api": ("Result", "optimize"),
    "onnx_opt.errors": (
        "LimitError", "MissingRuntimeError", "ModelError", "OnnxOptError", "PassError", "TargetError", "UsageError",
        "ValidationError",
    ),
    "onnx_opt.ir": ("Constant", "Function", "Graph", "Node", "Value", "Variable", "load", "save"),
    "onnx_opt.passes": ("Pass", "PassContext", "Size", "option"),
    "onnx_opt.pipeline": ("Pipeline", "Repeat"),
    "onnx_opt.report": ("Report", "Stats"),
    "onnx_opt.rewrite": ("Rule", "apply_rules", "require", "rule"),
    "onnx_opt.target": ("Target",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Constant",
    "Function",
    "Graph",
    "LimitError",
    "MissingRuntimeError",
    "ModelError",
    "Node",
    "OnnxOptError",
    "Pass",
    "PassContext",
    "PassError",
    "Pipeline",
    "Repeat",
    "Report",
    "Result",
    "Rule",
    "Size",
    "Stats",
    "Target",
    "TargetError",
    "UsageError",
    "ValidationError",
    "Value",
    "Variable",
    "apply_rules",
    "load",
    "optimize",
    "option",
    "require",
    "rule",
    "save",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version("onnx-opt")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'onnx_opt' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
