"""What the layout tests share: small models in Python, the pass on them, and what is transposed in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnx_opt.ir import load, to_bytes
from onnx_opt.passes import PassContext
from onnx_opt.pipeline import Pipeline
from onnx_opt.validate import prove


class Net:
    """A model under construction. `net.op("Conv", x, w, pads=[...])` adds a node and returns the name of its result;
    arrays become initializers."""

    def __init__(self, opset: int = 17, seed: int = 0):
        self.opset = opset
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def input(self, name: str, dims: list[Any], kind: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def constant(self, array: Any) -> str:
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, *dims: int) -> np.ndarray:
        return self.random.uniform(-1, 1, dims).astype(np.float32)

    def op(self, kind: str, *operands: Any, outputs: int = 1, name: str = "", **attrs: Any) -> Any:
        names = [item if isinstance(item, str) else self.constant(item) for item in operands]
        results = [f"v{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, results, name=name or f"n{len(self.nodes)}", **attrs))
        return results[0] if outputs == 1 else results

    def transpose(self, x: str, perm: Any) -> str:
        return self.op("Transpose", x, perm=list(perm))

    def output(self, value: str, kind: int = TensorProto.FLOAT) -> None:
        self.outputs.append(helper.make_tensor_value_info(value, kind, None))

    def model(self, *, typed: bool = True) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8 if self.opset < 21 else 10)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True) if typed else model


def optimized(model: onnx.ModelProto, pipeline: str = "layout,cleanup") -> tuple[onnx.ModelProto, PassContext]:
    """The model after the pipeline, checked and proven to compute the same."""
    context = PassContext()
    graph = load(model)
    Pipeline.parse(pipeline).run(graph, context)
    result = onnx.ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(result, full_check=True)
    verdict = prove(model.SerializeToString(), result.SerializeToString(), samples=2)
    assert verdict.status == "proven", verdict.reason
    return result, context


def count(model: onnx.ModelProto, kind: str) -> int:
    return sum(node.op_type == kind for node in model.graph.node)


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def transposed_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the operands of the Transposes; a symbolic dim counts as 1."""
    total = 0
    for node in load(model):
        if node.op == "Transpose":
            dims = node.inputs[0].dims or ()
            total += 4 * int(np.prod([dim if isinstance(dim, int) else 1 for dim in dims]))
    return total


def cost(model: onnx.ModelProto) -> tuple[int, int]:
    """What the layout pass makes smaller: transposed bytes, then the number of Transposes."""
    from onnx_opt.report import measure

    stats = measure(load(model))
    return stats.transposed_bytes, stats.transposes
