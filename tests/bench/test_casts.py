"""The totals of casts: each tool is held against ours on the models that both got right, with the same interface."""

from dataclasses import dataclass

import casts
import pytest


@dataclass
class Made:
    model: str
    tool: str
    casts: int | None = None
    true_half: float | None = 1e-3
    verdict: str = "ok"
    reason: str = ""
    runtime: float | None = None
    fp32_nodes: int | None = 0
    executions: int | None = 0
    seconds: float | None = 1.0
    bytes: float | None = 0.5


ROWS = [
    Made("a", "onnx-opt", 2),
    Made("a", "onnx-opt-half", 0),
    Made("a", "common", 5),
    Made("a", "unsorted", 3, verdict="invalid"),
    Made("a", "onnxslim", 1),
    Made("b", "onnx-opt", 4),
    Made("b", "common", 1, true_half=0.5, verdict="wrong"),
    Made("b", "unsorted", 3, verdict="invalid"),
]


@pytest.mark.parametrize(
    ("tool", "models", "its", "ours", "fewer", "more"),
    [
        ("common", 1, 5, 2, 0, 1),  # what it got wrong does not count
        ("unsorted", 2, 6, 6, 1, 1),  # what runs does, though the checker refuses it
        ("onnxslim", 1, 1, 0, 0, 1),  # it has another interface: held against ours with that one
        ("the best of these on each model, interface in FP32", 2, 6, 6, 1, 1),
    ],
)
def test_totals(tool, models, its, ours, fewer, more):
    (total,) = [each for each in casts.totals(ROWS, 1e-2) if each.tool == tool]
    assert (total.models, total.casts, total.ours, total.fewer, total.more) == (models, its, ours, fewer, more)


def test_markdown_shows_what_was_wrong_and_what_the_checker_refuses():
    lines = list(casts.markdown(ROWS, 1e-2))
    assert "| a | 2 | 0 | 5 | (3) | 1 | 1.0e-03 | 50% |" in lines
    assert "| b | 4 |  | wrong | (3) |  | 1.0e-03 | 50% |" in lines
