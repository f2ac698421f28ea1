"""Proving that a candidate does what the original does: the same interface, and the same outputs for every feed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnx_opt.validate.adapt import RANDOM, Adapted, Pair, Unadaptable
from onnx_opt.validate.collect import Record
from onnx_opt.validate.compare import Difference, ToleranceLike, compare
from onnx_opt.validate.noise import explain, run_moved, shape_is_unstable
from onnx_opt.validate.reference import Progress, Reference
from onnx_opt.validate.run import CannotLoad, Rejected, Runtime, Session, Unreadable, Value
from onnx_opt.validate.signature import broken_promises
from onnx_opt.validate.sizes import Fixed
from onnx_opt.validate.source import ModelLike, Source
from onnx_opt.validate.userdata import Data
from onnx_opt.validate.verdict import OutputVerdict, Verdict, conclude
from onnx_opt.validate.walk import operators


def prove(
    reference: Reference | ModelLike,
    candidate: ModelLike,
    *,
    data: Data | None = None,
    tolerance: ToleranceLike = None,
    exact: bool = False,
    dims: Mapping[str, Fixed] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    samples: int = 12,
    runtime: Runtime | None = None,
    folder: str | os.PathLike[str] | None = None,
    removed: Mapping[str, int] | None = None,
    quick: bool = False,
    progress: Progress | None = None,
) -> Verdict:
    """Compares `candidate` with `reference` in ONNX Runtime, its graph optimizations off.

    Both are files or bytes (`folder` then holds the external data of either); a `Reference` keeps what the original
    computed, for the next candidate, and brings `data`, `dims`, `shapes`, `seed`, `samples` and `runtime` itself.
    `tolerance` is a number, (rtol, atol), or a mapping from outputs or dtypes to these; under `exact` every bit counts.
    `dims` fixes or bounds symbols, `shapes` fixes inputs. `removed` says which input replaces an operator that the
    candidate no longer has, where it is not the first. `quick` stops at the first failure, the likeliest feed first:
    for bisecting. Raises `UsageError` for data that the original refuses, `MissingRuntimeError`, and `ModelError` for
    what is no model file; everything else is in the verdict.
    """
    started = time.perf_counter()
    if not isinstance(reference, Reference):
        reference = Reference(
            reference,
            data,
            dims or {},
            shapes or {},
            seed,
            samples,
            runtime=runtime or Runtime(),
            folder=Path(folder) if folder is not None else None,
            progress=progress,
        )
    source = Source.of(candidate, folder or reference.source.external_folder)
    trial = _Trial(reference, source, tolerance, exact, quick, removed or {})
    verdict = trial.run()
    verdict.seconds = time.perf_counter() - started
    return verdict


@dataclass
class _Trial:
    """One candidate before one reference."""

    reference: Reference
    candidate: Source
    tolerance: ToleranceLike
    exact: bool
    quick: bool
    removed: Mapping[str, int]

    def run(self) -> Verdict:
        records = self.reference.records
        error = self.reference.cannot_load
        if error is not None and not error.is_lack:
            return Verdict("unproven", f"ONNX Runtime does not load the original: {error}")
        if error is not None:
            return self._adapted(error)
        if not records:
            return Verdict("unproven", self.reference.problem)
        if self.reference.random_outputs:
            return self._without_randomness()
        try:
            return self._judge(self.reference, self.candidate)
        except CannotLoad as lack:
            return self._adapted(lack) if lack.is_lack else _does_not_load(lack)

    # -- models that ONNX Runtime does not run as they are -------------------------------------------------------------

    def _adapted(self, lack: CannotLoad) -> Verdict:
        """The verdict on a pair that ONNX Runtime takes, made from one that it does not."""
        reason = str(lack)
        for cut in (False, True):
            try:
                adapted = self._pair().adapt(cut)
                variant = self.reference.variant(adapted.reference)
                if variant.records:
                    return self._judge_adapted(variant, adapted)
                reason = f"{lack}; with a stand-in for it, {variant.problem}"
            except Unadaptable as error:
                reason = str(error) if str(error) == str(lack) or not cut else reason
            except CannotLoad as error:
                return _does_not_load(error)
        return Verdict("unproven", reason)

    def _judge_adapted(self, variant: Reference, adapted: Adapted) -> Verdict:
        verdict = self._judge(variant, adapted.candidate)
        verdict.notes[:0] = adapted.notes
        if verdict.proven and adapted.notes:
            verdict.reason = f"{verdict.reason}; {adapted.notes[0]}"
        return verdict

    def _without_randomness(self) -> Verdict:
        reference = self.reference
        try:
            if not operators(reference.skeleton) & set(RANDOM):
                raise Unadaptable("its random operators cannot be replaced by fixed ones")
            adapted = self._pair().still()
            variant = reference.variant(adapted.reference)
            if not variant.records or variant.random_outputs:
                raise Unadaptable(variant.problem or "it stays random")
            return self._judge_adapted(variant, adapted)
        except (Unadaptable, CannotLoad) as why:
            verdict = self._judge_loaded(reference, self.candidate)
            verdict.notes.append(f"random outputs compared by type and rank only: {why}")
            return verdict

    def _judge_loaded(self, reference: Reference, candidate: Source) -> Verdict:
        try:
            return self._judge(reference, candidate)
        except CannotLoad as error:
            if error.is_lack:
                return Verdict("unproven", str(error))
            return _does_not_load(error)

    def _pair(self) -> Pair:
        return Pair(self.reference.source, self.candidate, self.reference.runtime, self.removed)

    # -- comparing -----------------------------------------------------------------------------------------------------

    def _judge(self, reference: Reference, candidate: Source) -> Verdict:
        comparison = _Comparison(reference, self.tolerance, self.exact, self.quick)
        records = reference.records
        with Session(candidate, reference.runtime) as session:
            if broken := broken_promises(reference.signature, session.signature, _fixed(reference)):
                return Verdict("failed", f"the interface differs: {broken[0]}", notes=broken[1:])
            if refusal := comparison.run(session):
                return Verdict("failed", refusal, comparison.outputs, feeds=comparison.feeds)
        comparison.settle()
        comparison.doubt()
        status, reason = conclude(comparison.outputs, comparison.feeds)
        sizes = reference.tested_sizes()
        notes = _notes(records)
        return Verdict(status, reason, comparison.outputs, notes, comparison.feeds, sizes)


def _does_not_load(error: CannotLoad) -> Verdict:
    return Verdict("failed", f"ONNX Runtime loads the original but not the candidate: {error}")


def _fixed(reference: Reference) -> dict[str, object]:
    """Symbols that the user has given a value, directly or by an input's shape."""
    fixed: dict[str, object] = {name: size for name, size in reference.dims.items() if isinstance(size, int)}
    for slot in reference.signature.inputs:
        if slot.name in reference.shapes:
            fixed |= {f"{slot.name}[{i}]" if d is None else str(d): True for i, d in enumerate(slot.shape or ())}
    return fixed


def _notes(records: Sequence[Record]) -> list[str]:
    given = sum(record.origin.startswith("user") for record in records)
    return [f"{given} of the inputs are the user's"] if given else []


@dataclass
class _Comparison:
    """The outputs of a candidate against the records of a reference."""

    reference: Reference
    tolerance: ToleranceLike
    exact: bool
    quick: bool
    feeds: int = 0
    outputs: list[OutputVerdict] = field(default_factory=list)
    # (record, output) -> what went wrong, where instability of the original may yet explain it
    open: dict[tuple[int, int], Difference] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outputs = [OutputVerdict(slot.name, str(slot.type)) for slot in self.reference.signature.outputs]

    def run(self, session: Session) -> str:
        """Runs the candidate on every feed; the text says that it refused one."""
        for number in self._order():
            record = self.reference.records[number]
            self.reference.say(f"comparing on input {self.feeds + 1} of {len(self.reference.records)}")
            try:
                outputs = session.run(record.feed)
            except Rejected as error:
                self.reference.suspect = number
                at = ", ".join(f"{name}={size}" for name, size in record.sizes.items())
                return f"the candidate refuses an input that the original accepts{f' ({at})' if at else ''}: {error}"
            except Unreadable as error:
                for output in self.outputs:
                    output.status, output.note = "unproven", str(error)
                return ""
            self.feeds += 1
            self._compare(number, record, outputs)
            if self.quick and (self.open or any(output.status == "failed" for output in self.outputs)):
                return ""
        return ""

    def settle(self) -> None:
        """Asks of what is left open whether the original is as unstable itself."""
        if not self.open:
            return
        self.reference.say("measuring the original's own noise")
        moved = run_moved(self.reference, sorted({number for number, _ in self.open}))
        for (number, i), difference in self.open.items():
            output, before = self.outputs[i], self.reference.records[number].outputs[i]
            trials = [outputs[i] for outputs in moved[number]]
            explained, noise = explain(difference, output.name, before, trials, self.tolerance)
            output.noise = max(output.noise, noise)
            if difference.problem.startswith("shape") and shape_is_unstable(before, trials):
                if output.status == "proven":
                    output.status, output.note = "unproven", "its shape hangs on rounding in the original too"
            elif not explained:
                self._fail(number, output, difference)

    def doubt(self) -> None:
        """Withdraws what agreement on nothing but NaN seemed to prove."""
        for i in self.reference.mute_outputs():
            if self.outputs[i].status == "proven" and i not in self.reference.random_outputs:
                self.outputs[i].status = "unproven"
                self.outputs[i].note = "the original gives nothing, or no finite number, on any input"

    def _order(self) -> list[int]:
        count, first = len(self.reference.records), self.reference.suspect
        if first is None or first >= count:
            return list(range(count))
        return [first, *(number for number in range(count) if number != first)]

    def _compare(self, number: int, record: Record, outputs: list[Value]) -> None:
        for i, (output, before, after) in enumerate(zip(self.outputs, record.outputs, outputs, strict=True)):
            if i in self.reference.random_outputs:
                self._compare_kind(output, before, after)
                continue
            difference = compare(output.name, before, after, self.tolerance, self.exact)
            output.figures.merge(difference.figures)
            if difference.problem and difference.rounding:
                self.open[number, i] = difference
            elif difference.problem:
                self._fail(number, output, difference)

    def _compare_kind(self, output: OutputVerdict, before: Value, after: Value) -> None:
        kinds = [(getattr(value, "dtype", None), getattr(value, "ndim", None)) for value in (before, after)]
        if kinds[0] != kinds[1]:
            output.status, output.note = "failed", f"{kinds[0]} became {kinds[1]}"
        elif output.status == "proven":
            output.status, output.note = "unproven", "it is random"

    def _fail(self, number: int, output: OutputVerdict, difference: Difference) -> None:
        self.reference.suspect = number
        if output.status == "failed":
            return
        record = self.reference.records[number]
        at = ", ".join(f"{name}={size}" for name, size in record.sizes.items())
        output.status = "failed"
        output.note = f"{difference.problem} ({', '.join(filter(None, [record.origin + ' input', at]))})"
