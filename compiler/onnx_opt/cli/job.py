"""One optimization from the command line: progress while it runs, the files, the report at its end."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import complain, emission, ort, params, show
from onnx_opt.cli.progress import Progress
from onnx_opt.diagnostics import explain, explain_operator, is_operator, original_node
from onnx_opt.instrument import Instrument, PrintAfter, PrintAfterChange, check_pass_names
from onnx_opt.pipeline import Pipeline

if TYPE_CHECKING:
    from onnx_opt.api import Result
    from onnx_opt.emit import Emitter
    from onnx_opt.ir import Graph
    from onnx_opt.report import Report


@dataclass
class Job:
    """`given` are the values of the command's own flags."""

    model: str
    output: Path | None
    pipeline: Pipeline
    given: dict[str, Any]
    report: Report | None = None
    """What was done, once it is."""
    cached: bool = False
    """Whether the result comes from the cache."""

    def run(self) -> int:
        """Do it; returns the exit code."""
        labels = self._labels()
        self.announce()
        result = self.make()
        if self.output is not None:
            self.put(result, self.output)
        self.warn(result.report)
        self._explain(result, labels)
        if self.given["report"]:
            command = shlex.join(["onnx-opt", *click.get_current_context().find_root().obj])
            result.save_report(self.given["report"], command, self.output)
        self.show(result.report)
        self.report = result.report
        return 0

    def make(self) -> Result:
        """The result, not written yet."""
        check_pass_names(self.given["print_after"], self.pipeline)
        if self._emitter is not None:
            self._emitter.check(self._interface())  # what cannot work fails before any work is done
        with Progress(self._shows_progress) as progress:
            return self._optimize(progress)

    def put(self, result: Result, output: Path) -> None:
        """Write the result."""
        with Progress(self._shows_progress) as progress:
            if self._emitter is not None:
                result.report.emitted = self._emitter.emit(result, output, progress.tell)
                return
            progress.tell("writing", 0, 0)
            result.save(output)

    @cached_property
    def _emitter(self) -> Emitter | None:
        return emission.emitter_for(self.given, self.output)

    @property
    def is_plain(self) -> bool:
        """Whether the output is a plain ONNX file."""
        return self._emitter is None

    def _interface(self) -> Graph | None:
        """The model with the sizes that are asked for; None where passes will change its inputs."""
        if any(pass_.redefines for pass_ in self.pipeline.passes()):
            return None
        from onnx_opt.interface import restrict
        from onnx_opt.ir import load

        graph = load(self.model)
        restrict(graph, params.read_dims(self.given["dims"]), params.read_shapes(self.given["shapes"]))
        return graph

    def _labels(self) -> dict[str, str | None]:
        """The nodes to be explained, by the name that was asked for, None for the name of an operator; a wrong name
        fails before any work is done."""
        if not self.given["explain"]:
            return {}
        from onnx_opt.ir import load

        graph = load(self.model)
        return {
            name: None if is_operator(graph, name) else original_node(graph, name) for name in self.given["explain"]
        }

    def _optimize(self, progress: Progress) -> Result:
        from onnx_opt import api

        given = self.given
        return api.optimize(
            self.model,
            self.pipeline,
            target=given["target"],
            validate=not given["no_validate"],
            strict=given["strict"],
            bisect=given["bisect"],
            data=given["data"],
            tolerance=params.read_tolerance(given["tolerance"]),
            samples=given["samples"],
            seed=given["seed"],
            custom_ops=given["custom_ops"],
            dims=params.read_dims(given["dims"]),
            shapes=params.read_shapes(given["shapes"]),
            fast_math=given["fast_math"] or False,
            reproducer=given["reproducer"],
            metadata=given["metadata"],
            session=ort.session_of(given),
            jobs=given["jobs"],
            scratch=self.output.parent if self.output else None,
            instruments=self._instruments(),
            progress=progress.tell,
        )

    def _instruments(self) -> list[Instrument]:
        found: list[Instrument] = []
        if self.given["print_after"]:
            found.append(PrintAfter(self.given["print_after"], self.write))
        if self.given["print_after_change"]:
            found.append(PrintAfterChange(self.write))
        return found

    # -- what the user reads ---------------------------------------------------------------------------------------

    @property
    def _shows_progress(self) -> bool:
        return sys.stderr.isatty() and not self.given["quiet"] and not self.given["as_json"]

    @property
    def write(self) -> Callable[[str], None]:
        """Writes what was asked for: to stdout, unless the JSON report goes there."""
        return lambda text: click.echo(text, err=self.given["as_json"])

    def say(self, text: str) -> None:
        """Write what was not asked for."""
        if not self.given["quiet"] and not self.given["as_json"]:
            click.echo(text)

    def announce(self) -> None:
        """Say what is about to be done."""
        self.say(f"pipeline: {self.pipeline or 'nothing'}")

    def warn(self, report: Report) -> None:
        """Say what went wrong and did no harm."""
        for fault in report.faults:
            complain(f"{self.model}: undone, because it is wrong: {fault}", kind="warning")
        for warning in report.warnings:
            complain(f"{self.model}: {warning}", kind="warning")

    def _explain(self, result: Result, labels: dict[str, str | None]) -> None:
        for name, label in labels.items():
            if label is None:
                self.write(f"operator '{name}':")
                for line in explain_operator(result.journal, result.model, name):
                    self.write(f"  {line}")
                continue
            alias = "" if name == label else f" (computes {name})"
            self.write(f"node '{label}'{alias}:")
            for line in explain(result.journal, result.model, label):
                self.write(f"  {line}")

    def show(self, found: Report) -> None:
        """Write the report in the ways that were asked for."""
        where = {"model": self.model, "output": str(self.output) if self.output else None, "cached": self.cached}
        report = {**where, **found.to_dict()}
        if self.given["report_json"]:
            from onnx_opt.files import atomic_file

            with atomic_file(Path(self.given["report_json"])) as file:
                file.write((json.dumps(report, indent=2) + "\n").encode())
        if self.given["as_json"]:
            click.echo(json.dumps(report, indent=2))
        elif not self.given["quiet"] and self.output is not None:
            show.print_report(found, with_times=self.given["time_passes"])
            click.echo(f"written: {self.output}{' (from the cache)' if self.cached else ''}")
