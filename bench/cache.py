"""A result from the cache beside the run that it replaces: the whole command, from the start of Python to its end.

\b
    python bench/cache.py models/

`run` is the command without a cache, `found` one that takes a result that another line left there, `recalled` a line
that was answered before. Times are the best of some, in seconds of the clock, and of the processors in brackets;
`ratio` is that of `run` and `recalled`. Outputs are compared: all of them have to be the same.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import click

Times = tuple[float, float]


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=3, show_default=True)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(models: tuple[Path, ...], rounds: int, report: Path | None) -> None:
    lines = ["| model | run | found | recalled | ratio (clock) | ratio (processors) |", "| --- " * 6 + "|"]
    ratios = []
    for path in (file for model in models for file in ([model] if model.is_file() else sorted(model.glob("*.onnx")))):
        with tempfile.TemporaryDirectory() as folder:
            run, found, recalled = measure(path, Path(folder), rounds)
        ratio = [one / other for one, other in zip(run, recalled, strict=True)]
        ratios.append(ratio)
        cells = (f"{clock:.2f} ({processors:.2f})" for clock, processors in (run, found, recalled))
        lines.append(f"| {path.stem} | {' | '.join(cells)} | {ratio[0]:.0f} | {ratio[1]:.0f} |")
        click.echo(lines[-1])
    least, middle = ([f"{function(column):.0f}" for column in zip(*ratios, strict=True)] for function in (min, median))
    lines += [f"| **least** | | | | {' | '.join(least)} |", f"| **median** | | | | {' | '.join(middle)} |"]
    click.echo("\n".join(lines[-2:]))
    if report is not None:
        report.write_text("\n".join(lines) + "\n")


def measure(model: Path, folder: Path, rounds: int) -> tuple[Times, Times, Times]:
    """The times of a run, of a result that another line left, and of a line that was answered before."""
    environment = {**os.environ, "ONNX_OPT_CACHE": str(folder / "cache")}
    run = best(call(environment, model, folder / "run.onnx") for _ in range(rounds))
    call(environment, model, folder / "other.onnx", "--cache")
    lines = [("--cache", f"--timeout={10000 + index}") for index in range(rounds)]
    found = best(call(environment, model, folder / "found.onnx", *line) for line in lines)
    recalled = best(call(environment, model, folder / "recalled.onnx", "--cache") for _ in range(rounds))
    expected = (folder / "run.onnx").read_bytes()
    for path in folder.glob("*.onnx"):
        if path.read_bytes() != expected:
            sys.exit(f"{model}: {path.name} differs from the run's")
    return run, found, recalled


def best(times: Iterable[Times]) -> Times:
    clocks, processors = zip(*times, strict=True)
    return min(clocks), min(processors)


def call(environment: dict[str, str], model: Path, output: Path, *flags: str) -> Times:
    """Seconds of the clock, and of processors, that the command takes."""
    before, start = used(), time.perf_counter()
    line = [sys.executable, "-m", "onnx_opt", str(model), "-o", str(output), *flags]
    subprocess.run(line, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start, used() - before


def used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
