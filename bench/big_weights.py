"""A model of any size, written weight by weight: memory stays at one of them, where a message would need all, twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 20, 10
MAX_WIDTH = 4096
MIN_LAYERS = 4
FLOAT_BYTES = 4


def layout(size: int) -> tuple[int, int]:
    """(width, layers) of square float32 weights that take about `size` bytes together, and no more."""
    width = 8
    while width < MAX_WIDTH and MIN_LAYERS * FLOAT_BYTES * (2 * width) ** 2 <= size:
        width *= 2
    return width, max(1, size // (FLOAT_BYTES * width**2))


def mlp_graph(width: int, layers: int) -> tuple[onnx.GraphProto, list[TensorProto]]:
    """The graph with its small constants, and the large weights without their payload.

    Every layer is MatMul, Add, Relu and the Identity that a dropout leaves behind: there is something to rewrite in
    each, and no weight has to change for it.
    """
    bias = numpy_helper.from_array(np.full(width, 0.01, np.float32), "bias")
    nodes, weights, x = [], [], "x"
    for index in range(layers):
        weights.append(TensorProto(name=f"weight_{index}", data_type=TensorProto.FLOAT, dims=[width, width]))
        for op, operand in (("MatMul", f"weight_{index}"), ("Add", "bias"), ("Relu", None), ("Identity", None)):
            result = f"{op}_{index}.0"
            nodes.append(helper.make_node(op, [x, operand] if operand else [x], [result], name=f"{op}_{index}"))
            x = result
    nodes.append(helper.make_node("Tanh", [x], ["y"], name="Tanh"))
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]) for name in ("x", "y")]
    return helper.make_graph(nodes, "mlp", shapes[:1], shapes[1:], [bias]), weights


def payloads(width: int, layers: int) -> Iterator[bytes]:
    """Random weights scaled by fan-in, one layer at a time, the same every time."""
    random = np.random.Generator(np.random.PCG64(0))
    for _ in range(layers):
        block = random.standard_normal((width, width), np.float32) * np.float32((2.0 / width) ** 0.5)
        yield block.astype("<f4").tobytes()


def write_mlp(path: Path, size: int, *, external: bool) -> None:
    """Write a multilayer perceptron with about `size` bytes of weights, in the model file or in `<name>.data`."""
    width, layers = layout(size)
    graph, weights = mlp_graph(width, layers)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="onnx-opt bench")
    data = payloads(width, layers)
    payload_size = FLOAT_BYTES * width**2
    if external:
        write_external(path, model, weights, payload_size, data)
        return
    with path.open("wb") as file:
        write_inline(file, model, weights, payload_size, data)


def write_external(
    path: Path, model: onnx.ModelProto, weights: list[TensorProto], payload_size: int, data: Iterator[bytes]
) -> None:
    location = path.name + ".data"
    for index, tensor in enumerate(weights):
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": location, "offset": index * payload_size, "length": payload_size}
        tensor.external_data.extend(onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in entries.items())
    model.graph.initializer.extend(weights)
    path.write_bytes(model.SerializeToString(deterministic=True))
    with path.with_name(location).open("wb") as file:
        file.writelines(data)


def write_inline(
    file: BinaryIO, model: onnx.ModelProto, weights: list[TensorProto], payload_size: int, data: Iterator[bytes]
) -> None:
    """Write the fields in the order of their numbers, as protobuf does, with every length known beforehand."""
    graph = model.graph
    model_head = onnx.ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    model_tail = onnx.ModelProto(opset_import=model.opset_import)
    head = onnx.GraphProto(node=graph.node, name=graph.name, initializer=graph.initializer).SerializeToString()
    tail = onnx.GraphProto(input=graph.input, output=graph.output).SerializeToString()
    prefixes = [tensor.SerializeToString() + field(tensor, "raw_data", payload_size) for tensor in weights]
    prefixes = [field(graph, "initializer", len(prefix) + payload_size) + prefix for prefix in prefixes]
    graph_size = len(head) + sum(map(len, prefixes)) + len(weights) * payload_size + len(tail)
    file.write(model_head.SerializeToString() + field(model, "graph", graph_size) + head)
    for prefix, payload in zip(prefixes, data, strict=True):
        file.write(prefix)
        file.write(payload)
    file.write(tail + model_tail.SerializeToString())


def field(message: TensorProto | onnx.GraphProto | onnx.ModelProto, name: str, size: int) -> bytes:
    """What precedes `size` bytes of the length-delimited field `name` in a serialized `message`."""
    return varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | 2) + varint(size)


def varint(number: int) -> bytes:
    """Base 128, least significant group first (the encoding of protobuf)."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(groups) + bytes([number])
