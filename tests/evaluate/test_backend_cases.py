"""Every node test of the onnx package, its inputs made constants: both engines against ONNX Runtime on the original."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from onnx_opt.evaluate import evaluate, result_bytes
from onnx_opt.ir import Graph, load


class Case:
    """A test of the onnx package whose inputs are all tensors."""

    def __init__(self, name: str, model: ModelProto, inputs: list[np.ndarray], outputs: list[Any]) -> None:
        self.name, self.model, self.outputs = name, model, outputs
        self.feeds = {value.name: array for value, array in zip(model.graph.input, inputs, strict=False)}

    def graph(self) -> Graph:
        """The model with its inputs as initializers."""
        folded = ModelProto()
        folded.CopyFrom(self.model)
        del folded.graph.input[:]
        folded.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in self.feeds.items())
        return load(folded.SerializeToString())


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        return list(_tensor_cases(load_model_tests(kind="node")))


def _tensor_cases(tests: list[Any]) -> Iterator[Case]:
    for test in tests:
        inputs, outputs = test.data_sets[0]
        if all(isinstance(array, np.ndarray | np.generic) for array in inputs):
            yield Case(test.name, test.model, [np.asarray(array) for array in inputs], outputs)


@pytest.fixture(scope="module")
def expected(cases: list[Case], reference: Any) -> dict[str, list[Any]]:
    """What ONNX Runtime gives for the original models, those that it runs."""
    found = {}
    for case in cases:
        with suppress(Exception):
            found[case.name] = reference(case.model, case.feeds)
    return found


@pytest.mark.parametrize("onnxruntime", [False, True], ids=["numpy", "numpy and onnxruntime"])
def test_equal_to_the_original_in_onnxruntime(
    onnxruntime: bool, cases: list[Case], expected: dict[str, list[Any]], equal_bits: Any
) -> None:
    compared, wrong = 0, []
    for case in cases:
        graph = case.graph()
        outcome = evaluate(list(graph), onnxruntime=onnxruntime)
        if case.name not in expected or _is_chain_in_half_precision(graph):
            continue
        for value, array in zip(graph.outputs, expected[case.name], strict=True):
            found = outcome.arrays.get(value)
            if found is not None:
                compared += 1
                wrong += [] if equal_bits(found, array) else [case.name]
    assert not wrong
    assert compared > (1600 if onnxruntime else 380)


def _is_chain_in_half_precision(graph: Graph) -> bool:
    """ONNX Runtime keeps single precision between the nodes there; evaluation rounds after each."""
    kinds = {value.elem_type for node in graph for value in node.outputs}
    return len(graph) > 1 and TensorProto.FLOAT16 in kinds


def test_numpy_kernels_give_what_the_onnx_package_expects(cases: list[Case]) -> None:
    """Also where ONNX Runtime has no kernel to compare with."""
    wrong = []
    for case in cases:
        graph = case.graph()
        outcome = evaluate(list(graph), onnxruntime=False)
        for value, wanted in zip(graph.outputs, case.outputs, strict=False):
            found = outcome.arrays.get(value)
            if found is not None and not _close(found, np.asarray(wanted)):
                wrong.append(case.name)
    assert not wrong


def _close(found: np.ndarray, wanted: np.ndarray) -> bool:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    if found.dtype.kind in "Obiu":
        return bool((found == wanted).all())
    return np.allclose(found.astype(np.float64), wanted.astype(np.float64), rtol=1e-3, atol=1e-6, equal_nan=True)


def test_what_is_not_computed_has_a_reason(cases: list[Case]) -> None:
    for case in cases[::7]:
        nodes = list(case.graph())
        outcome = evaluate(nodes, onnxruntime=False)
        for node in nodes:
            missing = [value for value in node.outputs if value.is_graph_output and value not in outcome.arrays]
            assert not missing or outcome.declined[node], (case.name, node)


def test_sizes_told_ahead_are_upper_bounds(cases: list[Case]) -> None:
    told = 0
    for case in cases:
        graph = case.graph()
        outcome = evaluate(list(graph))
        for node in graph:
            bound = result_bytes(node)
            arrays = [outcome.arrays.get(value) for value in node.outputs]
            if bound is None or any(array is None or array.dtype.kind == "O" for array in arrays):
                continue
            told += 1
            # Packed types take a byte an element in memory.
            size = sum(array.nbytes if array.dtype.kind != "V" else 0 for array in arrays if array is not None)
            assert size <= bound, (case.name, node.op)
    assert told > 800
