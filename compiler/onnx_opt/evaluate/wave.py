"""One ONNX Runtime session over a few nodes: build the model, run it in the worker, fetch only what is needed later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from onnx import GraphProto, ModelProto, ValueInfoProto, helper, numpy_helper

from onnx_opt import worker
from onnx_opt.evaluate.arrays import Arrays
from onnx_opt.evaluate.compute import IR_VERSION
from onnx_opt.evaluate.kernels import Declined
from onnx_opt.ir.tensors import element_type

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

NODE_NAME = "node_"
"""Nodes are called node_0, node_1... in the order given, so that messages can be traced back."""

SMALL = 1_024
"""Bytes up to which an operand is an initializer instead of an input: cheaper to make than a feed."""

MAX_INLINE = 1 << 30
"""Bytes of initializers, of which protobuf allows less than 2 GiB."""

_COMPUTE, _NEWEST = "onnx_opt.evaluate.compute:compute", "onnx_opt.evaluate.compute:newest_operator_set"

_FED = frozenset(map(np.dtype, ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")))


def run(nodes: Sequence[Node], arrays: Arrays, versions: dict[str, int]) -> None:
    """Compute `nodes`, whose operands are in `arrays` or come from earlier nodes, and store their results.

    ``versions``: the operator sets to import. Raises RuntimeError with what ONNX Runtime says, and `worker.Crashed`
    where it crashes; then nothing is stored.
    """
    wave = _Wave(nodes, arrays, versions)
    results = worker.shared().apply(_COMPUTE, wave.model(), wave.feeds)
    for value, name in wave.fetched.items():
        if name in results:
            arrays.store_value(value, results[name])
    for node in nodes:
        arrays.finish(node)


class _Wave:
    """The model of one session, by the names v0, v1... of its values."""

    def __init__(self, nodes: Sequence[Node], arrays: Arrays, versions: dict[str, int]) -> None:
        self.nodes = nodes
        self.feeds: dict[str, np.ndarray] = {}
        self.names: dict[Value, str] = {}
        self.graph = GraphProto(name="wave")
        self._inline = 0
        reads: Counter[Value] = Counter()
        for node in nodes:
            reads.update(node.inputs)
            self._add_node(node, arrays)
        results = (value for node in nodes for value in node.outputs if value.name)
        self.fetched = {value: self.names[value] for value in results if arrays.is_needed(value, reads[value])}
        self.opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
        if "" not in versions:
            self.opsets.append(helper.make_opsetid("", min(v for v in (17, newest()) if v)))

    def _add_node(self, node: Node, arrays: Arrays) -> None:
        for value in node.inputs:
            if value.name and value not in self.names:
                array = arrays.get(value)
                assert array is not None
                self._add_operand(self._name(value), array)
        proto = node.proto()
        del proto.input[:], proto.output[:]
        proto.input.extend(self.names[value] if value.name else "" for value in node.inputs)
        proto.output.extend(self._name(value) if value.name else "" for value in node.outputs)
        proto.name = f"{NODE_NAME}{len(self.graph.node)}"
        self.graph.node.append(proto)

    def _name(self, value: Value) -> str:
        return self.names.setdefault(value, f"v{len(self.names)}")

    def _add_operand(self, name: str, array: np.ndarray) -> None:
        if array.nbytes > SMALL and array.dtype in _FED:
            self.feeds[name] = array
            self.graph.input.append(helper.make_tensor_value_info(name, element_type(array.dtype), array.shape))
            return
        self._inline += array.nbytes
        if self._inline > MAX_INLINE:
            raise Declined(f"more than {MAX_INLINE} bytes of {array.dtype}")
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))

    def model(self) -> bytes:
        """The nodes as a model; its outputs are the values to be fetched."""
        model = ModelProto(ir_version=IR_VERSION, opset_import=self.opsets)
        model.graph.CopyFrom(self.graph)
        model.graph.output.extend(ValueInfoProto(name=name) for name in self.fetched.values())
        return model.SerializeToString()


@cache
def newest() -> int:
    """The newest standard operator set that the installed ONNX Runtime loads; 0 if it loads none."""
    from onnx_opt import schemas

    return int(worker.shared().apply(_NEWEST, schemas.newest_version()))
