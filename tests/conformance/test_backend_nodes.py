"""The onnx package's backend node tests at -O2: no crash, no result that differs from ONNX Runtime's own.

Each model runs three times: as it is, as it is with validation, and with its inputs made initializers, so that folding
has everything to compute.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnx_opt
from onnx_opt.validate.compare import compare
from onnx_opt.validate.run import CannotLoad, Rejected, Session, Unreadable
from onnx_opt.validate.source import Source

PARTS = 8
"""The cases are dealt to this many tests, so that several processes share them."""
LEAST_COMPARED = 100
"""Cases of each part that ONNX Runtime runs; about 40 of them need an operator set that it lacks."""


@cache
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return [case for case in collect_testcases(None) if case.model is not None and case.data_sets]


def outputs(model: bytes, feed: dict[str, Any]) -> list[Any] | None:
    """What ONNX Runtime computes with its optimizations off; None where it can't."""
    try:
        with Session(Source.of(model)) as session:
            return session.run(feed)
    except (CannotLoad, Rejected, Unreadable):
        return None


def feed_of(case: Any) -> dict[str, Any]:
    return {slot.name: value for slot, value in zip(case.model.graph.input, case.data_sets[0][0], strict=False)}


def is_random(model: onnx.ModelProto) -> bool:
    random = {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "Dropout",
    }
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return any(node.op_type in random for node in nodes)


def with_inputs_as_initializers(case: Any) -> onnx.ModelProto | None:
    """The model with nothing left to feed; None where an input is no tensor."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for name, value in feed_of(case).items():
        if not isinstance(value, np.ndarray) or name in {output.name for output in model.graph.output}:
            return None
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    del model.graph.input[:]
    return model


def differences(model: onnx.ModelProto, feed: dict[str, Any], **options: Any) -> list[str] | None:
    """What -O2 does to the results; None where ONNX Runtime can't run the original."""
    data = model.SerializeToString()
    wanted = outputs(data, feed)
    if wanted is None:
        return None
    result = onnx_opt.optimize(data, **options)
    got = outputs(result.to_bytes(), feed)
    if got is None:
        return ["the result does not run"]
    names = [output.name for output in model.graph.output]
    return [problem for name, a, b in zip(names, wanted, got, strict=True) if (problem := compare(name, a, b).problem)]


@pytest.mark.parametrize("part", range(PARTS))
def test_as_it_is(part):
    compared = 0
    for case in cases()[part::PARTS]:
        if is_random(case.model):
            continue
        found = differences(case.model, feed_of(case), validate=False)
        compared += found is not None
        assert not found, f"{case.name}: {found}"
    assert compared > LEAST_COMPARED


@pytest.mark.parametrize("part", range(PARTS))
def test_with_everything_constant(part):
    compared = 0
    for case in cases()[part::PARTS]:
        model = with_inputs_as_initializers(case)
        if model is None or is_random(model):
            continue
        found = differences(model, {}, validate=False)
        compared += found is not None
        assert not found, f"{case.name}: {found}"
    assert compared > LEAST_COMPARED


@pytest.mark.parametrize("part", range(PARTS))
def test_with_validation(part):
    for case in cases()[part::PARTS]:
        result = onnx_opt.optimize(case.model.SerializeToString(), samples=2)
        assert result.report.status in ("proven", "unproven"), f"{case.name}: {result.report}"
