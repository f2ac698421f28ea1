"""Models in ONNX text for the tests of validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

HEADER = '<ir_version: 8, opset_import: ["": 17]>\n'


def build(text: str, **initializers: Any) -> bytes:
    """A serialized model; arrays become initializers of these names. Without a header, IR version 8 and opset 17."""
    model = onnx.parser.parse_model(text if text.lstrip().startswith("<") else HEADER + text)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in initializers.items())
    return model.SerializeToString()


@pytest.fixture
def model() -> Callable[..., bytes]:
    return build
