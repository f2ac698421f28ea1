"""One output, brought up to date: from the cache where its result is there, else by a run."""

from __future__ import annotations

import filecmp
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import click

from onnx_opt.builds.install import data_of, install
from onnx_opt.cli import complain
from onnx_opt.errors import UsageError

if TYPE_CHECKING:
    from onnx_opt.builds.cache import Cache, Entry
    from onnx_opt.builds.inputs import Inputs
    from onnx_opt.builds.request import Request
    from onnx_opt.cli.job import Job


def run(job: Job, own: Sequence[click.Parameter]) -> int:
    """Do `job`; `own` are the flags of the command that belong to no pass. Returns the exit code."""
    given = job.given
    if not (given["cache"] or given["depfile"] or given["check"]) or not os.path.isfile(job.model):
        return job.run()
    from onnx_opt.builds.inputs import Inputs
    from onnx_opt.builds.request import Request

    if given["depfile"] or given["check"]:  # a build system calls, whose users want to read of what went wrong only
        given["quiet"] |= not sys.stdout.isatty()
    request = Request.of(job.model, job.output, job.pipeline, given, own)
    upkeep = Upkeep(job, request, Inputs.of(request))
    return upkeep.check() if given["check"] else upkeep.run()


@dataclass
class Upkeep:
    """What is asked for, and the files that it depends on."""

    job: Job
    request: Request
    inputs: Inputs

    def run(self) -> int:
        """Make the output, then write what it depends on; returns the exit code."""
        depfile = self.job.given["depfile"]
        if depfile and self.job.output is None:
            raise UsageError("--depfile needs an output", remedy="add -o OUT")
        code = self._with_cache() if self._is_kept else self.job.run()
        if depfile and code == 0 and self.job.output is not None:
            from onnx_opt.builds.depfile import write_depfile

            write_depfile(Path(depfile), {self.job.output: self.inputs.files()})
        return code

    @property
    def _is_kept(self) -> bool:
        return bool(self.job.given["cache"]) and self.job.output is not None and not self.request.extras

    # -- with the cache --------------------------------------------------------------------------------------------

    def _with_cache(self) -> int:
        from onnx_opt.builds.cache import Cache
        from onnx_opt.builds.key import key_of
        from onnx_opt.builds.reports import report_from

        cache, key, output = Cache(), key_of(self.request, self.inputs), self.job.output
        assert output is not None
        with cache.making(output, key):
            entry = cache.find(key)
            if entry is not None and self._restore(cache, key, entry):
                self._remember(key)
                return 0
            code = self.job.run()
            # What changed while it was read is not known by its hash.
            if code == 0 and self.job.report is not None and key_of(self.request, self.inputs) == key:
                self._keep(cache, key)
                self.job.cached, self.job.report = True, report_from(self.job.report.to_dict())
                self._remember(key)
        return code

    def _remember(self, key: str) -> None:
        """Note what this line came to, where nothing but the model decides that."""
        from onnx_opt.builds.depfile import rules
        from onnx_opt.builds.recall import OUTPUT, Answer, asked, remember
        from onnx_opt.builds.tools import source_folders

        job, inputs, roots = self.job, self.inputs, source_folders()
        problems = getattr(click.get_current_context().command, "problems", ())
        decided_by_more = inputs.others or inputs.external or problems or roots is None or job.given["report_json"]
        if not asked or job.output is None or decided_by_more:
            return
        depfile, stand_in = job.given["depfile"], replace(job, output=Path(OUTPUT))
        files = {depfile: rules({Path(OUTPUT): inputs.files()})} if depfile else {}
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err), suppress(OSError):
            _show(stand_in)
            answer = Answer(key, str(job.output), files, out.getvalue(), err.getvalue())
            remember(answer, inputs.files(), roots or [])

    def _keep(self, cache: Cache, key: str) -> None:
        assert self.job.report is not None
        try:
            cache.add(key, list(self._written()), self.job.report.to_dict())
        except OSError as error:
            complain(f"the result could not be kept: {error.filename or cache.folder}: {error.strerror}", "warning")

    def _written(self) -> Iterator[Path]:
        """The output and its data, where that is a file of its own."""
        from onnx_opt.builds.external import external_locations

        output = self.job.output
        assert output is not None
        yield output
        if data_of(output).name in external_locations(output):
            yield data_of(output)

    def _restore(self, cache: Cache, key: str, entry: Entry) -> bool:
        """Write the output from an entry, and its report; False where that can't be done."""
        from onnx_opt.builds.cache import Damaged
        from onnx_opt.builds.reports import report_from

        if self._overwrites_input():
            return False  # a run says what is wrong with that
        try:
            report = report_from(entry.report)
            self._copy(entry)
        except (Damaged, KeyError, TypeError, AttributeError):
            cache.remove(key)
            return False
        self.job.cached, self.job.report = True, report
        _show(self.job)
        return True

    def _overwrites_input(self) -> bool:
        from onnx_opt.builds.external import external_file

        output = self.job.output
        assert output is not None
        ours = {output.resolve(), data_of(output).resolve()}
        files = (external_file(self.inputs.model, location) for location in self.inputs.external)
        return any(file is not None and file.resolve() in ours for file in files)

    def _copy(self, entry: Entry) -> None:
        """Put the files of an entry in place. Raises Damaged, before anything is replaced."""
        output = self.job.output
        assert output is not None
        model, *data = entry.files
        if not data:
            entry.copy(model, output)
            return
        for file in entry.files:
            entry.check(file)
        install(entry.folder / model.name, entry.folder / data[0].name, output)

    # -- without writing -------------------------------------------------------------------------------------------

    def check(self) -> int:
        """0 where the output is what a run would write, else 1."""
        output = self.job.output
        if output is None:
            raise UsageError("--check needs an output", remedy="add -o OUT")
        if not output.exists():
            return self._stale("it is missing")
        if self._is_what_is_kept() or self._is_what_a_run_makes():
            return 0
        return self._stale("it is out of date")

    def _stale(self, why: str) -> int:
        complain(f"{self.job.output}: {why} (the same command without --check makes it)", "check")
        return 1

    def _is_what_is_kept(self) -> bool:
        from onnx_opt.builds.cache import Cache
        from onnx_opt.builds.key import key_of

        if not self._is_kept or self.job.output is None:
            return False
        entry = Cache().find(key_of(self.request, self.inputs), touch=False)
        if entry is None:
            return False
        places = (self.job.output, data_of(self.job.output))
        return all(entry.is_at(file, place) for file, place in zip(entry.files, places, strict=False))

    def _is_what_a_run_makes(self) -> bool:
        from onnx_opt.ir.external import ExternalFile

        output = self.job.output
        assert output is not None
        result = self.job.make()
        external = result.report.after.external_bytes and self.job.is_plain
        if external and not ExternalFile(output, result.model.model).active:
            return output.read_bytes() == result.to_bytes()  # it goes on referring to the data of the input
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / output.name
            self.job.put(result, copy)
            return _same(copy, output) and (not data_of(copy).exists() or _same(data_of(copy), data_of(output)))


def _show(job: Job) -> None:
    """Write what a run would have written."""
    assert job.report is not None
    job.announce()
    job.warn(job.report)
    job.show(job.report)


def _same(one: Path, other: Path) -> bool:
    return other.exists() and filecmp.cmp(one, other, shallow=False)
