"""The algebra table, checked on ONNX Runtime: NaN, infinities, signed zeros, extreme integers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from onnx_opt import traits
from onnx_opt_rules.tables import algebra

ort = pytest.importorskip("onnxruntime")
ort.set_default_logger_severity(4)

DTYPES = ("float32", "float64", "float16", "int8", "int32", "int64", "uint8", "uint64", "bool")
RNG = np.random.default_rng(11)


def samples(dtype: str) -> np.ndarray:
    if dtype == "bool":
        return np.array([True, False, True])
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return np.array([info.min, info.max, 0, 1, info.max - 1, info.min + 1, 7, 3], dtype)
    largest = float(ml_dtypes.finfo(dtype).max)
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 0.5, -0.5, 1.5, 2.5, 1e-7, largest, -largest]
    return np.concatenate([special, RNG.standard_normal(40) * 10]).astype(dtype)


def run(nodes: list[tuple[str, list[str], str]], feeds: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """The results of the nodes that are written (op, operands, result); None where there is no kernel."""
    graph = helper.make_graph([helper.make_node(op, operands, [name]) for op, operands, name in nodes], "g", [], [])
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in feeds.items())
    graph.output.extend(ValueInfoProto(name=name) for _, _, name in nodes)
    model = ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 21)], graph=graph)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return None
    return list(session.run(None, {}))


def same(a: np.ndarray, b: np.ndarray, zeros: bool = True) -> bool:
    equal = (a == b) | ((a != a) & (b != b))
    if zeros and a.dtype.kind == "f":
        equal &= (np.signbit(a) == np.signbit(b)) | (a != a)
    return bool(equal.all())


def check(op: str, nodes: list[tuple[str, list[str], str]], compare: Any) -> None:
    compared = 0
    for dtype in DTYPES:
        x = samples(dtype)
        feeds = {"x": np.repeat(x, len(x)), "z": np.tile(x, len(x))}
        results = run(nodes, {name: feeds[name] for name in feeds if any(name in operands for _, operands, _ in nodes)})
        if results is not None:
            compared += 1
            assert compare(feeds, results), (op, dtype)
    assert compared, f"ONNX Runtime runs {op} on no type"


@pytest.mark.parametrize("op", algebra.IDEMPOTENT.split())
def test_idempotent(op: str) -> None:
    check(op, [(op, ["x"], "a"), (op, ["a"], "b")], lambda feeds, results: same(results[0], results[1]))


@pytest.mark.parametrize("op", algebra.INVOLUTIONS.split())
def test_involution(op: str) -> None:
    check(op, [(op, ["x"], "a"), (op, ["a"], "b")], lambda feeds, results: same(feeds["x"], results[1]))


@pytest.mark.parametrize("op", algebra.SELECTIVE.split())
def test_selective(op: str) -> None:
    check(op, [(op, ["x", "x"], "a")], lambda feeds, results: same(feeds["x"], results[0]))


@pytest.mark.parametrize("op", algebra.COMMUTATIVE.split())
def test_commutative(op: str) -> None:
    zeros = op not in {"Max", "Min"}
    nodes = [(op, ["x", "z"], "a"), (op, ["z", "x"], "b")]
    check(op, nodes, lambda feeds, results: same(results[0], results[1], zeros))


@pytest.mark.parametrize("op", ["Sub", "Div", "Pow", "Less", "Mod", "MatMul", "PRelu", "Where", "BitShift"])
def test_not_commutative(op: str) -> None:
    assert not traits.is_commutative("", op)
