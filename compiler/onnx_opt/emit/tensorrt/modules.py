"""The modules that can build engines: TensorRT, and TensorRT for RTX, whose interface is nearly the same."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from onnx_opt.errors import TargetError

BUILDERS = {"tensorrt": ("tensorrt",), "rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
"""The names of a builder's module, by what the command line calls it."""
INSTALL = "pip install 'onnx-opt[rtx]' (TensorRT for RTX) or 'onnx-opt[tensorrt]'"


def find_builder(builder: str | None = None) -> str | None:
    """The name of the module that is installed for `builder`, or for any; None where there is none.

    It is not imported: that is left to the process that may crash.
    """
    wanted = BUILDERS if builder is None else (builder,)
    names = (name for each in wanted for name in BUILDERS[each])
    return next((name for name in names if find_spec(name) is not None), None)


def require_builder(builder: str | None = None) -> str:
    """The module for `builder`, or for any. Raises TargetError where it is missing."""
    module = find_builder(builder)
    if module is None:
        what = {None: "TensorRT", "tensorrt": "the module 'tensorrt'", "rtx": "TensorRT for RTX"}[builder]
        raise TargetError(f"an engine is built by {what}, which is not installed", remedy=INSTALL)
    return module


def import_builder(module: str) -> Any:
    """The module itself. Raises TargetError where it cannot be loaded: its libraries may be missing."""
    try:
        return import_module(module)
    except Exception as error:  # a package that only stands for the real one may raise anything
        reason = f"the module '{module}' cannot be loaded: {error}"
        raise TargetError(reason, remedy=f"install it again: {INSTALL}") from error
