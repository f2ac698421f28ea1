"""What the worker does for constant folding: run one small model, and return its outputs as numpy arrays.

Outputs whose types ONNX Runtime's Python interface can't return come back through a wider type that holds them exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnx_opt.ir.tensors import numpy_dtype

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

IR_VERSION = 10


def compute(model: bytes, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Output -> array; outputs that are no tensors, or that Python can't have, are left out. Raises RuntimeError."""
    try:
        return _compute(ModelProto.FromString(model), feeds)
    except Exception as error:  # ONNX Runtime's exceptions are not for a process that has not imported it
        raise RuntimeError(str(error)) from error


def newest_operator_set(highest: int) -> int:
    """The newest standard operator set up to `highest` that ONNX Runtime loads; 0 if it loads none."""
    return next((version for version in range(highest, 6, -1) if _loads(version)), 0)


def _compute(model: ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = _session(model)
    kinds = {output.name: output.type for output in session.get_outputs()}
    narrow = {name: FETCHED_AS[kind] for name, kind in kinds.items() if kind in FETCHED_AS}
    if narrow:
        session = _session(_with_casts(model, narrow))
    fetched = [name for name, kind in kinds.items() if kind in FETCHED or name in narrow]
    # An empty list would fetch everything, sequences included.
    results = session.run([_widened(name) if name in narrow else name for name in fetched], feeds) if fetched else []
    return {
        name: _narrowed(result, narrow[name][0]) if name in narrow else result
        for name, result in zip(fetched, results, strict=True)
    }


def _with_casts(model: ModelProto, narrow: dict[str, tuple[int, int]]) -> ModelProto:
    """The model with the outputs in `narrow` cast to the second of their two types."""
    widened = ModelProto()
    widened.CopyFrom(model)
    for output in widened.graph.output:
        if output.name in narrow:
            to = narrow[output.name][1]
            widened.graph.node.append(helper.make_node("Cast", [output.name], [_widened(output.name)], to=to))
            output.name = _widened(output.name)
    return widened


def _widened(name: str) -> str:
    return f"{name}_widened"


def _narrowed(array: np.ndarray, elem_type: int) -> np.ndarray:
    """The array in the type that it had before it was widened."""
    dtype = numpy_dtype(elem_type)
    if elem_type == TensorProto.BFLOAT16:  # the upper half of the bits, also of NaN
        return (array.view(np.uint32) >> 16).astype(np.uint16).view(dtype)
    return array.astype(dtype)


def _session(model: ModelProto) -> Any:
    """No optimization, one thread, and no packing of weights, which changes the last bits of a MatMul."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_prepacking", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _loads(version: int) -> bool:
    graph = helper.make_graph([], "probe", [], [helper.make_empty_tensor_value_info("y")])
    graph.node.append(helper.make_node("Identity", ["x"], ["y"]))
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "x"))
    try:
        _session(ModelProto(ir_version=IR_VERSION, opset_import=[helper.make_opsetid("", version)], graph=graph))
    except Exception:
        return False
    return True
