"""``onnx-opt MODEL -o OUT [flags]``: the flags, and what is done with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from onnx_opt.cli import complain, emission, flags, params
from onnx_opt.cli.group import DEFAULT, by_task, version
from onnx_opt.errors import UsageError
from onnx_opt.files import is_special
from onnx_opt.liberties import LIBERTIES, read_liberties
from onnx_opt.limits import memory_limit, time_limit
from onnx_opt.passes import registry
from onnx_opt.pipeline import DEFAULT_LEVEL, PRESETS, Pipeline
from onnx_opt.target import TARGETS, find_target

SECTIONS = ("Pipeline", "Passes", "Proof", "Output", *(kind.section for kind in emission.KINDS))

HELP = """Optimize an ONNX model and prove that it still computes the same.

The passes of a preset run in a fixed order; a pass asked for by name joins in its proper place. With -O0 the passes
run exactly as given. Whatever cannot be proven is undone and reported."""

EXAMPLES = (
    ("onnx-opt model.onnx -o small.onnx", "proven to compute the same"),
    ("onnx-opt model.onnx --fp16 --pad-channels 8", "half precision, measured; channels padded"),
    ("onnx-opt model.onnx --dim batch=1 -O3", "for one size, with more time"),
    ("onnx-opt model.onnx --report out.html", "what was done, for the browser"),
    ("onnx-opt model.onnx --explain Transpose", "why each that is left is there"),
)


class Flag(click.Option):
    """An option of the command itself, shown in `section` of the help."""

    def __init__(self, section: str, declarations: Sequence[str], **settings: Any) -> None:
        super().__init__(declarations, **settings)
        self.section = section


class OptimizeCommand(click.Command):
    """Knows in which order the flags were given, and shows them in sections."""

    problems: Sequence[str] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        order = self.make_parser(ctx).parse_args(list(args))[2]
        ctx.meta["onnx_opt.order"] = order
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("onnx-opt", "MODEL [-o OUT] [FLAGS]")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            formatter.write_dl(EXAMPLES, col_max=48)
        sections: dict[str, list[tuple[str, str]]] = {name: [] for name in SECTIONS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                sections[getattr(param, "section", "Output")].append(record)
        for name, records in sections.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)
        for title, commands in by_task(left_out=DEFAULT):
            with formatter.section(title):
                formatter.write_dl(commands)


def build() -> click.Command:
    own = own_flags()
    taken = {name for option in own for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    of_passes, problems = flags.pass_flags(taken)
    params_: list[click.Parameter] = [click.Argument(["model"], type=click.Path(), required=True)]
    command = OptimizeCommand(
        "optimize", params=[*params_, *of_passes, *own], callback=run, help=HELP, options_metavar="[-o OUT] [FLAGS]"
    )
    command.problems = [*registry().problems.values(), *problems]
    return command


def own_flags() -> list[click.Option]:
    """The flags that belong to no pass."""
    return [*_pipeline_flags(), *_proof_flags(), *_output_flags(), *_emission_flags()]


def _pipeline_flags() -> list[Flag]:
    flag, levels, targets = (
        partial(Flag, "Pipeline"),
        click.Choice(list(map(str, PRESETS))),
        click.Choice(list(TARGETS)),
    )
    whole = "The whole pipeline, as text: 'fold,repeat(cleanup,my.py:my_pass)'."
    liberties = f"Grant rules liberties with floating point: all, or some of {', '.join(LIBERTIES)}."
    preset = f"Preset: 0 nothing, 1 exact, 2 up to rounding, 3 takes more time.  [{DEFAULT_LEVEL}]"
    return [
        flag(["-O", "level"], type=levels, metavar="LEVEL", help=preset),
        flag(["--passes"], metavar="TEXT", help=whole),
        flag(["--target"], type=targets, metavar="NAME", default="portable", help=f"One of {', '.join(TARGETS)}."),
        flag(["--dim", "dims"], multiple=True, metavar="NAME=N[:M]", help="Fix or bound a symbolic dim."),
        flag(["--shape", "shapes"], multiple=True, metavar="INPUT=NxN..", help="Fix the shape of an input."),
        flag(["--fast-math"], is_flag=False, flag_value="all", metavar="[LIST]", help=liberties),
        flag(["--list-passes"], **_shows(_list_passes), help="List the installed passes and the presets."),
    ]


def _proof_flags() -> list[Flag]:
    flag, path = partial(Flag, "Proof"), click.Path()
    allowed = "Allowed error: 1e-3, or by type: float32=1e-4,float16=1e-2."
    return [
        flag(["--no-validate"], is_flag=True, help="Do not hold the result against the original."),
        flag(["--strict"], is_flag=True, help="Fail instead of undoing a rewrite that is wrong."),
        flag(["--bisect"], is_flag=True, help="Name the first rewrite that is wrong, and fail."),
        flag(["--data"], type=path, help="Your inputs: .npz, a folder of .npy, or file.py:function."),
        flag(["--tolerance"], metavar="TEXT", help=allowed),
        flag(["--samples"], type=click.IntRange(min=1), metavar="N", help="How many random inputs to try."),
        flag(["--seed"], type=int, metavar="N", default=0, help="Seed of the random inputs."),
        flag(["--custom-ops"], type=path, multiple=True, help="Library of custom operators for ONNX Runtime."),
        flag(["--reproducer"], type=path, metavar="DIR", help="Write the models before and after a wrong rewrite."),
    ]


def build_flags() -> list[Flag]:
    """The flags for build systems."""
    flag, path = partial(Flag, "Output"), click.Path()
    kept = "Take the result from the cache where it is there (onnx-opt cache), else keep it there.  [no]"
    return [
        flag(["--cache/--no-cache"], default=False, help=kept),
        flag(
            ["--depfile"], type=path, metavar="FILE", help="Write the files that the output depends on as Make rules."
        ),
        flag(
            ["--check"], is_flag=True, help="Write nothing; exit with 1 where the output is not what would be written."
        ),
    ]


def _output_flags() -> list[Flag]:
    flag, path = partial(Flag, "Output"), click.Path()
    return [
        flag(["-o", "--output"], type=path, metavar="OUT", help="The optimized model.  [MODEL.opt.onnx]"),
        *build_flags(),
        flag(["--jobs", "-j"], type=click.IntRange(min=0), metavar="N", default=0, help="Threads.  [one a core]"),
        flag(["--timeout"], type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Give up after that."),
        flag(["--max-memory"], metavar="SIZE", help="Memory that each process may have, mapped files aside: 4GiB."),
        flag(["--metadata"], is_flag=True, help="Write where each node comes from into the model."),
        flag(["--json", "as_json"], is_flag=True, help="Write the report as JSON to stdout."),
        flag(["--report-json"], type=path, metavar="FILE", help="Write the report as JSON to a file."),
        flag(["--report"], type=path, metavar="FILE", help="Write the report as one HTML file, with drawings."),
        flag(["--quiet", "-q"], is_flag=True, help="Write warnings and errors only."),
        flag(["--time-passes"], is_flag=True, help="Show the time that each pass took."),
        flag(["--explain"], multiple=True, metavar="NODE|OPERATOR", help="Tell what happened to it, and why no more."),
        flag(["--print-after"], multiple=True, metavar="PASS", help="Print the graph after each run of a pass."),
        flag(["--print-after-change"], is_flag=True, help="Print the graph after each run that changed it."),
        flag(["--traceback"], is_flag=True, expose_value=False, help="Show where in the code an error arose."),
        flag(["--version"], **_shows(_show_version), help="Show the version."),
    ]


def _emission_flags() -> list[click.Option]:
    return [flag for kind in emission.KINDS for flag in kind.flags(partial(Flag, kind.section))]


def _shows(callback: Callable[..., None]) -> dict[str, Any]:
    """A flag that shows something and ends the command."""
    return {"is_flag": True, "is_eager": True, "expose_value": False, "callback": callback}


def run(model: str, **given: Any) -> int:
    """Optimize `model` as the flags say; the exit code."""
    ctx = click.get_current_context()
    _warn_of_problems(ctx)
    pipeline = pipeline_for(ctx, given)
    output = output_for(model, given)
    _check_reports(model, output, [given["report"], given["report_json"]])
    from onnx_opt.cli import upkeep
    from onnx_opt.cli.job import Job

    own = [param for param in ctx.command.params if isinstance(param, Flag)]
    most_memory = params.read_size("--max-memory", given["max_memory"])
    with memory_limit(most_memory), time_limit(given["timeout"]):
        return upkeep.run(Job(model, output, pipeline, given), own)


def _check_reports(model: str, output: Path | None, reports: Sequence[str | None]) -> None:
    """Raise UsageError for a report that can't be written, or that would take the place of another file."""
    taken = [os.path.realpath(path) for path in (model, output) if path is not None]
    for report in reports:
        if report is None or is_special(Path(report)):
            continue
        params.check_place(Path(report))
        if os.path.realpath(report) in taken:
            raise UsageError("the report would overwrite it", path=report, remedy="give the report another name")
        taken.append(os.path.realpath(report))


def pipeline_for(ctx: click.Context, given: dict[str, Any]) -> Pipeline:
    """The pipeline that the flags ask for."""
    request = flags.read_request(ctx.meta["onnx_opt.order"], given)
    if given["passes"] is None:
        level = DEFAULT_LEVEL if given["level"] is None else int(given["level"])
        return request.pipeline(level, read_liberties(given["fast_math"] or ""), find_target(given["target"]))
    if request.flags:
        remedy = "write it into the text"
        raise UsageError(f"--passes replaces all of it, {request.flags[0]} included", remedy=remedy)
    if given["level"] is not None:
        raise UsageError(f"--passes replaces -O{given['level']}", remedy="leave one of them out")
    return Pipeline.parse(given["passes"])


def output_for(model: str, given: dict[str, Any]) -> Path | None:
    """Where the result goes; None where only an explanation is asked for."""
    if given["output"] is None:
        return None if given["explain"] else Path(model).with_suffix(".opt.onnx")
    output = Path(given["output"])
    params.check_place(output)
    return output


def _warn_of_problems(ctx: click.Context) -> None:
    command = ctx.command
    assert isinstance(command, OptimizeCommand)
    for problem in command.problems:
        complain(problem, kind="warning")


def _list_passes(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value:
        return
    from onnx_opt.cli.passes import lines

    click.echo("\n".join(lines()))
    ctx.exit()


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"onnx-opt {version()}")
        ctx.exit()
