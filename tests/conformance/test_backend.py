"""The onnx package's backend tests at -O2: no crash, no result that differs from ONNX Runtime's own.

Those of single operators run three times: as they are, as they are with validation, and with their inputs made
initializers, so that folding has everything to compute. `python tests/conformance` takes them through all passes.
"""

from __future__ import annotations

import pytest
from runner.cases import CONSTANT, NODE, STORED, NoFeeds, backend_names, load
from runner.judge import Original, judge
from runner.ways import Way

import onnx_opt
from onnx_opt.validate.run import CannotLoad, Rejected, Unreadable

PARTS = 8
"""The cases are dealt to this many tests, so that several processes share them."""
LEAST_JUDGED = 100
"""Cases of each part that ONNX Runtime runs; about 60 of them need an operator set that it lacks, or strings."""


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", [NODE, CONSTANT])
def test_operators(kind, part):
    assert judged(backend_names([kind])[part::PARTS]) > LEAST_JUDGED


def test_small_models():
    assert judged(backend_names(STORED)) > LEAST_JUDGED * 0.8


def judged(names: list[str]) -> int:
    """How many of the cases ONNX Runtime runs; nothing is wrong with any of these."""
    count = 0
    for name in names:
        try:
            case = load(name)
            original = Original.of(case.model, case.feeds)
        except (CannotLoad, Rejected, Unreadable, NoFeeds):
            continue
        finding = judge(original, Way("O2"))
        assert finding is None, f"{name}: {finding}"
        count += 1
    return count


@pytest.mark.parametrize("part", range(PARTS))
def test_with_validation(part):
    for name in backend_names([NODE])[part::PARTS]:
        result = onnx_opt.optimize(load(name).model.SerializeToString(), samples=2)
        assert result.report.status in ("proven", "unproven"), f"{name}: {result.report}"
