"""Graphs in ONNX text, and what the analyses say of their values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnx.parser
import pytest

from onnx_opt.analysis import Facts
from onnx_opt.ir import Graph, Value, load

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'


class Known:
    """The facts of a model, by value name."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.facts: Facts = graph.model.facts
        self.facts.strict = True

    def __getitem__(self, name: str) -> Value:
        for graph in self.graph.model.all_graphs():
            values = [*graph.inputs, *graph.constants, *(value for node in graph for value in node.outputs)]
            for value in values:
                if value.name == name:
                    return value
        raise KeyError(name)

    def dims(self, name: str) -> str:
        """The dims as text, '?' for each that is only known to the analysis; 'unknown' without a rank."""
        dims = self.facts.dims(self[name])
        if dims is None:
            return "unknown"
        return ", ".join("?" if self.facts.shapes.is_made(dim) else str(dim) for dim in dims)

    def content(self, name: str) -> Any:
        """The content as nested lists of ints and text."""
        found = self.facts.content(self[name])
        if found is None:
            return None
        text = [item if isinstance(item, int) else str(item) for item in found.reshape(-1).tolist()]
        return text if found.ndim else text[0]


@pytest.fixture
def know() -> Callable[..., Known]:
    """Loads a model from ONNX text (IR version 8 and opset 17 without a header)."""

    def read(text: str) -> Known:
        source = text if text.lstrip().startswith("<") else HEADER + text
        return Known(load(onnx.parser.parse_model(source)))

    return read
