"""The verdict on a half precision model: its error in true half precision, and as ONNX Runtime computes it.

Both have to be within the tolerance of the metric. ONNX Runtime's own figure says that the file runs; only the first
one sees overflow, since on a processor ONNX Runtime computes half precision in FP32. Where a CUDA device is present,
the model runs there as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from ctypes.util import find_library
from dataclasses import dataclass, field, replace
from typing import Any

from onnx_opt.errors import TargetError
from onnx_opt.precision.evaluate import true_half
from onnx_opt.precision.metrics import Metric
from onnx_opt.precision.samples import common
from onnx_opt.runtime.settings import ALL, CUDA
from onnx_opt.validate import OutputVerdict, Reference, Runtime, Source, Verdict, prove
from onnx_opt.validate.collect import Record
from onnx_opt.validate.compare import compare
from onnx_opt.validate.figures import finite
from onnx_opt.validate.lowered import allowed_types, fitted, restored
from onnx_opt.validate.prove import fixed_symbols
from onnx_opt.validate.run import CannotLoad, Rejected, Session, Unreadable, Value
from onnx_opt.validate.signature import broken_promises

TRUE_HALF, INTEGERS = "true half precision", "integer kernels"


@dataclass(frozen=True)
class HalfPrecision:
    """How a result in lower precision is judged: the metric, the operators whose sums the target keeps in half, and the
    type ("float16", "bfloat16") that it may have where the original has FP32; '' where it is quantized alone. With
    `integers` it is also run by the integer kernels that ONNX Runtime's own optimizations make of it: on processors
    without instructions for dot products of bytes these saturate."""

    metric: Metric
    sums: frozenset[str]
    dtype: str
    integers: bool = False


@dataclass
class _Run:
    """What one way of running the candidate gave."""

    what: str
    error: float = 0.0
    problem: str = ""
    skipped: bool = False
    worst: Record | None = None
    outputs: list[OutputVerdict] = field(default_factory=list)


def judge(reference: Reference, candidate: Source, half: HalfPrecision, quick: bool = False) -> Verdict:
    """Both figures on every feed of the reference, and the status that follows; `quick` leaves the rest out once one
    of them is too large. Raises UsageError for data that the original refuses."""
    records = reference.records
    if reference.cannot_load is not None or not records:
        verdict = prove(reference, candidate, tolerance=half.metric.tolerance, lowered=half.dtype, quick=quick)
        verdict.notes.append("not judged in true half precision: ONNX Runtime does not run the model as it is")
        return verdict
    runs: list[_Run] = []
    for what, source, runtime in _ways(reference, candidate, half):
        runs.append(_run(reference, source, runtime, half, what))
        if quick and not half.metric.accepts(runs[-1].error):
            break
    return _conclude(reference, half.metric, runs)


def _ways(reference: Reference, candidate: Source, half: HalfPrecision) -> list[tuple[str, Source, Runtime]]:
    runtime = reference.runtime
    found = [("ONNX Runtime", candidate, runtime)]
    if half.integers:
        found.append((INTEGERS, candidate, replace(runtime, settings=replace(runtime.settings, level=ALL))))
    if half.dtype:
        found.insert(0, (TRUE_HALF, true_half(candidate, half.sums), replace(runtime, reuse=False)))
    if find_library("cuda") or find_library("nvcuda"):
        found.append(("CUDA", candidate, replace(runtime, settings=replace(runtime.settings, provider=CUDA))))
    return found


def _run(reference: Reference, source: Source, runtime: Runtime, half: HalfPrecision, what: str) -> _Run:
    run = _Run(what)
    try:
        with Session(source, runtime) as session:
            allowed = allowed_types(reference.signature, session.signature, half.dtype)
            if broken := broken_promises(allowed, session.signature, fixed_symbols(reference)):
                run.error, run.problem = math.inf, f"the interface differs: {broken[0]}"
                return run
            run.outputs = [OutputVerdict(slot.name, str(slot.type)) for slot in session.signature.outputs]
            for record in common(reference.records):
                outputs = session.run(fitted(record.feed, session.signature, half.dtype))
                _compare(run, reference, record, restored(outputs, record.outputs, half.dtype), half.metric)
    except (CannotLoad, Rejected, Unreadable, TargetError) as problem:
        # A runtime without device, or without kernels for the type, says nothing about the model: true half precision
        # decides alone.
        on_cuda = isinstance(problem, CannotLoad) and runtime.settings.provider == CUDA
        lacks = isinstance(problem, TargetError) or on_cuda or (isinstance(problem, CannotLoad) and problem.is_lack)
        run.error, run.problem, run.skipped = math.inf, str(problem), lacks and what != TRUE_HALF
    return run


def _compare(run: _Run, reference: Reference, record: Record, actual: Sequence[Value], metric: Metric) -> None:
    expected = record.outputs
    judged = [index for index in range(len(expected)) if index not in reference.random_outputs]
    error = metric.error([expected[i] for i in judged], [actual[i] for i in judged])
    if run.worst is None or not error <= run.error:
        run.error, run.worst = error, record
    for index in judged:
        tolerance = metric.tolerance
        run.outputs[index].figures.merge(
            compare(run.outputs[index].name, expected[index], actual[index], tolerance).figures
        )


def _conclude(reference: Reference, metric: Metric, tried: Sequence[_Run]) -> Verdict:
    runs = [run for run in tried if not run.skipped]
    notes = reference.held_against()
    notes += [f"not run in {run.what}: {run.problem}" for run in tried if run.skipped and run.what != "CUDA"]
    figures: dict[str, Any] = {"metric": metric.name, "tolerance": metric.tolerance}
    figures |= {run.what.lower().replace(" ", "_"): finite(run.error) for run in runs}
    said = ", ".join(f"{run.error:.2g} in {run.what}" for run in runs)
    feeds = len(common(reference.records))
    if feeds < len(reference.records):
        notes.append(
            f"lower precision is judged on {feeds} of {len(reference.records)} inputs: the user's, or of common size"
        )
    worst = next((run for run in runs if not metric.accepts(run.error)), None)
    reason = f"{metric.name} {said}, of {metric.tolerance:g} allowed, on {feeds} input{'s' if feeds != 1 else ''}"
    if worst is not None and worst.problem:
        reason = f"{worst.what}: {worst.problem}"
    outputs = runs[0].outputs
    verdict = Verdict("proven" if worst is None else "failed", reason, outputs, notes, feeds, reference.tested_sizes())
    verdict.half = figures
    if worst is not None and worst.worst is not None:
        verdict.counterexample = worst.worst.feed
    return verdict
