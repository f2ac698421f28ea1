"""What the tests of engines share: models in ONNX text, as files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import onnx
import pytest
from onnx import parser

from onnx_opt.emit.tensorrt import builder
from onnx_opt.emit.tensorrt.modules import find_builder

needs_builder = pytest.mark.skipif(
    find_builder() is None, reason="needs TensorRT or TensorRT for RTX: pip install 'onnx-opt[rtx]'"
)


def write(path: Path, text: str) -> Path:
    """The model that ONNX text describes, as a file."""
    onnx.save(parser.parse_model(text), str(path))
    return path


def parse_and_die(module: str, model: Any, folder: str | None, trace: bool = False) -> NoReturn:
    """A parser that crashes behind the last node."""
    builder.parse(module, model, folder, trace)
    os.abort()
