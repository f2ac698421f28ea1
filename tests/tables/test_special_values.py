"""NaN, integers without a result, tensors without elements: what the tables say, and what ONNX Runtime does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, ValueInfoProto, defs, helper, numpy_helper

from onnx_opt import traits
from onnx_opt.evaluate.kernels import NEWEST_OPSET
from onnx_opt_rules.tables import special_values

ort = pytest.importorskip("onnxruntime")
ort.set_default_logger_severity(4)

LENGTH = 21  # more than two vectors of eight, and a rest
FLOATS = ("float32", "float64", "float16")


def run(op: str, *operands: np.ndarray, version: int = 21, **attributes: Any) -> np.ndarray | None:
    """The first result of an operator; None where ONNX Runtime has no kernel."""
    names = [f"x{i}" for i in range(len(operands))]
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **attributes)], "g", [], [ValueInfoProto(name="y")])
    graph.initializer.extend(numpy_helper.from_array(a, n) for a, n in zip(operands, names, strict=True))
    model = ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", version)], graph=graph)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return None
    return np.asarray(session.run(None, {})[0])


def test_every_operator_has_a_row_for_nan() -> None:
    standard = {s.name for s in defs.get_all_schemas() if s.domain == "" and s.since_version <= NEWEST_OPSET}
    assert {op for op in standard if traits.ask("", op, "nan") is None} == set()


def known(op: str) -> bool:
    return defs.has(op, 21)


@pytest.mark.parametrize("op", [op for op in special_values.ELEMENTWISE.split() if known(op) and op != "Dropout"])
def test_nan_stays_where_it_is(op: str) -> None:
    schema = defs.get_schema(op, 21)
    attributes = {"fmod": 1} if op == "Mod" else {}
    tried = 0
    for dtype in FLOATS:
        for side in range(max(schema.min_input, 2 if schema.max_input > 100 else 1)):
            for position in range(LENGTH):
                numbers = np.linspace(0.1, 0.9, LENGTH) + (op == "Acosh")
                operands = [numbers.astype(dtype) for _ in range(max(schema.min_input, side + 1))]
                operands[side][position] = np.nan
                result = run(op, *operands, **attributes)
                if result is None:
                    break
                tried += 1
                assert np.isnan(result[position]), (op, dtype, position)
                assert np.isnan(result).sum() == 1, (op, dtype, position)
    assert tried, f"ONNX Runtime runs {op} on no type"


@pytest.mark.parametrize(
    "op", ["ReduceL1", "ReduceL2", "ReduceMean", "ReduceProd", "ReduceSum", "Softmax", "LogSoftmax"]
)
def test_sums_keep_nan_wherever_it_stands(op: str) -> None:
    for position in range(LENGTH):
        x = np.linspace(0.1, 0.9, LENGTH).astype(np.float32)
        x[position] = np.nan
        result = run(op, x)
        assert result is not None and np.isnan(result).all(), (op, position)


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin", "GlobalMaxPool"])
def test_what_is_open_depends_on_the_order(op: str) -> None:
    assert traits.ask("", op, "nan") == "open"
    found = set()
    for position in range(LENGTH):
        x = np.linspace(0.1, 0.9, LENGTH).astype(np.float32).reshape(1, 1, LENGTH)
        x[0, 0, position] = np.nan
        result = run(op, x)
        assert result is not None
        found.add(bool(np.isnan(result).all()))
    assert found == {True, False}


@pytest.mark.parametrize("target", ["int8", "uint8", "int32", "int64", "bool"])
def test_casts_decide_on_one_number(target: str) -> None:
    number = helper.np_dtype_to_tensor_dtype(np.dtype(target))
    for dtype in FLOATS:
        for special in (np.nan, np.inf, -np.inf):
            x = np.full((LENGTH,), special, dtype)
            alone = [
                run("Cast", np.where(np.arange(LENGTH) == i, x, 0).astype(dtype), to=number) for i in range(LENGTH)
            ]
            assert len({result[i].item() for i, result in enumerate(alone) if result is not None}) == 1


@pytest.mark.parametrize(
    ("op", "numbers", "result"),
    [
        ("Clip", (np.nan, 0, 1), np.nan),
        ("Clip", (0.25, 0.5, 0.0), 0.0),  # where the bounds cross, the upper one wins
        ("Clip", (-1.0, np.nan, 1), -1.0),  # a bound that is NaN bounds nothing
        ("Max", (np.nan, 1), np.nan),
        ("Min", (1, np.nan), np.nan),
        ("Pow", (np.nan, 0), 1.0),
        ("Pow", (1, np.nan), 1.0),
        ("Relu", (np.nan,), np.nan),
        ("Relu", (-0.0,), 0.0),
        ("Sign", (np.nan,), np.nan),
        ("ThresholdedRelu", (np.nan,), 0.0),
        ("PRelu", (1, np.nan), 1.0),
        ("Div", (0, 0), np.nan),
        ("Div", (1, -0.0), -np.inf),
        ("Sub", (np.inf, np.inf), np.nan),
        ("Mul", (np.inf, 0), np.nan),
        ("Add", (-0.0, 0.0), 0.0),
        ("Add", (-0.0, -0.0), -0.0),
    ],
)
def test_single_numbers(op: str, numbers: tuple[float, ...], result: float) -> None:
    shape = () if op == "Clip" else (1,)
    got = run(op, *(np.full(shape, number, np.float32) for number in numbers))
    assert got is not None
    assert np.array_equal(got.reshape(()), np.float32(result), equal_nan=True)
    if op in ("Add", "Div"):
        assert np.isnan(result) or bool(np.signbit(got.reshape(()))) == bool(np.signbit(result))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Neg", "Abs"])
def test_integers_wrap(op: str) -> None:
    assert traits.ask("", op, "overflow") == "wraps"
    low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    operands = {"Add": (high, 1), "Sub": (low, 1), "Mul": (high, 2), "Neg": (low,), "Abs": (low,)}[op]
    arrays = [np.full(9, number, np.int32) for number in operands]
    expected = {"Add": low, "Sub": high, "Mul": -2, "Neg": low, "Abs": low}[op]
    assert (run(op, *arrays) == expected).all()


@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_what_traps_is_never_computed_ahead(op: str) -> None:
    from onnx_text import parse
    from onnx_text import run as optimized

    assert traits.ask("", op, "overflow") == "traps"
    smallest = ["{-2147483648}, int32[1] b = {-1}"] if op == "Div" else []  # its remainder is 0 all the same
    for numbers in ("{7}, int32[1] b = {0}", *smallest):
        text = f"g (int32[1] x) => (int32[1] y) <int32[1] a = {numbers}> {{ t = {op}(a, b) y = Add(x, t) }}"
        graph, _ = optimized(parse(text), "fold")
        assert [node.op for node in graph] == [op, "Add"]


@pytest.mark.parametrize("op", ["ReduceL1", "ReduceL2", "ReduceSum", "ReduceSumSquare", "ReduceProd"])
def test_reductions_of_nothing(op: str) -> None:
    result = run(op, np.zeros((0, 3), np.float32), np.array([0]), version=18)
    assert result is not None and (result == traits.ask("", op, "empty")).all()
