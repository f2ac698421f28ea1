"""What the tests of quantization share: models in ONNX text, and what came of them in a form that reads easily."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.checker
from onnx import numpy_helper

import onnx_opt
from onnx_opt.api import Result
from onnx_text import parse

OPSET_21 = '<ir_version: 10, opset_import: ["" : 21]>\n'


def weights(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


CNN = """g (float[N,3,8,8] x) => (float[N,10] y) {
    a = Conv <pads=[1,1,1,1]> (x, w1, b1) r = Relu(a) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
    c = Conv <pads=[1,1,1,1]> (p, w2) s = Add(c, p) t = Relu(s) m = GlobalAveragePool(t) f = Flatten(m)
    y = Gemm(f, w3, b3)
}"""
WEIGHTS = {
    "w1": weights(1, 8, 3, 3, 3),
    "b1": weights(2, 8),
    "w2": weights(3, 8, 8, 3, 3) / 8,
    "w3": weights(4, 8, 10),
    "b3": weights(5, 10),
}


def model(text: str, **constants: np.ndarray) -> onnx.ModelProto:
    """A model from text with initializers beside it."""
    proto = parse(text)
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    return proto


def feeds(proto: onnx.ModelProto, count: int = 8, seed: int = 0, scale: float = 1.0) -> list[dict[str, np.ndarray]]:
    """Random samples; unknown dims are 1."""
    random = np.random.default_rng(seed)
    shapes = {v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in proto.graph.input}
    return [
        {name: (scale * random.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(count)
    ]


def quantized(
    proto: onnx.ModelProto, options: str = "", passes: str = "quantize{OPTIONS}", data=None, **how
) -> tuple[onnx.ModelProto, Result]:
    """The model after `quantize`, checked in full, and the result."""
    text = passes.replace("{OPTIONS}", f"{{{options}}}" if options else "")
    result = onnx_opt.optimize(proto, text, data=data if data is not None else feeds(proto), **how)
    found = result.to_proto()
    onnx.checker.check_model(found, full_check=True)
    return found, result


def described(proto: onnx.ModelProto) -> str:
    """The nodes in order, one a line; what is read through DequantizeLinear bears a mark: Conv(x', w', b)."""
    names: dict[str, str] = {}
    lines = []
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear":
            names[node.output[0]] = node.input[0]
        elif node.op_type == "DequantizeLinear":
            stored = names.get(node.input[0], node.input[0].rpartition("_")[0])
            names[node.output[0]] = f"{stored}'"
        else:
            operands = [names.get(name, name) for name in node.input]
            lines.append(f"{', '.join(node.output)} = {node.op_type}({', '.join(operands)})")
    return "\n".join(lines)


def initializer(proto: onnx.ModelProto, suffix: str) -> np.ndarray:
    """The only initializer whose name ends so."""
    (found,) = (tensor for tensor in proto.graph.initializer if tensor.name.endswith(suffix))
    return numpy_helper.to_array(found)
