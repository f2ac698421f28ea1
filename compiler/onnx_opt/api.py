"""The library: optimize a model and prove the result.

result = onnx_opt.optimize("model.onnx", level=2, dims={"batch": 1})
print(result.report.status, result.report.after.nodes)
result.save("model.opt.onnx")
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from onnx_opt import ir, notebook
from onnx_opt.compilation import Build, Compilation, Input
from onnx_opt.diagnostics import explain, explain_operator, is_operator, original_node
from onnx_opt.files import ScratchFolder, atomic_file, put_in_place
from onnx_opt.instrument import Announce, Instrument, Log, Timing
from onnx_opt.interface import Dims, Shapes
from onnx_opt.ir import Graph
from onnx_opt.ir.external import ExternalFile
from onnx_opt.journal import Journal
from onnx_opt.liberties import read_liberties
from onnx_opt.pipeline import DEFAULT_LEVEL, Pipeline, for_level
from onnx_opt.report import Report, Stats, measure
from onnx_opt.runtime.settings import AS_WRITTEN, Settings
from onnx_opt.target import Target, find_target

if TYPE_CHECKING:
    from onnx import ModelProto
    from rich.console import RenderableType

    from onnx_opt.proof import Evidence, Proof, Search
    from onnx_opt.validate import Source

Tell = Callable[[str, int, int], object]

_log = logging.getLogger(__name__)


@dataclass(repr=False)
class Result:
    """An optimized model: `model` is its graph, `report` says what was done and what is known of it, `journal` holds
    every rewrite. A notebook shows it as a table."""

    model: Graph
    report: Report
    journal: Journal
    source: Input
    _proven: Source | None = field(default=None, repr=False)
    """The very bytes or the very file that was held against the original: saving writes these."""
    _scratch: Any = field(default=None, repr=False)
    search: Search | None = field(default=None, repr=False)
    """What judged it, where validation was asked for: it judges what is made of it as well."""
    _original: Callable[[], Graph] | None = field(default=None, repr=False)
    """Loads the original with the sizes that were asked for."""

    def __repr__(self) -> str:
        return notebook.one_line(self.report)

    def __rich__(self) -> RenderableType:
        return notebook.as_rich(self.report)

    def _repr_html_(self) -> str:
        return notebook.as_html(self.report)

    def original(self) -> Graph:
        """The model as it was given, with the sizes that were asked for, loaded anew."""
        return self._original() if self._original is not None else self.source.load()

    def save_report(self, path: str | Path, command: str = "", output: str | Path | None = None) -> None:
        """Write what was done as one HTML file that works offline. `command` is what to repeat it with; `output` the
        file that the model was saved to."""
        from onnx_opt.html import collect, write

        with ir.gc_paused():
            write(collect(self, command, output), path)

    def save(self, path: str | Path) -> None:
        """Write the model with its external data: files appear whole or not at all."""
        path = Path(path)
        self._write(path)
        self.report.after = self.report.after.of_size(path.stat().st_size)

    def _write(self, path: Path) -> None:
        proven = self._proven
        moved_before = proven is not None and proven.path is not None and not proven.path.is_file()
        if proven is None or self.report.after.external_bytes or moved_before:
            ir.save(self.model, path)
            return
        ExternalFile(path, self.model.model).check()
        if proven.path is not None:
            put_in_place(proven.path, path)
            return
        with atomic_file(path) as file:
            file.write(proven.data or b"")

    def to_bytes(self) -> bytes:
        """The model as bytes; external tensors stay references."""
        return ir.to_bytes(self.model)

    def to_proto(self) -> ModelProto:
        """The model as an onnx.ModelProto."""
        from onnx import ModelProto

        proto: ModelProto = ModelProto.FromString(self.to_bytes())
        return proto

    def explain(self, name: str) -> list[str]:
        """What happened to the node called `name`, or that computes the value of that name, and why nothing more did;
        for the name of an operator, such as "Transpose", why each of those that are left is there.

        Raises UsageError where the original has no such node or operator.
        """
        source = self.source.load()
        if is_operator(source, name):
            return list(explain_operator(self.journal, self.model, name))
        return list(explain(self.journal, self.model, original_node(source, name)))


def optimize(
    model: str | Path | bytes | ModelProto | Graph,
    passes: Pipeline | str | Any = None,
    *,
    level: int = DEFAULT_LEVEL,
    target: str | Target = "portable",
    validate: bool = True,
    strict: bool = False,
    bisect: bool = False,
    data: Any = None,
    tolerance: Any = None,
    samples: int | None = None,
    seed: int = 0,
    custom_ops: Sequence[str | Path] = (),
    dims: Dims | None = None,
    shapes: Shapes | None = None,
    fast_math: bool | str | Iterable[str] = False,
    reproducer: str | Path | None = None,
    metadata: bool = False,
    session: Settings | None = None,
    jobs: int = 0,
    scratch: str | Path | None = None,
    instruments: Sequence[Instrument] = (),
    progress: Tell | None = None,
) -> Result:
    """Optimize `model` and hold the result against it.

    `passes` is a pipeline, its text, or a list of passes, rules and GraphSurgeon functions; without it the preset
    `level` runs.  A given graph is not changed.  `dims` fixes symbolic dims (``{"batch": 1}``) or bounds them
    (``{"seq": (1, 512)}``), `shapes` fixes inputs; both change the interface, as asked.

    Rewrites that are found wrong are taken back; `strict` raises instead, and `bisect` raises an error that names the
    first of them.  `data` are inputs to compare on (a path, or feeds), `tolerance` is a number or a mapping from dtypes
    or output names to numbers, `samples` the most random inputs, `custom_ops` are libraries for ONNX Runtime.
    `fast_math` are liberties that rules may take with floating-point numbers (`onnx_opt.liberties`), True for all;
    where some are granted, the presets also run the passes that use them, and nothing is promised to the bit.
    `reproducer` is a folder for the models right before and after each wrong rewrite. `metadata` writes each node's
    origin into the model. `session` says which provider of ONNX Runtime runs the models of the proof, and with which
    options (`onnx_opt.runtime.settings.read_settings`); by default the processor does. `jobs` is the number of threads,
    0 for one a core; the result is the same. `scratch` is where the files of large models go while they are proven;
    `progress` is called with (what is done, units done, their total or 0).

    Raises ModelError, UsageError, PassError, TargetError, ValidationError and MissingRuntimeError.
    """
    liberties = read_liberties(fast_math)
    found = target if isinstance(target, Target) else find_target(target)
    pipeline = for_level(level, liberties, found) if passes is None else Pipeline.of(passes)
    from onnx_opt.proof import Evidence
    from onnx_opt.runtime.session import require
    from onnx_opt.validate.run import require_runtime

    evidence = Evidence(
        data,
        tolerance,
        samples,
        seed,
        dims or {},
        {} if any(each.redefines for each in pipeline.passes()) else shapes or {},  # of inputs that stay as they are
        custom_ops,
        jobs=jobs,
        liberties=liberties,
        session=session or AS_WRITTEN,
    )
    evidence.check()
    if session is not None:
        require(session)
    compilation = Compilation(
        Input.of(model),
        pipeline,
        found,
        dims or {},
        shapes or {},
        metadata=metadata,
        tolerant=not strict,
        jobs=jobs,
        liberties=liberties,
        evidence=evidence,
    )
    job = _Job(compilation, progress or (lambda what, done, total: None))
    if not validate:
        return job.result(job.build(instruments))
    require_runtime()  # where it is missing, say so before any work is done
    build = job.build(instruments)
    search = job.search(evidence, Path(scratch) if scratch else None)
    proof = job.prove(build, search, strict or bisect, bisect, Path(reproducer) if reproducer else None)
    result = job.result(proof.build, proof)
    result.search = search
    return result


def _tell_log(name: str, report: Report) -> None:
    """Write the outcome to the log, and what is wrong with it as warnings."""
    for problem in (*(f"undone, because it is wrong: {fault}" for fault in report.faults), *report.warnings):
        _log.warning("%s: %s", name, problem)
    before, after = report.before, report.after
    _log.info("%s: %s, %d nodes became %d", name, report.status, before.nodes, after.nodes)


class _Job:
    """The steps of one optimization, timed."""

    def __init__(self, compilation: Compilation, tell: Tell) -> None:
        self.compilation = compilation
        self.tell = tell
        self.timing = Timing()
        self.seconds: dict[str, float] = {}
        self.scratch: Any = None

    @ir.gc_paused()
    def build(self, instruments: Sequence[Instrument]) -> Build:
        """Load the model and run the pipeline."""
        compilation = self.compilation
        self.tell("loading", 0, 0)
        with self._timed("load"):
            graph = compilation.original()
            self.before = measure(graph)
        watching = [self.timing, Announce(self.tell), Log(), *instruments]
        with self._timed("passes"):
            build = compilation.optimize(graph, Journal(), watching)
        compilation.target.check(build.graph, compilation.source.name)
        return build

    def search(self, evidence: Evidence, near: Path | None) -> Search:
        """What judges builds of this model."""
        from onnx_opt.proof import Search

        self.scratch = ScratchFolder(near)
        return Search.for_(self.compilation, evidence, self.scratch.path, self.tell)

    def prove(self, build: Build, search: Search, strict: bool, bisect: bool, reproducer: Path | None) -> Proof:
        """Hold the build against the original, and take back what is wrong."""
        from onnx_opt.proof import refuse, write_reproducer
        from onnx_opt.report import Fault

        compilation = self.compilation
        with self._timed("validate"):
            self.tell("validating", 0, 0)
            proof = search.examine(build)
            if not proof.verdict.failed:
                return proof
            witness = partial(write_reproducer, reproducer, compilation) if reproducer is not None else None
            if not strict:
                return search.without_faults(build, proof, witness)
            culprit = search.culprit(build, frozenset()) if bisect else None
            fault = Fault.of(culprit.rewrite, proof.verdict.reason) if culprit else None
            if culprit and fault and witness:
                witness(culprit, fault)
            raise refuse(proof.verdict, compilation.source.name, fault)

    @ir.gc_paused()
    def result(self, build: Build, proof: Proof | None = None) -> Result:
        """The result with its report."""
        after = measure(build.graph)
        report = Report(
            pipeline=str(self.compilation.pipeline),
            target=self.compilation.target.name,
            before=self.before,
            after=after.of_size(self._file_bytes(after, proof)),
            rewrites=build.journal.by_rule(),
            runs=self.timing.totals(),
            tables=build.journal.tables,
            seconds=self.seconds,
            granted=tuple(sorted(self.compilation.liberties)),
            liberties=build.journal.liberties_taken(),
        )
        report.warnings += dict.fromkeys(build.journal.failures)
        report.measured = dict(build.journal.measured)
        if proof is not None:
            report.add_verdict(proof.verdict, proof.faults, proof.warnings)
            if self.compilation.wished.items and (taken := self.compilation.embedded.taken).items:
                report.notes.append(f"held against what {taken} makes of the model, as was asked for")
            if self.compilation.pipeline.finite_only:
                report.notes.append("the same for finite values; of infinities and NaN more NaN may come than before")
        source = self.compilation.source
        _tell_log(source.name or "model", report)
        proven = proof.source if proof else None
        return Result(
            build.graph, report, build.journal, source, proven, self.scratch, _original=self.compilation.original
        )

    def _file_bytes(self, after: Stats, proof: Proof | None) -> int:
        """Bytes of the result's file; without proof it is not written yet, and the weights tell about how many."""
        if proof is not None:
            return proof.source.nbytes
        before = self.before
        inside = after.weight_bytes - after.external_bytes - (before.weight_bytes - before.external_bytes)
        return max(before.bytes - before.external_bytes + inside, 0)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + perf_counter() - start
