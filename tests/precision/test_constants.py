"""Constants at rest: what rounding costs, and that large ones are neither copied nor held."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import numpy as np
import onnx
import onnx.helper as helper
import pytest
from onnx import TensorProto, numpy_helper

from onnx_opt.ir import load, save, to_bytes
from onnx_opt.ir.load import load_bytes
from onnx_opt.passes import PassContext
from onnx_opt.precision import lower
from onnx_opt.precision.rounding import CHUNK, measure

FLOAT16, BFLOAT16 = int(TensorProto.FLOAT16), int(TensorProto.BFLOAT16)


def matmul(weight: np.ndarray) -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [info("x", TensorProto.FLOAT, [1, weight.shape[0]])],
        [info("y", TensorProto.FLOAT, [1, weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_overflow_underflow_and_error_are_counted():
    array = np.array([1.0, 1e6, -1e6, np.inf, np.nan, 1e-9, 0.0, 1 + 2.0**-11], np.float32)
    found = measure("w", array, FLOAT16)
    assert (found.count, found.overflows, found.underflows) == (8, 2, 1)
    assert found.error == np.inf
    assert found.worst == pytest.approx(2.0**-11, rel=1e-3)
    assert measure("w", array, BFLOAT16).overflows == 0


def test_the_error_of_a_whole_tensor():
    array = np.random.default_rng(3).standard_normal(10_000).astype(np.float32)
    assert 1e-4 < measure("w", array, FLOAT16).error < 3e-4
    assert 1e-3 < measure("w", array, BFLOAT16).error < 3e-3
    assert measure("w", array * 1e-9, FLOAT16).error == 1
    assert measure("w", np.zeros(3, np.float32), FLOAT16).error == 0


def test_parts_are_summed_up():
    array = np.zeros(CHUNK + 5, np.float32)
    array[[0, -1]] = 1e9
    assert measure("w", array, FLOAT16).overflows == 2


@pytest.mark.parametrize(("elem_type", "dtype"), [(FLOAT16, np.float16), (BFLOAT16, ml_dtypes.bfloat16)])
def test_rounded_to_nearest_even(elem_type, dtype):
    weight = np.random.default_rng(5).standard_normal((8, 8)).astype(np.float32)
    graph = load_bytes(matmul(weight).SerializeToString(), None)
    done = lower(graph, PassContext(), elem_type)
    stored = onnx.ModelProto.FromString(to_bytes(graph)).graph.initializer[0]
    assert stored.data_type == elem_type
    assert (numpy_helper.to_array(stored).astype(np.float32) == weight.astype(dtype).astype(np.float32)).all()
    assert [(r.name, r.count, r.overflows) for r in done.constants] == [("w", 64, 0)]


@pytest.mark.parametrize("external", [False, True])
def test_large_weights_are_rounded_while_they_are_written(tmp_path, external):
    weight = np.random.default_rng(7).standard_normal((4096, 2048)).astype(np.float32)  # 32 MiB
    onnx.save(matmul(weight), tmp_path / "in.onnx", save_as_external_data=external, location="in.data")
    graph = load(tmp_path / "in.onnx")
    tracemalloc.start()
    lower(graph, PassContext(), FLOAT16)
    save(graph, tmp_path / "out.onnx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 << 20  # the rounded weight once (16 MiB), and the parts that were measured
    result = onnx.load(tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx.data").exists() == external
    assert (numpy_helper.to_array(result.graph.initializer[0]) == weight.astype(np.float16)).all()


def test_a_failed_pass_leaves_constants_as_they_were():
    model = matmul(np.ones((4, 4), np.float32))
    graph = load_bytes(model.SerializeToString(), None)
    with pytest.raises(RuntimeError), graph.model.transaction():
        lower(graph, PassContext(), FLOAT16)
        raise RuntimeError
    (constant,) = graph.constants
    assert constant.elem_type == TensorProto.FLOAT and constant.values.dtype == np.float32
    assert graph.inputs[0].elem_type == graph.outputs[0].elem_type == TensorProto.FLOAT
    assert [node.op for node in graph] == ["MatMul"]


def test_sparse_weights_stay_sparse():
    model = matmul(np.eye(4, dtype=np.float32))
    del model.graph.initializer[:]
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [0.1, 2.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [1, 6])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 4]))
    graph = load_bytes(model.SerializeToString(), None)
    done = lower(graph, PassContext(), FLOAT16)
    result = onnx.ModelProto.FromString(to_bytes(graph))
    assert len(done.casts) == 2 and not result.graph.initializer
    stored = result.graph.sparse_initializer[0]
    assert stored.values.data_type == FLOAT16 and list(stored.dims) == [4, 4] and stored.values.name == "w"
    assert numpy_helper.to_array(stored.values).tolist() == [np.float16(0.1), 2.0]
