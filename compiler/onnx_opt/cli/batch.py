"""``onnx-opt batch PATTERN... -o FOLDER``: many models with the same flags, each in a process of its own."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from onnx_opt.builds import executors
from onnx_opt.builds.memory import available_memory
from onnx_opt.builds.stamps import Stamps
from onnx_opt.builds.steps import Compiler, Step
from onnx_opt.cli import flags, many, optimize
from onnx_opt.cli.optimize import Flag
from onnx_opt.errors import OnnxOptError, UsageError

HELP = """Optimize many models with the same flags: onnx-opt batch 'models/**/*.onnx' -o out --jobs 4

Each model has a process of its own: one that crashes it, or exhausts its memory, is reported, and the others go on.
What is in the folder already and up to date is left alone, so a batch that was stopped goes on where it was. Results
keep the names that the models have below the first folder with a wildcard. Any flag of onnx-opt MODEL may be given."""

SECTION = "Batch"
_OWN = frozenset(
    {"jobs", "cache", "check", "depfile", "as_json", "quiet", "output", "report", "report_json", "explain"}
)
"""Flags of the plain command whose place is taken here, or that make no sense for many models."""


class BatchCommand(many.ManyCommand):
    """Takes the flags of the plain command as well."""

    own_section = SECTION

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "PATTERN... -o FOLDER [FLAGS]")


def own_flags() -> list[Flag]:
    """The flags of this command itself."""
    flag, path = partial(Flag, SECTION), click.Path(path_type=Path)
    by_value = "Send models and results, for machines that share no disk with this one; else their paths."
    return [
        flag(["-o", "--output"], type=path, required=True, metavar="FOLDER", help="Where the results go."),
        flag(
            ["--jobs", "-j"], type=click.IntRange(min=0), default=0, metavar="N", help="Models at a time.  [one a core]"
        ),
        flag(["--cache/--no-cache"], default=True, help="Keep results, and take those that are kept.  [yes]"),
        flag(["--force"], is_flag=True, help="Make all of them again, whatever is there."),
        flag(["--dask"], metavar="ADDRESS", help="Run on the workers of the Dask scheduler there: tcp://host:8786."),
        flag(["--ray"], metavar="ADDRESS", help="Run on the Ray cluster there: auto, or host:6379."),
        flag(["--by-value"], is_flag=True, help=by_value),
        flag(["--json", "as_json"], is_flag=True, help="Write the reports as JSON to stdout."),
        flag(["--quiet", "-q"], is_flag=True, help="Write warnings and errors only."),
    ]


def build() -> click.Command:
    plain = optimize.build()
    taken = [param for param in plain.params if isinstance(param, click.Option) and param.name not in _OWN]
    patterns = click.Argument(["patterns"], nargs=-1, required=True)
    return BatchCommand("batch", params=[patterns, *own_flags(), *taken], callback=run, help=HELP)


def run(patterns: Sequence[str], output: Path, **given: Any) -> int:
    """Optimize every model that a pattern matches; the exit code."""
    if given["dask"] and given["ray"]:
        raise UsageError("--dask and --ray are two clusters", remedy="choose one")
    ctx = click.get_current_context()
    words = _words(ctx, given)
    steps = list(_steps(patterns, output, words, many.compiler()))
    output.mkdir(parents=True, exist_ok=True)
    remote = given["dask"] or given["ray"]
    jobs = given["jobs"] or executors.cores()
    work = many.Work(
        Stamps(output),
        steps,
        jobs,
        given["cache"],
        many.Shows(given["as_json"], given["quiet"]),
        executor=executors.dask(remote) if given["dask"] else executors.ray(remote) if remote else None,
        by_value=given["by_value"],
        max_memory=None if remote else available_memory() // min(jobs, len(steps)),
        remote=bool(remote),
        table=True,
    )
    return work.run(given["force"])


def _words(ctx: click.Context, given: dict[str, Any]) -> list[str]:
    """The flags of the plain command as they were given."""
    return flags.words_of(ctx.meta["onnx_opt.order"], given, lambda param: getattr(param, "section", "") != SECTION)


def _steps(patterns: Sequence[str], output: Path, words: Sequence[str], compiler: Compiler) -> Iterator[Step]:
    made: dict[Path, str] = {}
    for pattern in patterns:
        root = _root(pattern)
        found = sorted(path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path))
        found = [path for path in found if not Path(path).resolve().is_relative_to(output.resolve())]
        if not found:
            raise UsageError(f"no model matches '{pattern}'", remedy="put the pattern in quotes; ** stands for folders")
        for path in found:
            place = output / os.path.relpath(path, root)
            other = made.setdefault(place, path)
            if other == path:
                step = Step(os.path.relpath(path, root), path, place, tuple(words), compiler)
                _check(step)
                yield step
            else:
                raise UsageError(f"'{other}' and '{path}' would both become {place}", remedy="run them apart")


def _check(step: Step) -> None:
    """Read the flags before any work is done: what is wrong with them is wrong for all."""
    try:
        _ = step.request
    except OnnxOptError as error:
        raise UsageError(str(error)) from error


def _root(pattern: str) -> str:
    """The folder above the first part of a pattern with a wildcard, or that of a file."""
    parts = Path(pattern).parts
    plain = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return str(Path(*parts[:plain])) if plain else "."
