"""ONNX Runtime as the judge of what a node computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from onnx_opt.ir import Graph, load

Arrays = Sequence[np.ndarray | None]


def one_node(
    op: str, operands: Arrays, results: int = 1, version: int = 21, domain: str = "", **attrs: Any
) -> ModelProto:
    """A model of one node whose operands are initializers; None is an absent operand."""
    names = ["" if array is None else f"x{i}" for i, array in enumerate(operands)]
    outputs = [f"y{i}" for i in range(results)]
    graph = helper.make_graph([helper.make_node(op, names, outputs, domain=domain, **attrs)], "test", [], [])
    given = [(array, name) for array, name in zip(operands, names, strict=True) if array is not None]
    graph.initializer.extend(numpy_helper.from_array(array, name) for array, name in given)
    graph.output.extend(ValueInfoProto(name=name) for name in outputs)
    opsets = [helper.make_opsetid("", version), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return ModelProto(ir_version=10, opset_import=opsets, graph=graph)


def run_in_onnxruntime(model: ModelProto, feeds: dict[str, np.ndarray] | None = None) -> list[Any]:
    """All outputs of a model, without optimizations, nodes or weights rearranged."""
    ort = pytest.importorskip("onnxruntime")
    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds or {}))


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal in type, shape and bits; two NaNs are equal whatever their payload, which IEEE leaves open."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind == "O":
        return bool((a == b).all())
    if a.dtype.kind in "biu":
        return bool(np.array_equal(a, b))
    bits = np.dtype(f"u{a.itemsize}")
    equal = np.ascontiguousarray(a).view(bits) == np.ascontiguousarray(b).view(bits)
    return bool((equal | ((a != a) & (b != b))).all())


@pytest.fixture(scope="session")
def node_model() -> Callable[..., ModelProto]:
    return one_node


@pytest.fixture(scope="session")
def node_graph() -> Callable[..., Graph]:
    def build(*args: Any, **kwargs: Any) -> Graph:
        return load(one_node(*args, **kwargs).SerializeToString())

    return build


@pytest.fixture(scope="session")
def reference() -> Callable[..., list[Any]]:
    return run_in_onnxruntime


@pytest.fixture(scope="session")
def equal_bits() -> Callable[[np.ndarray, np.ndarray], bool]:
    return same_bits
