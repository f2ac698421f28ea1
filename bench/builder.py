"""What the generators of models share: a graph in the making, with numbered names and seeded weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from big_weights import IR_VERSION, OPSET
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


@dataclass
class Builder:
    """A graph in the making. Every name is numbered, every weight comes from one seeded generator."""

    random: np.random.Generator = field(default_factory=lambda: np.random.Generator(np.random.PCG64(0)))
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[TensorProto] = field(default_factory=list)
    prefix: str = ""
    opset: int = OPSET

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Append a node and return the name of its first output."""
        name = f"{self.prefix}{op}_{len(self.nodes)}"
        names = [f"{name}.{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return names[0]

    def branch(self, prefix: str) -> Builder:
        """A graph within this one: its names begin with `prefix`, its weights are those of this one."""
        return Builder(self.random, [], self.weights, prefix, self.opset)

    def weight(self, array: np.ndarray) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def normal(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> str:
        return self.weight((self.random.standard_normal(shape) * scale + mean).astype(np.float32))

    def scalar(self, value: float) -> str:
        return self.node("Constant", value=numpy_helper.from_array(np.array(value, np.float32)))

    def integers(self, *values: int, rank: int = 1) -> str:
        """A Constant node, as exporters write small integers."""
        array = np.array(values, np.int64).reshape(() if rank == 0 else -1)
        return self.node("Constant", value=numpy_helper.from_array(array))

    def rename_last(self, name: str) -> None:
        self.nodes[-1].output[0] = name

    def model(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="onnx-opt bench")


def value(name: str, elem_type: int, *dims: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, dims)
