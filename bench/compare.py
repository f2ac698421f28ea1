"""Run the project and the public ONNX optimizers over models and print what each made of them, side by side.

\b
    python bench/compare.py                        the models that need no download
    python bench/compare.py model.onnx folder/     your own
    python bench/compare.py chain:6000 resnet50    generated ones (see bench/generate.py --help)
    python bench/compare.py light                  those inside the onnx package

Every tool runs in a child process of its own, with its default options. Nodes include subgraphs and functions. CPU and
memory are those of the whole process, start included. Speed is that of the original over that of the result in ONNX
Runtime (ORT_ENABLE_ALL, one thread, thread CPU time, the least of many rounds in turns): above 1 is faster; that of
the original is against itself, which is the noise. Error is the largest difference from the original under
ORT_DISABLE_ALL, relative to the largest output; absolute for integers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import measure
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tools import BUILD, DEFAULT_ENVIRONMENT, TOOLS, Tool, prepare, skipped, versions

HERE = Path(__file__).resolve().parent
GENERATED = ("chain:300", "transformer:300", "resnet50", "mlp:100M", "subgraphs:60")
GENERATORS = ("generate.py", "big_weights.py", "builder.py", "channels_last.py", "extremes.py")
OK = "ok"
REASON_LENGTH = 200
LAYOUT: dict[str, Any] = {
    "title_justify": "left",
    "title_style": "bold",
    "caption_justify": "left",
    "box": box.SIMPLE_HEAD,
    "padding": (0, 1, 0, 0),
    "pad_edge": False,
}


@dataclass
class Row:
    """One tool on one model. `cpu` in seconds, `peak` and `bytes` in bytes, `speed` as a ratio to the original."""

    model: str
    tool: str
    verdict: str = OK
    reason: str = ""
    nodes: int | None = None
    bytes: int | None = None
    cpu: float | None = None
    peak: int | None = None
    speed: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class Settings:
    environment: Path
    timeout: float
    samples: int
    seconds: float
    dims: tuple[str, ...]

    @property
    def dim_flags(self) -> list[str]:
        return [part for dim in self.dims for part in ("--dim", dim)]


def light_models() -> list[Path]:
    spec = importlib.util.find_spec("onnx")
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
    return sorted((folder / "backend/test/data/light").glob("*.onnx"))


def generated(spec: str) -> Path:
    """The generated model, made once and kept in the build folder until the generators change."""
    sources = b"".join((HERE / name).read_bytes() for name in GENERATORS)
    folder = BUILD / "bench-models" / hashlib.sha256(sources).hexdigest()[:12]
    path = folder / f"{spec.replace(':', '-')}.onnx"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as partial:
        made = measure.run([sys.executable, str(HERE / "generate.py"), spec, str(Path(partial, path.name))])
        if not made.ok:
            reason = measure.last_line(made.stderr).rpartition("Invalid value: ")[2]
            raise click.BadParameter(f"{spec!r} is no file and no folder, and as a generated model: {reason}")
        for file in sorted(Path(partial).iterdir(), key=lambda file: file.name == path.name):  # the model last
            file.replace(folder / file.name)
    return path


def find_models(arguments: Iterable[str]) -> list[tuple[str, Path]]:
    """(name, file) of every model that the arguments name, in their order."""
    found: list[tuple[str, Path]] = []
    for argument in arguments:
        path = Path(argument)
        if argument == "light":
            found += [(model.stem, model) for model in light_models()]
        elif path.is_dir():
            found += [(model.stem, model) for model in sorted(path.glob("*.onnx"))]
        elif path.exists():
            found.append((path.stem, path))
        else:
            found.append((argument, generated(argument)))
    return found


def judge(settings: Settings, *arguments: str) -> tuple[Any, measure.Run]:
    """(answer of judge.py, its run); no answer when the run failed, be it that the runtime took the process down."""
    run = measure.run([sys.executable, str(HERE / "judge.py"), *arguments], timeout=settings.timeout)
    return json.loads(measure.last_line(run.stdout)) if run.ok else None, run


def optimize(tool: Tool, name: str, source: Path, result: Path, settings: Settings) -> Row:
    """Run one tool and judge what it wrote."""
    run = measure.run(tool.argv(settings.environment, source, result), timeout=settings.timeout)
    row = Row(name, tool.name, cpu=run.cpu, peak=run.peak)
    if not run.ok or not result.exists():
        row.verdict = "timeout" if run.timed_out else "crash" if run.returncode < 0 else "failed"
        row.reason = run.reason or "wrote no model"
        return row
    flags = ["--samples", str(settings.samples), *settings.dim_flags]
    answer, judging = judge(settings, "check", str(source), str(result), *flags)
    if answer is None:
        row.verdict, row.reason = "runtime crash" if judging.returncode < 0 else "not judged", judging.reason
        return row
    for key, found in answer.items():
        setattr(row, key, found)
    return row


def add_speeds(rows: Sequence[Row], files: Sequence[Path], settings: Settings) -> str:
    """Time the results that are fit to run against the original, which is first. Returns why not, if not.

    The original is timed twice: how far its own ratio is from 1 is the noise of all of them.
    """
    flags = ["--seconds", str(settings.seconds), *settings.dim_flags]
    times, run = judge(settings, "speed", str(files[0]), *map(str, files), *flags)
    for row, seconds in zip(rows, times[1:] if times else (), strict=bool(times)):
        row.speed = times[0] / seconds
    return run.reason


def compare(name: str, source: Path, tools: Sequence[Tool], work: Path, settings: Settings) -> list[Row]:
    """Rows for one model, the original first."""
    original = Row(name, "original")
    answer, judging = judge(settings, "describe", str(source))
    if answer is None:
        return [Row(name, "original", verdict="not a model", reason=judging.reason)]
    original.nodes, original.bytes = answer["nodes"], answer["bytes"]
    rows, files = [original], [source]
    for tool in tools:
        result = work / tool.name / f"{source.stem}.onnx"
        result.parent.mkdir(parents=True, exist_ok=True)
        rows.append(optimize(tool, name, source, result, settings))
        files.append(result)
    if settings.seconds > 0:
        fit = [index for index, row in enumerate(rows) if row.verdict == OK]
        trouble = add_speeds([rows[index] for index in fit], [files[index] for index in fit], settings)
        original.reason = trouble and f"not timed: {trouble}"
    return rows


def number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "" if value is None or not math.isfinite(value) else format(value / scale, form)


def table_of(rows: Sequence[Row]) -> Table:
    """The rows of one model; why a tool failed stands below the table, where there is room for it."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault(row.reason[:REASON_LENGTH], []).append(row.tool)
    notes = "\n".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    table = Table(title=rows[0].model, caption=escape(notes) or None, **LAYOUT)
    for column in ("tool", "nodes", "KB", "CPU s", "peak MB", "speed", "error", "verdict"):
        table.add_column(column, justify="left" if column in ("tool", "verdict") else "right", no_wrap=True)
    for row in rows:
        cells = (
            number(row.nodes, ",.0f"),
            number(row.bytes, ",.0f", 1e3),
            number(row.cpu, ".2f"),
            number(row.peak, ",.0f", 1e6),
            number(row.speed, ".2f"),
            "inf" if row.error == math.inf else number(row.error, ".1e"),
        )
        table.add_row(row.tool, *cells, row.verdict, style=None if row.verdict == OK else "red")
    return table


def geometric_mean(values: Sequence[float]) -> float | None:
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def summary(rows: Sequence[Row], tools: Sequence[Tool]) -> Table:
    """One line for each tool over all models: only results that are right count for nodes and speed."""
    table = Table(title="all models (nodes left and speed: geometric means of the right results)", **LAYOUT)
    for column in ("tool", "models", "right", "nodes left", "CPU s", "speed", "otherwise"):
        table.add_column(column, justify="left" if column in ("tool", "otherwise") else "right")
    before = {row.model: row.nodes for row in rows if row.tool == "original" and row.nodes}
    for tool in tools:
        mine = [row for row in rows if row.tool == tool.name]
        right = [row for row in mine if row.verdict == OK]
        left = [row.nodes / count for row in right if row.nodes and (count := before.get(row.model))]
        others = [row.verdict for row in mine if row.verdict != OK]
        table.add_row(
            tool.name,
            str(len(mine)),
            str(len(right)),
            number(geometric_mean(left), ".0%"),
            number(sum(row.cpu or 0.0 for row in mine), ".1f"),
            number(geometric_mean([row.speed for row in right if row.speed]), ".3f"),
            ", ".join(f"{others.count(verdict)} {verdict}" for verdict in dict.fromkeys(others)),
        )
    return table


def choose_tools(names: Sequence[str], environment: Path, console: Console) -> list[Tool]:
    """The tools asked for, less those that cannot be installed, which are named with the reason."""
    chosen = [TOOLS[name] for name in names] or [tool for tool in TOOLS.values() if tool.default]
    with console.status("installing the public tools..."):
        failures = prepare(environment, [tool.requires for tool in chosen if tool.requires])
    for line in skipped(failures):
        console.print(line, style="yellow", markup=False, highlight=False)
    return [tool for tool in chosen if tool.requires not in failures]


@click.command(help=__doc__)
@click.argument("models", nargs=-1)
@click.option("--tool", "names", multiple=True, type=click.Choice(list(TOOLS)), help="Only this one; may be repeated.")
@click.option("--tools-env", default=DEFAULT_ENVIRONMENT, type=click.Path(path_type=Path), show_default=True)
@click.option("--timeout", default=300.0, show_default=True, help="Seconds for each tool on each model.")
@click.option("--samples", default=3, show_default=True, help="Random inputs that each result is compared on.")
@click.option("--seconds", default=1.0, show_default=True, help="Time to measure each result's speed; 0: do not.")
@click.option("--dim", "dims", multiple=True, metavar="NAME=VALUE", help="Size of a dynamic dim of the inputs.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep the results in this folder.")
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(
    models: tuple[str, ...],
    names: tuple[str, ...],
    tools_env: Path,
    timeout: float,
    samples: int,
    seconds: float,
    dims: tuple[str, ...],
    keep: Path | None,
    report: Path | None,
) -> None:
    console = Console()
    settings = Settings(tools_env.absolute(), timeout, samples, seconds, dims)
    found = find_models(models or ("light", *GENERATED))
    tools = choose_tools(names, settings.environment, console)
    work = keep or Path(tempfile.mkdtemp(prefix="onnx-opt-bench-"))
    rows: list[Row] = []
    try:
        for name, source in found:
            with console.status(name):
                made = compare(name, source, tools, work, settings)
            console.print(table_of(made))
            rows += made
    finally:
        if keep is None:
            shutil.rmtree(work)
    if len(found) > 1:
        console.print(summary(rows, tools))
    if report:
        content = {"versions": versions(settings.environment), "rows": [asdict(row) for row in rows]}
        report.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
