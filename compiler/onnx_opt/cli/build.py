"""``onnx-opt build [NAME...]``: every output that the project file lists, brought up to date."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

import click

from onnx_opt.builds.config.plan import Plan
from onnx_opt.builds.config.project import Project
from onnx_opt.builds.config.settings import Flags, Setting
from onnx_opt.builds.stamps import Stamps
from onnx_opt.cli import many, optimize
from onnx_opt.cli.flags import NO_VALUE, PassFlag
from onnx_opt.cli.optimize import Flag

HELP = """Bring every output that onnx-opt.toml lists up to date, or those that are named.

An output is made again where the content of its model, of its data, of the user's own passes, its flags or a version
changed; nothing is done for the others. Every other flag of onnx-opt may be given, and holds for all models above what
the file says.

\b
    [defaults]
    tolerance = 1e-3
    [models.detector]
    model = "models/detector.onnx"
    output = "build/detector.onnx"
    fp16 = true"""


SECTION = "Build"


class BuildCommand(many.ManyCommand):
    """Takes the flags of the plain command as well, and remembers in which order they were given."""

    own_section = SECTION

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "[NAME...] [FLAGS]")


_OWN = frozenset({"jobs", "cache", "check", "depfile", "as_json", "quiet", "output"})
"""Flags of the plain command whose place is taken here."""


def own_flags() -> list[Flag]:
    """The flags of this command itself."""
    flag, path = partial(Flag, SECTION), click.Path(path_type=Path)
    return [
        flag(["--config"], type=path, metavar="FILE", help="The project file.  [onnx-opt.toml here or above]"),
        flag(["--jobs", "-j"], type=click.IntRange(min=0), metavar="N", help="Models at a time.  [one a core]"),
        flag(["--cache/--no-cache"], default=None, help="Keep results, and take those that are kept.  [yes]"),
        flag(["--force"], is_flag=True, help="Make all of them again, whatever is there."),
        flag(["--check"], is_flag=True, help="Write nothing; exit with 1 where an output is missing or out of date."),
        flag(["--list", "as_list"], is_flag=True, help="List the outputs, and why any has to be made."),
        flag(["--depfile"], type=path, metavar="FILE", help="Write what the outputs depend on as Make rules."),
        flag(["--json", "as_json"], is_flag=True, help="Write the reports as JSON to stdout."),
        flag(["--quiet", "-q"], is_flag=True, help="Write warnings and errors only."),
    ]


def build() -> click.Command:
    plain = optimize.build()
    taken = [param for param in plain.params if isinstance(param, click.Option) and param.name not in _OWN]
    names = click.Argument(["names"], nargs=-1)
    return BuildCommand("build", params=[names, *own_flags(), *taken], callback=run, help=HELP)


def run(names: Sequence[str], config: Path | None, as_list: bool, **given: Any) -> int:
    """Bring the outputs up to date; the exit code."""
    ctx = click.get_current_context()
    project = Project.find(config, Path.cwd())
    over = _over(ctx, given)
    with chdir(project.folder):
        steps = Plan(project, many.compiler(), over).steps(names)
        cache = given["cache"] if given["cache"] is not None else bool(project.held.get("cache", True))
        jobs = given["jobs"] if given["jobs"] is not None else int(project.held.get("jobs", 0))
        work = many.Work(Stamps(Path()), steps, jobs, cache, many.Shows(given["as_json"], given["quiet"]))
        if as_list:
            return work.list()
        code = work.check() if given["check"] else work.run(given["force"])
        found = {state.step.output: state.files() for state in work.states}
    if given["depfile"] and code == 0:
        _write_depfile(given["depfile"], found, project)
    return code


def _over(ctx: click.Context, given: Mapping[str, Any]) -> dict[str, Setting]:
    """The flags of the plain command that were given, as settings."""
    flags = Flags(optimize.build().params)
    by_name = {param.name: param for param in optimize.build().params}
    found: dict[str, Setting] = {}
    for param in dict.fromkeys(ctx.meta["onnx_opt.order"]):
        own = getattr(param, "section", "") == SECTION
        if own or not isinstance(param, click.Option) or param.name not in by_name or not param.expose_value:
            continue
        key = f"{param.opts[-1].removeprefix('--')}" if param.name != "level" else "level"
        found[key] = Setting(_value(param, given[param.name or ""]), f"--{key}")
    return {key: setting for key, setting in found.items() if key in flags}


def _value(param: click.Option, value: Any) -> Any:
    """What a project file would say for the value of a flag."""
    if isinstance(param, PassFlag) and value is False and not param.secondary_opts:
        return True  # --no-pad-channels, a flag of its own
    if isinstance(value, tuple):
        texts = [text for text in value if text != NO_VALUE]
        return [_absolute(param, text) for text in texts] if texts else True
    return _absolute(param, value)


def _absolute(param: click.Option, value: Any) -> Any:
    """Paths of the command line are relative to the current folder, not to the project's."""
    return os.path.abspath(value) if isinstance(param.type, click.Path) and isinstance(value, str) else value


def _write_depfile(path: Path, found: Mapping[Path, Sequence[Path]], project: Project) -> None:
    """The rules as a build system reads them in the folder in which it called; `found` is relative to the project's."""
    from onnx_opt.builds.depfile import write_depfile

    def seen(file: Path) -> Path:
        return Path(os.path.relpath(project.folder / file))

    config = seen(project.path.absolute())
    write_depfile(path, {seen(output): [*map(seen, files), config] for output, files in found.items()})
