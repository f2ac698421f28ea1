"""The onnx package's backend node tests: no fact contradicts what the operators are specified to give.

Each case is looked at three times: with its inputs' sizes, with a name in place of every size, and so that short inputs
after the first are initializers (axes, shapes, bounds). What is found is compared with the expected outputs, with the
real sizes put in for the names.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnx_opt.ir import Value, load
from onnx_opt.shapes import substitute
from onnx_opt.types import SequenceType, TensorType

PARTS = 8
VARIANTS = ("sizes", "names", "constants")


@cache
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return [case for case in collect_testcases(None) if case.model is not None and case.data_sets]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("part", range(PARTS))
def test_facts_agree_with_the_specification(part: int, variant: str) -> None:
    wrong = [f"{case.name}: {error}" for case in cases()[part::PARTS] for error in contradictions(case, variant)]
    assert not wrong, "\n".join(wrong[:20])


def contradictions(case: Any, variant: str) -> Iterator[str]:
    inputs, outputs = case.data_sets[0]
    graph = load(rewritten(case.model, inputs, variant))
    facts = graph.model.facts
    facts.strict = True
    given = {slot.name: value for slot, value in zip(case.model.graph.input, inputs, strict=False)}
    sizes: dict[Any, int] = {}
    for value in graph.inputs:
        for dim, size in zip(facts.dims(value) or (), getattr(given.get(value.name), "shape", ()), strict=False):
            if not isinstance(dim, int):
                sizes[dim] = size
    for value, expected in zip(graph.outputs, outputs, strict=False):
        for error in compare(value, expected, sizes):
            yield f"{value.name}: {error}"


def rewritten(model: onnx.ModelProto, inputs: list[Any], variant: str) -> onnx.ModelProto:
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    if variant == "sizes":
        return model
    for slot in graph.input:
        if slot.type.HasField("tensor_type"):
            for axis, dim in enumerate(slot.type.tensor_type.shape.dim):
                dim.dim_param = f"{slot.name}{axis}"
    if variant == "constants":
        for slot, value in list(zip(graph.input, inputs, strict=False))[1:]:
            if isinstance(value, np.ndarray) and value.ndim < 2 and value.size <= 16:
                graph.initializer.append(numpy_helper.from_array(value, slot.name))
                graph.input.remove(slot)
    return model


def compare(value: Value, expected: Any, sizes: dict[Any, int]) -> Iterator[str]:
    """What facts say of `value` that is not true of `expected`. `sizes` grows by the symbols that are met first here."""
    assert value.graph is not None
    facts = value.graph.model.facts
    kind = facts.type(value)
    if isinstance(expected, list) and isinstance(kind, SequenceType):
        for item in expected:
            yield from compare_type(kind.elem, item, {})
    elif isinstance(expected, np.ndarray | np.generic):
        yield from compare_type(kind, expected, sizes)
        content = facts.content(value)
        if content is not None:
            for known, item in zip(content.reshape(-1).tolist(), np.ravel(expected).tolist(), strict=True):
                yield from compare_size(known, int(item), sizes)


def compare_type(kind: Any, expected: Any, sizes: dict[Any, int]) -> Iterator[str]:
    if not isinstance(kind, TensorType) or not hasattr(expected, "dtype"):
        return
    elem_type = 8 if expected.dtype.kind in "OUS" else helper.np_dtype_to_tensor_dtype(expected.dtype)
    if kind.elem_type not in {0, elem_type}:
        yield f"element type {kind.elem_type} instead of {elem_type}"
    if kind.shape is None:
        return
    if len(kind.shape) != expected.ndim:
        yield f"dims {kind.shape} instead of {expected.shape}"
        return
    for dim, size in zip(kind.shape, expected.shape, strict=True):
        yield from compare_size(dim, size, sizes)


def compare_size(known: Any, size: int, sizes: dict[Any, int]) -> Iterator[str]:
    if not isinstance(known, int) and known.is_Symbol and known not in sizes:
        sizes[known] = size
    found = substitute(known, sizes)
    if isinstance(found, int) and found != size:
        yield f"{known} instead of {size}"
