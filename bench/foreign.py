"""What a process that may crash does for conformance.py: run an original, judge what a tool made of it."""

from __future__ import annotations

from functools import lru_cache

import onnx
from judge import interface_change, output_change
from runner import cases
from runner.judge import Finding, Original, Stage, judge_result
from runner.ways import Way

from onnx_opt.validate.run import CannotLoad, Rejected, Unreadable


def original(stage: Stage, name: str) -> bytes | None:
    """The model of a case; None where ONNX Runtime runs it on none of its feeds."""
    stage("original")
    found = _original(name)
    return None if found is None else found.data


def judge_foreign(stage: Stage, name: str, result: bytes) -> Finding | None:
    """What is wrong with what an optimizer made of a case."""
    found = _original(name)
    assert found is not None
    return judge_result(found, result, Way("O2"), stage, _interface_problem)


def _interface_problem(found: Original, result: onnx.ModelProto, way: Way) -> str:
    """As for every tool in the benchmarks: more may be known of outputs than was, if it is true."""
    if problem := interface_change(found.model, result):
        return problem
    rows = (row for row in found.outputs if row is not None)
    return next(filter(None, (output_change(found.model, result, row) for row in rows)), "")


@lru_cache(1)
def _original(name: str) -> Original | None:
    try:
        case = cases.load(name)
        return Original.of(case.model, case.feeds)
    except (CannotLoad, Rejected, Unreadable, cases.NoFeeds):
        return None


TASKS = {task.__name__: task for task in (original, judge_foreign)}
