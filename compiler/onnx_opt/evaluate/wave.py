"""One ONNX Runtime session over a few nodes: build the model, run it, fetch only what is needed later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from onnx_opt.evaluate.arrays import Arrays
from onnx_opt.evaluate.kernels import Declined
from onnx_opt.ir.tensors import element_type, numpy_dtype

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

NODE_NAME = "node_"
"""Nodes are called node_0, node_1... in the order given, so that messages can be traced back."""

IR_VERSION = 10
SMALL = 1_024
"""Bytes up to which an operand is an initializer instead of an input: cheaper to make than a feed."""

MAX_INLINE = 1 << 30
"""Bytes of initializers, of which protobuf allows less than 2 GiB."""

FETCHED_AS: dict[str, tuple[int, int]] = {
    "tensor(bfloat16)": (TensorProto.BFLOAT16, TensorProto.FLOAT),
    "tensor(float8e4m3fn)": (TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT),
    "tensor(float8e4m3fnuz)": (TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT),
    "tensor(float8e5m2)": (TensorProto.FLOAT8E5M2, TensorProto.FLOAT),
    "tensor(float8e5m2fnuz)": (TensorProto.FLOAT8E5M2FNUZ, TensorProto.FLOAT),
    "tensor(int4)": (TensorProto.INT4, TensorProto.INT8),
    "tensor(uint4)": (TensorProto.UINT4, TensorProto.UINT8),
}
"""Types that ONNX Runtime's Python interface can't return, and the wider ones they come back as (exactly)."""

FETCHED = frozenset(
    ["tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bool)", "tensor(string)"]
    + [f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)

_FED = frozenset(map(np.dtype, ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")))


def run(nodes: Sequence[Node], arrays: Arrays, versions: dict[str, int]) -> None:
    """Compute `nodes`, whose operands are in `arrays` or come from earlier nodes, and store their results.

    ``versions``: the operator sets to import. Raises whatever ONNX Runtime raises, then nothing is stored.
    """
    wave = _Wave(nodes, arrays, versions)
    session = wave.session({})
    kinds = {output.name: output.type for output in session.get_outputs()}
    narrow = {name: FETCHED_AS[kind] for name, kind in kinds.items() if kind in FETCHED_AS}
    if narrow:
        session = wave.session(narrow)
        kinds = {output.name: output.type for output in session.get_outputs()}
    fetched = [name for name, kind in kinds.items() if kind in FETCHED]
    # An empty list would fetch everything, sequences included.
    results = dict(zip(fetched, session.run(fetched, wave.feeds) if fetched else [], strict=True))
    for value, name in wave.fetched.items():
        result = results.get(_widened(name) if name in narrow else name)
        if result is not None:
            arrays.store_value(value, _narrowed(result, narrow[name][0]) if name in narrow else result)
    for node in nodes:
        arrays.finish(node)


def _widened(name: str) -> str:
    return f"{name}_widened"


def _narrowed(array: np.ndarray, elem_type: int) -> np.ndarray:
    """The array in the type that it had before it was widened."""
    dtype = numpy_dtype(elem_type)
    if elem_type == TensorProto.BFLOAT16:  # the upper half of the bits, also of NaN
        return (array.view(np.uint32) >> 16).astype(np.uint16).view(dtype)
    return array.astype(dtype)


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

    def session(self, widened: dict[str, tuple[int, int]]) -> Any:
        """A session over the nodes; the results named in `widened` pass a Cast to the second of the two types."""
        model = ModelProto(ir_version=IR_VERSION, opset_import=self.opsets)
        model.graph.CopyFrom(self.graph)
        for name in self.fetched.values():
            if name not in widened:
                model.graph.output.append(ValueInfoProto(name=name))
                continue
            to = widened[name][1]
            model.graph.node.append(helper.make_node("Cast", [name], [_widened(name)], to=to))
            model.graph.output.append(ValueInfoProto(name=_widened(name)))
        return _load(model)


def _load(model: ModelProto) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(model.SerializeToString(), _options(), providers=["CPUExecutionProvider"])


@cache
def _options() -> Any:
    """No optimization, one thread, and no packing of weights, which changes the last bits of a MatMul."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_prepacking", "1")
    return options


@cache
def newest() -> int:
    """The newest standard operator set that the installed ONNX Runtime loads; 0 if it loads none."""
    from onnx_opt import schemas

    return next((version for version in range(schemas.newest_version(), 6, -1) if _loads(version)), 0)


def _loads(version: int) -> bool:
    graph = helper.make_graph([], "probe", [], [], [])
    graph.node.append(helper.make_node("Identity", ["x"], ["y"]))
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "x"))
    graph.output.append(ValueInfoProto(name="y"))
    try:
        _load(ModelProto(ir_version=IR_VERSION, opset_import=[helper.make_opsetid("", version)], graph=graph))
    except Exception:
        return False
    return True
