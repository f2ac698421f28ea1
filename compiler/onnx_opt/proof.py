"""Proof of an optimization: hold it against the original, find the rewrites at fault, take them back, keep the rest."""

from __future__ import annotations

import mmap
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_opt.compilation import Build, Compilation, Input, folder_of
from onnx_opt.errors import UsageError, ValidationError
from onnx_opt.interface import Dims, Shapes
from onnx_opt.ir import Graph, save, to_bytes
from onnx_opt.journal import Key, Rewrite
from onnx_opt.liberties import NO_INFS, NO_NANS
from onnx_opt.passes import COUNTEREXAMPLES, Pass, registry
from onnx_opt.pipeline import Pipeline
from onnx_opt.report import Fault
from onnx_opt.runtime.settings import AS_WRITTEN, Settings
from onnx_opt.target import Target
from onnx_opt.validate import Reference, Runtime, Source, Verdict, first_bad, prove
from onnx_opt.validate.compare import default_tolerance
from onnx_opt.validate.program import Program
from onnx_opt.validate.userdata import HELD_OUT, Part

if TYPE_CHECKING:
    from onnx_opt.precision.verdict import HalfPrecision

INNER_VALUES = 16
"""Values inside of the graph that are compared beside the outputs, where both models compute them under one name."""
INNER_LIMIT = 64 << 20
"""Bytes of a model above which outputs alone are compared: looking inside takes another run."""
IN_MEMORY = 64 << 20
"""Models up to this many bytes are handed over in memory; larger ones through a file, which the runtime maps."""
FEW_FAULTS = 3
"""So many single rewrites are taken back before passes that measure are told what their result is wrong on."""
MOST_FAULTS = 8
"""A pipeline with more faults than this is broken rather than unlucky: everything is taken back."""

ABSENT = {NO_NANS: "NaN", NO_INFS: "infinities"}
"""What a liberty, or a pass for finite numbers only, says not to occur: there, results may differ."""

Tell = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Evidence:
    """What results are compared on, and how closely."""

    data: Any = None
    tolerance: Any = None
    samples: int | None = None
    seed: int = 0
    dims: Dims = field(default_factory=dict)
    shapes: Shapes = field(default_factory=dict)
    custom_ops: Sequence[str | Path] = ()
    jobs: int = 0
    liberties: frozenset[str] = frozenset()
    session: Settings = AS_WRITTEN

    def check(self) -> None:
        """Raise UsageError for a file that is not there, before any work is done."""
        given = [self.data] if isinstance(self.data, str | Path) else []
        for path in (*given, *self.custom_ops):
            if not Path(re.sub(r"\.py:\w+$", ".py", str(path))).exists():
                raise UsageError("no such file", path=path)

    def reference(
        self, source: Source, tell: Tell | None = None, finite_only: bool = False, program: Program | None = None
    ) -> Reference:
        """The model in `source`, ready to judge others by; `finite_only`: on finite inputs; `program`: what gives the
        results."""
        complete = {n: [s for s in sizes if s is not None] for n, sizes in self.shapes.items() if None not in sizes}
        given: dict[str, Any] = {} if self.samples is None else {"samples": self.samples}
        return Reference(
            source,
            data=self.data,
            dims=self.dims,
            shapes=complete,
            seed=self.seed,
            runtime=Runtime(self.jobs, tuple(map(Path, self.custom_ops)), settings=self.session),
            progress=None if tell is None else partial(_tell_text, tell),
            program=program,
            absent=frozenset(ABSENT.values()) if finite_only else _absent(self.liberties),
            **given,
        )


def _absent(liberties: frozenset[str]) -> frozenset[str]:
    return frozenset(name for liberty, name in ABSENT.items() if liberty in liberties)


def _tell_text(tell: Tell, text: str) -> None:
    tell(text, 0, 0)


@dataclass
class Prover:
    """Judges graphs by one reference. `scratch` is the folder for the files of large models."""

    reference: Reference
    tolerance: Any
    exact: bool
    scratch: Path
    inner: int = 0
    lowered: str = ""
    half: HalfPrecision | None = None
    """How a result in half precision is judged; by tolerance alone where this is None."""

    def judge(self, candidate: Source, quick: bool = False) -> Verdict:
        """What is known of a candidate; `quick` stops at the first thing that is wrong."""
        if self.half is not None:
            from onnx_opt.precision.verdict import judge

            return judge(self.reference, candidate, self.half, quick)
        return prove(
            self.reference,
            candidate,
            tolerance=self.tolerance,
            exact=self.exact,
            quick=quick,
            inner=self.inner,
            lowered=self.lowered,
        )

    def is_wrong(self, graph: Graph) -> bool:
        """One step of a search."""
        source = source_of(graph, self.scratch / "step")
        try:
            return self.judge(source, quick=True).failed
        finally:
            if source.path is not None:
                shutil.rmtree(source.path.parent)


def half_precision(pipeline: Pipeline, target: Target, tolerance: Any) -> HalfPrecision | None:
    """How the result of a pipeline that lowers precision is judged, by the coarsest; None for any other pipeline."""
    lowering = _quantizing(pipeline) or next((each for each in pipeline.passes() if each.lowers_to), None)
    if lowering is None:
        return None
    from onnx_opt.precision.formats import find_format
    from onnx_opt.precision.metrics import find_metric, tolerance_of
    from onnx_opt.precision.verdict import HalfPrecision
    from onnx_opt.quantization.forms import FORMS

    name = getattr(lowering, "metric", "max-rel")
    form = FORMS[lowering.quantizes_to] if lowering.quantizes_to else find_format(lowering.lowers_to)
    metric = find_metric(name, tolerance_of(tolerance), form)
    integers = lowering.quantizes_to == "int8" and target.quantized.results
    return HalfPrecision(metric, target.half_sums, pipeline.lowers_to, integers)


def _quantizing(pipeline: Pipeline) -> Pass | None:
    return next((each for each in pipeline.passes() if each.quantizes_to), None)


def _judged_on(pipeline: Pipeline, evidence: Evidence) -> Evidence:
    """What a quantized model is judged on: where the user gave no data for that, those held out from calibration."""
    quantizing = _quantizing(pipeline)
    data = getattr(quantizing, "data", None)
    if data is None or evidence.data is not None:
        return evidence
    return replace(evidence, data=Part(data, held_out=True, most=getattr(quantizing, "samples", HELD_OUT)))


def _tolerance(given: Any, compilation: Compilation) -> Any:
    """The tolerance that the user gives; else, where FP64 is lowered for a target that has none, FP64 outputs are held
    to that of FP32."""
    legalizes = any(each.legalizes for each in compilation.pipeline.passes())
    lowers = given is None and legalizes and "float64" not in compilation.target.dtypes
    return {"float64": default_tolerance("float32")} if lowers else given


def _is_installed(pipeline: Pipeline) -> bool:
    """Whether all passes are installed ones: those of a user's file may give a name to another value."""
    return all(registry().passes.get(each.name) is type(each) for each in pipeline.passes())


def _source_of_input(given: Input) -> Source:
    return Source(path=given.path) if given.data is None else Source(data=given.data, folder=folder_of(given.path))


def source_of(graph: Graph, scratch: Path) -> Source:
    """`graph` as a model that can be run: in memory where it is small, else a file in the folder `scratch`."""
    if inline_bytes(graph) <= IN_MEMORY:
        return Source(data=to_bytes(graph), folder=folder_of(graph.model.path))
    scratch.mkdir(exist_ok=True)
    save(graph, scratch / "model.onnx")
    _release_pages(graph)
    return Source(path=scratch / "model.onnx")


def _release_pages(graph: Graph) -> None:
    """Give back the memory that holds pages of the model's file; they are read again where they are needed again."""
    buffer = graph.model.buffer
    if isinstance(buffer, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        buffer.madvise(mmap.MADV_DONTNEED)


def _program(compilation: Compilation, origin: Source, scratch: Path) -> Program | None:
    """The program around the original where the wished passes moved one into the model; None where nothing of them can
    be proven."""
    embedded = compilation.embedded
    if not embedded.hosts:
        return None
    if embedded.taken.items:
        origin = source_of(compilation.before_embedding().graph, scratch / "taken")
    return Program(origin, embedded.hosts)


def inline_bytes(graph: Graph) -> int:
    """About how many bytes the model file takes, external data not counted."""
    constants = [c for scope in graph.model.all_graphs() for c in scope.constants]
    return len(graph.model.buffer) + sum(c.nbytes for c in constants if c.source is None)


@dataclass
class Proof:
    """The build that stands, as `source`; what is known of it; and what was taken back to get there."""

    build: Build
    source: Source
    verdict: Verdict
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Culprit:
    """A wrong rewrite, number `index` of the run without those `excluded`: right before it, wrong after it."""

    index: int
    key: Key
    rewrite: Rewrite
    excluded: frozenset[Key]


Witness = Callable[[Culprit, Fault], object]


@dataclass
class Search:
    """Finds wrong rewrites by running the compilation again with fewer of them."""

    compilation: Compilation
    prover: Prover
    tell: Tell

    @staticmethod
    def for_(compilation: Compilation, evidence: Evidence, scratch: Path, tell: Tell) -> Search:
        """Builds are judged by the original, or by what the leading passes make of it where that was asked for."""
        origin, program = _source_of_input(compilation.source), None
        if compilation.wished.items:
            program = _program(compilation, origin, scratch)
            origin = source_of(compilation.reference().graph, scratch / "reference")
        pipeline = compilation.proven
        reference = _judged_on(pipeline, evidence).reference(origin, tell, pipeline.finite_only, program)
        lowered = pipeline.lowers_to
        exact = pipeline.exact and not compilation.liberties and (program is None or program.exact)
        half = half_precision(pipeline, compilation.target, evidence.tolerance)
        inner = INNER_VALUES if origin.nbytes <= INNER_LIMIT and _is_installed(pipeline) and half is None else 0
        tolerance = evidence.tolerance if lowered else _tolerance(evidence.tolerance, compilation)
        prover = Prover(reference, tolerance, exact, scratch, inner, lowered, half)
        return Search(compilation, prover, tell)

    def examine(self, build: Build) -> Proof:
        """What is known of a build."""
        source = source_of(build.graph, self.prover.scratch / "result")
        if not build.changed:
            return Proof(build, source, Verdict("proven", "nothing was changed: every byte is that of the original"))
        return Proof(build, source, self.prover.judge(source))

    def culprit(self, build: Build, excluded: frozenset[Key]) -> Culprit | None:
        """The first rewrite of a wrong `build` that makes it so; None where it is wrong without any of them."""
        if not build.journal.admitted or self._is_wrong(0, excluded):
            return None
        total = build.journal.admitted
        self.tell(f"looking for the wrong one of {total} rewrites", 0, 0)
        index = first_bad(total, lambda limit: self._is_wrong(limit, excluded)) - 1
        key = build.journal.keys[index]
        rewrite = next((r for r in build.journal.rewrites if r.index == index), None)
        return Culprit(index, key, rewrite or _unrecorded(index, key), excluded)

    def without_faults(self, build: Build, proof: Proof, witness: Witness | None = None) -> Proof:
        """Take back what is wrong in `build`, of which `proof` says that something is, until the rest is right."""
        excluded: frozenset[Key] = frozenset()
        faults: list[Fault] = []
        learned = False
        while proof.verdict.failed:
            if len(faults) == FEW_FAULTS and proof.verdict.counterexample is not None and not learned:
                learned, excluded, faults = True, frozenset(), []
                proof = self._chosen_anew(proof)
                build = proof.build
                continue
            culprit = self.culprit(build, excluded) if len(faults) < MOST_FAULTS else None
            if culprit is None or culprit.key in excluded:
                return self._as_it_came(proof, faults)
            faults.append(Fault.of(culprit.rewrite, proof.verdict.reason))
            if witness is not None:
                witness(culprit, faults[-1])
            excluded |= {culprit.key}
            build = self.compilation.build(excluded=excluded)
            proof = self.examine(build)
        proof.faults = faults
        return proof

    def _chosen_anew(self, proof: Proof) -> Proof:
        """Let passes that choose by measuring do so on the inputs, too, that a build is wrong on."""
        self.compilation.memory[COUNTEREXAMPLES] = [proof.verdict.counterexample]
        return self.examine(self.compilation.build())

    def _is_wrong(self, limit: int, excluded: frozenset[Key]) -> bool:
        return self.prover.is_wrong(self.compilation.build(limit, excluded).graph)

    def _as_it_came(self, failed: Proof, faults: list[Fault]) -> Proof:
        """Nothing helps: give back the original."""
        proof = self.examine(self.compilation.reference())
        reason = failed.verdict.reason
        proof.faults = faults
        proof.warnings.append(
            f"everything was undone: the result is wrong ({reason}), and no few rewrites are at fault"
        )
        return proof


def _unrecorded(index: int, key: Key) -> Rewrite:
    return Rewrite(index, key.pass_name, key.rule, (key.output,), None, (key.output,))


def refuse(verdict: Verdict, path: str | None, fault: Fault | None) -> ValidationError:
    """The error for a result that is wrong and shall not be mended."""
    if fault is None:
        remedy = "without --strict wrong rewrites are undone; --bisect names the first"
        return ValidationError(f"the result is wrong: {verdict.reason}", path=path, remedy=remedy)
    remedy = f"--no-{fault.pass_name} leaves it out"
    return ValidationError(f"the first wrong rewrite is {fault}", path=path, remedy=remedy)


def write_reproducer(folder: Path, compilation: Compilation, culprit: Culprit, fault: Fault) -> None:
    """The model right before the wrong rewrite, right after it, and what was run."""
    place = folder / f"rewrite-{culprit.index}-{culprit.key.rule}".replace("/", "_")
    place.mkdir(parents=True, exist_ok=True)
    save(compilation.build(culprit.index, culprit.excluded).graph, place / "before.onnx")
    save(compilation.build(culprit.index + 1, culprit.excluded).graph, place / "after.onnx")
    lines = [
        f"fault: {fault}",
        f"model: {compilation.source.name or 'in memory'}",
        f"pipeline: {compilation.pipeline}",
        f"target: {compilation.target.name}",
        f"fast-math: {', '.join(sorted(compilation.liberties)) or 'nothing granted'}",
        "see: onnx-opt diff before.onnx after.onnx",
    ]
    (place / "fault.txt").write_text("\n".join(lines) + "\n")


def judge_files(a: str, b: str, evidence: Evidence, exact: bool) -> Verdict:
    """How the results of two model files differ."""
    return prove(evidence.reference(Source.of(a)), Source.of(b), tolerance=evidence.tolerance, exact=exact)
