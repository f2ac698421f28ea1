"""``onnx-opt bench MODEL [OTHER]``: how long a model takes in ONNX Runtime, and how two compare."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import runtime_flags
from onnx_opt.errors import printable

if TYPE_CHECKING:
    from onnx_opt.runtime.bench import Bench
    from onnx_opt.runtime.profile import Profile

HELP = """Measure how long a model takes in ONNX Runtime, or two models against each other.

Inputs and outputs lie where the provider wants them (I/O binding): no copy is timed. Two models take turns in short
blocks; their ratio comes with a 95% confidence interval. Inputs are yours (--data, the first sample) or random."""
COLUMNS = ("model", "runs", "mean ms", "p50", "p90", "p99", "min", "runs/s", "load ms")
SHOWN_NODES = 20


def build() -> click.Command:
    path, positive = click.Path(), click.FloatRange(min=0, min_open=True)
    options: list[click.Parameter] = [
        click.Argument(["model"], type=path),
        click.Argument(["other"], type=path, required=False),
        click.Option(["--seconds"], type=positive, default=5.0, help="How long to measure each model.  [5]"),
        click.Option(
            ["--iterations"], type=click.IntRange(min=1), metavar="N", help="Runs of each, in place of a time."
        ),
        click.Option(["--warm-up"], type=click.FloatRange(min=0), default=0.5, help="Seconds before that.  [0.5]"),
        click.Option(["--threads"], type=click.IntRange(min=0), default=0, help="Threads.  [one a core]"),
        click.Option(["--fixed-outputs"], is_flag=True, help="Write outputs to one place, as CUDA graphs need it."),
        click.Option(["--profile"], is_flag=True, help="Time per operator and node, with the nodes they come from."),
        *runtime_flags.input_flags(),
        *runtime_flags.provider_flags(),
        runtime_flags.level_flag(),
        click.Option(["--json", "as_json"], is_flag=True, help="Write JSON."),
        click.Option(["--traceback"], is_flag=True, expose_value=False, help="Show where in the code an error arose."),
    ]
    return click.Command("bench", params=options, callback=run, help=HELP)


def run(model: str, other: str | None, profile: bool, as_json: bool, **given: Any) -> int:
    """Measure; the exit code."""
    settings = runtime_flags.settings_of(given)
    from onnx_opt.cli.progress import Progress
    from onnx_opt.runtime.bench import Effort, bench

    asked = runtime_flags.read_model(model, given)
    sources = [asked.source, *([runtime_flags.read_model(other).source] if other is not None else [])]
    runtime = runtime_flags.runtime_of(given, settings, given["threads"])
    with Progress(sys.stderr.isatty() and not as_json) as progress:
        found = bench(
            sources,
            runtime,
            Effort(given["seconds"], given["iterations"], given["warm_up"]),
            data=given["data"],
            dims=asked.dims,
            shapes=asked.shapes,
            seed=given["seed"],
            fixed=given["fixed_outputs"],
            tell=progress.tell,
        )
        profiles = _profiles(sources, runtime, found) if profile else []
    if as_json:
        click.echo(json.dumps(_report(found, profiles, settings.provider, given["threads"]), indent=2))
    else:
        _print(found, profiles)
    return 0


def _profiles(sources: list[Any], runtime: Any, found: Bench) -> list[Profile]:
    from onnx_opt.runtime.profile import profile

    return [profile(source, runtime, feed) for source, feed in zip(sources, found.feeds, strict=True)]


def _report(found: Bench, profiles: list[Profile], provider: str, threads: int) -> dict[str, Any]:
    import onnxruntime

    report = {"provider": provider, "threads": threads, "onnxruntime": onnxruntime.__version__, **found.to_dict()}
    return report | ({"profiles": [profile.to_dict() for profile in profiles]} if profiles else {})


# -- what the user reads -----------------------------------------------------------------------------------------------


def _print(found: Bench, profiles: list[Profile]) -> None:
    from rich.text import Text

    from onnx_opt.cli.show import new_table, wide_console

    console = wide_console()
    click.echo("\n".join(map(printable, _inputs(found))))
    table = new_table("", *COLUMNS)
    for each in found.models:
        times = each.latency
        figures = (times.mean, times.p50, times.p90, times.p99, times.min)
        table.add_row(
            Text(printable(each.name)),
            str(times.runs),
            *map(_ms, figures),
            f"{times.throughput:.4g}",
            _ms(1e3 * each.load.seconds),
        )
    console.print(table)
    for note in (f"{each.name}: {note}" for each in found.models for note in each.notes):
        click.echo(printable(f"note: {note}"))
    if found.ratio is not None:
        click.echo(_verdict(found))
    for profile in profiles:
        _print_profile(profile, console)


def _inputs(found: Bench) -> Iterator[str]:
    for name, array in found.sample.fed().items():
        yield f"input {name}: {array.dtype}[{','.join(map(str, array.shape))}]"
    if found.sample.sizes:
        chosen = ", ".join(f"{name}={size}" for name, size in found.sample.sizes.items())
        yield f"sizes chosen: {chosen} (--dim gives others)"


def _verdict(found: Bench) -> str:
    ratio = found.ratio
    assert ratio is not None
    says = f"the second is {ratio.speedup:.3f} times as fast as the first"
    if ratio.low is None or ratio.high is None:
        return f"{says}; {ratio.rounds} rounds are too few for an interval (more --seconds)"
    interval = f"95% confidence: {ratio.low:.3f} to {ratio.high:.3f}, {ratio.rounds} rounds, {found.clock}"
    return f"{says} ({interval})" + ("" if ratio.shows_a_difference else ": no difference shown")


def _print_profile(profile: Profile, console: Any) -> None:
    from rich.text import Text

    from onnx_opt.cli.show import new_table

    click.echo(printable(f"{profile.model}: {_ms(profile.ms)} ms of a run in nodes, medians of {profile.runs} runs"))
    table = new_table("", "operator", "provider", "nodes", "ms", "share")
    for op, provider, count, ms, share in profile.operators():
        table.add_row(Text(printable(op)), provider, str(count), _ms(ms), f"{share:.1%}")
    console.print(table)
    table = new_table("", "node", "operator", "ms", "share", "computes")
    table.columns[-1].justify = "left"
    for node in profile.nodes[:SHOWN_NODES]:
        row = map(Text, map(printable, (node.name, node.op)))
        table.add_row(*row, _ms(node.ms), f"{node.share:.1%}", Text(printable(_names(node.origins))))
    if len(profile.nodes) > SHOWN_NODES:
        table.add_row(f"{len(profile.nodes) - SHOWN_NODES} others", "", "", "", "")
    console.print(table)
    for note in profile.notes:
        click.echo(f"note: {note}")


def _names(names: list[str]) -> str:
    if not names:
        return "(added by ONNX Runtime)"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.4g}"
