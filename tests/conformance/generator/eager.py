"""One node at a time in ONNX Runtime, on every feed: what it computes, or that it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Value = Any
"""An array, or a list of arrays."""
LARGEST = 4096
"""Elements of one tensor; models stay small so that many of them can be tried."""
BFLOAT16 = TensorProto.BFLOAT16


class Refused(Exception):
    """The node is not valid on these operands."""


def run(
    node: onnx.NodeProto,
    operands: Mapping[str, Sequence[Value]],
    constants: frozenset[str],
    opsets: Sequence[onnx.OperatorSetIdProto],
    functions: Sequence[onnx.FunctionProto] = (),
) -> list[tuple[Value, ...]]:
    """The results of `node`: for each, its value for every feed. `operands` has the values of all it reads, captured
    ones included, and `constants` says which of them are initializers. Raises `Refused`."""
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    session = _session(bare, operands, constants, opsets, functions, {})
    narrow = {o.name: o.type for o in session.get_outputs() if o.type == "tensor(bfloat16)"}
    if narrow:
        session = _session(bare, operands, constants, opsets, functions, narrow)
    fed = [name for name in operands if name not in constants]
    rows = []
    for world in range(max(map(len, operands.values()), default=1)):
        feed = dict(_carried(name, operands[name][world]) for name in fed)
        try:
            rows.append(session.run(None, feed))
        except Exception as error:
            raise Refused(str(error)) from error
    values = [tuple(column) for column in zip(*rows, strict=True)]
    named = [name for name in node.output if name]
    return [_back(column, name in narrow) for name, column in zip(named, values, strict=True)]


def _session(
    node: onnx.NodeProto,
    operands: Mapping[str, Sequence[Value]],
    constants: frozenset[str],
    opsets: Sequence[onnx.OperatorSetIdProto],
    functions: Sequence[onnx.FunctionProto],
    narrow: Mapping[str, str],
) -> Any:
    graph = onnx.GraphProto(name="one")
    for name, values in operands.items():
        if name in constants:
            graph.initializer.append(numpy_helper.from_array(values[0], name))
        else:
            _feed(graph, name, values[0])
    graph.node.append(node)
    for name in node.output:
        if name and name in narrow:
            graph.node.append(helper.make_node("Cast", [name], [f"{name}.wide"], to=TensorProto.FLOAT))
        if name:
            graph.output.add().name = f"{name}.wide" if name in narrow else name
    model = helper.make_model(graph, ir_version=10, opset_imports=opsets, functions=functions)
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), _options(), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Refused(str(error)) from error


def _feed(graph: onnx.GraphProto, name: str, value: Value) -> None:
    """An input; numpy has no bfloat16 that ONNX Runtime takes, so such a value comes in as float32."""
    if isinstance(value, list):
        inner = helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value[0].dtype), None)
        graph.input.append(helper.make_value_info(name, helper.make_sequence_type_proto(inner)))
        return
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    if kind == BFLOAT16:
        graph.node.append(helper.make_node("Cast", [f"{name}.wide"], [name], to=BFLOAT16))
        kind, name = TensorProto.FLOAT, f"{name}.wide"
    graph.input.append(helper.make_tensor_value_info(name, kind, [None] * value.ndim))


def _carried(name: str, value: Value) -> tuple[str, Value]:
    is_narrow = isinstance(value, np.ndarray) and value.dtype.name == "bfloat16"
    return (f"{name}.wide", value.astype(np.float32)) if is_narrow else (name, value)


def _back(column: tuple[Value, ...], narrow: bool) -> tuple[Value, ...]:
    for value in column:
        for part in value if isinstance(value, list) else [value]:
            if not isinstance(part, np.ndarray) or part.size > LARGEST:
                raise Refused("no tensor, or a large one")
    if isinstance(column[0], list):
        if not all(column):
            raise Refused("an empty sequence has no type")
        return column
    if len({value.ndim for value in column}) > 1:
        raise Refused("the rank depends on the sizes")
    if not narrow:
        return column
    import ml_dtypes

    return tuple(value.astype(ml_dtypes.bfloat16) for value in column)


_OPTIONS: list[Any] = []


def _options() -> Any:
    if not _OPTIONS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.enable_mem_pattern = False
        options.add_session_config_entry("session.disable_prepacking", "1")
        _OPTIONS.append(options)
    return _OPTIONS[0]
