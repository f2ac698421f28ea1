"""Proving that a candidate does what the original does: the same interface, and the same outputs for every feed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnx_opt.validate.adapt import RANDOM, Adapted, Pair, Unadaptable
from onnx_opt.validate.collect import Record
from onnx_opt.validate.compare import ToleranceLike
from onnx_opt.validate.comparison import Comparison
from onnx_opt.validate.inner import with_inner_outputs
from onnx_opt.validate.lowered import TOLERANCES, allowed_types, tolerance_for
from onnx_opt.validate.reference import Progress, Reference
from onnx_opt.validate.run import CannotLoad, Runtime, Session
from onnx_opt.validate.signature import Signature, broken_promises
from onnx_opt.validate.sizes import Fixed
from onnx_opt.validate.source import ModelLike, Source
from onnx_opt.validate.userdata import Data
from onnx_opt.validate.verdict import Verdict, conclude
from onnx_opt.validate.walk import operators

_INNER_FEEDS = 2
NO_KERNEL = "Could not find an implementation"
"""What ONNX Runtime says of an operator that it knows, but not in the types of a node."""


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
    inner: int = 0,
    lowered: str = "",
    progress: Progress | None = None,
) -> Verdict:
    """Compares `candidate` with `reference` in ONNX Runtime, its graph optimizations off.

    Both are files or bytes (`folder` then holds the external data of either); a `Reference` keeps what the original
    computed, for the next candidate, and brings `data`, `dims`, `shapes`, `seed`, `samples` and `runtime` itself.
    `tolerance` is a number, (rtol, atol), or a mapping from outputs or dtypes to these; under `exact` every bit counts.
    `dims` fixes or bounds symbols, `shapes` fixes inputs. `removed` says which input replaces an operator that the
    candidate no longer has, where it is not the first. `quick` stops at the first failure, the likeliest feed first:
    for bisecting. `inner` also compares that many inner values which both models compute under the same name: errors
    that hardly reach the outputs show there; it is for candidates whose rewrites keep the meaning of names. `lowered`
    is the type ("float16", "bfloat16") that a candidate computes in where the original has FP32: its interface may have
    that type too, and FP32 outputs are held to the tolerance of that type (see `validate.lowered`).

    Raises `UsageError` for data that the original refuses, `MissingRuntimeError`, and `ModelError` for what is no model
    file; everything else is in the verdict.
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
    tolerance = tolerance_for(tolerance, lowered)
    trial = _Trial(reference, source, tolerance, exact, quick, inner, removed or {}, lowered)
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
    inner: int
    removed: Mapping[str, int]
    lowered: str

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
            if self.lowered and NO_KERNEL in str(lack):
                return Verdict("unproven", f"it computes in {self.lowered}: {lack}")
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
        if self.reference.program is not None:
            verdict.notes.append(f"NumPy's part of the program was not compared: {self.reference.program}")
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
        """The verdict on two models that ONNX Runtime runs. Raises `CannotLoad` for the candidate."""
        verdict = self._compare(reference, candidate, len(reference.signature.outputs))
        if self.inner and verdict.proven:
            self._look_inside(reference, candidate, verdict)
        return verdict

    def _compare(self, reference: Reference, candidate: Source, promised: int) -> Verdict:
        comparison = Comparison(reference, self.tolerance, self.exact, self.quick, promised, self.lowered)
        while comparison.goes_on:
            with Session(candidate, reference.runtime) as session:
                ours, theirs = (_promised(s, promised) for s in (reference.signature, session.signature))
                ours = allowed_types(ours, theirs, self.lowered)
                if broken := broken_promises(ours, theirs, fixed_symbols(reference)):
                    return Verdict("failed", f"the interface differs: {broken[0]}", notes=broken[1:])
                comparison.run(session)
            comparison.settle()  # with the candidate's weights gone: the original runs again
        comparison.doubt()
        status, reason = conclude(comparison.outputs, comparison.feeds, promised)
        if comparison.refusal:
            status, reason = "failed", comparison.refusal
        outputs, notes, sizes = comparison.outputs[:promised], self._notes(reference), reference.tested_sizes()
        return Verdict(status, reason, outputs, notes, comparison.feeds, sizes)

    def _notes(self, reference: Reference) -> list[str]:
        notes = [*_notes(reference.records), *reference.held_against()]
        if self.lowered and self.tolerance == tolerance_for(None, self.lowered):
            held = TOLERANCES[self.lowered]
            notes.append(f"held to the tolerance of {self.lowered}: rtol {held.rtol:g}, atol {held.atol:g}")
        return notes

    def _look_inside(self, reference: Reference, candidate: Source, verdict: Verdict) -> None:
        """Turns a proof into a failure where values inside differ."""
        promised = len(reference.signature.outputs)
        pair = with_inner_outputs(reference, candidate, self.inner)
        if pair is None:
            return
        random = any(record.origin == "random" for record in reference.records)
        variant = reference.variant(pair[0], samples=_INNER_FEEDS, data=None if random else reference.data)
        if not variant.records:
            return
        try:
            seen = self._compare(variant, pair[1], promised)
        except CannotLoad:
            return
        if seen.failed:
            verdict.status, verdict.reason = seen.status, seen.reason
        else:
            verdict.notes.append(f"{len(variant.signature.outputs) - promised} inner values compared")


def _promised(signature: Signature, count: int) -> Signature:
    return replace(signature, outputs=signature.outputs[:count])


def _does_not_load(error: CannotLoad) -> Verdict:
    return Verdict("failed", f"ONNX Runtime loads the original but not the candidate: {error}")


def fixed_symbols(reference: Reference) -> dict[str, object]:
    """Symbols that the user has given a value, directly or by an input's shape."""
    fixed: dict[str, object] = {name: size for name, size in reference.dims.items() if isinstance(size, int)}
    for slot in reference.signature.inputs:
        if slot.name in reference.shapes:
            fixed |= {f"{slot.name}[{i}]" if d is None else str(d): True for i, d in enumerate(slot.shape or ())}
    return fixed


def _notes(records: Sequence[Record]) -> list[str]:
    given = sum(record.origin.startswith("user") for record in records)
    return [f"{given} of the inputs are the user's"] if given else []
