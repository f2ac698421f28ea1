"""What random models once showed to be wrong stays right: each file in regressions/ is a model with its way through the
compiler and its feed. `python tests/conformance` writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner.store import BINARY, TEXT, read
from runner.worker import Worker

FOLDER = Path(__file__).parent / "regressions"
CASES = sorted(path for path in FOLDER.iterdir() if path.suffix in (TEXT, BINARY))


@pytest.fixture(scope="module")
def worker():
    """What runs a case: a process, since ONNX Runtime may crash on one."""
    made = Worker()
    yield made
    made.close()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_stays_right(path, worker):
    case = read(path)
    found = worker.call("try_model", case.model.SerializeToString(), case.feeds, case.way)
    assert found is None, f"{found} (it was: {case.finding.text})"
