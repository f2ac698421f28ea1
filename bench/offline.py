"""What a graph gains that ONNX Runtime has optimized before it is shipped: time to load, and time to run.

\b
    python bench/offline.py models/ --report bench/results/offline.md

Each model is optimized for the processor and written as ONNX Runtime makes it at each level (`--ort-level`). Both files
are then loaded as users do, with all of ONNX Runtime's optimizations, in turns. `load ms` is the least processor
time of a few loads, `speed-up` the ratio of processor time of a run on one thread with its 95% confidence interval;
above 1 the written graph is faster than the original. What differs from the original beyond the tolerance is not
written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import onnx
from gpu import USUAL_SIZES, optimized, paths_in, short
from rich.console import Console
from rich.table import Table

from onnx_opt.emit.offline import LEVELS
from onnx_opt.errors import OnnxOptError
from onnx_opt.runtime.bench import Bench, Effort, bench
from onnx_opt.runtime.settings import Settings
from onnx_opt.validate.run import Runtime
from onnx_opt.validate.source import Source

HEADINGS = ("model", "level", "nodes", "written", "load ms", "written", "faster", "speed-up of a run", "note")
RUNTIME = Runtime(1, settings=Settings())


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--limit", type=int, help="So many models only.")
@click.option("--level", "levels", multiple=True, type=click.Choice(LEVELS), default=LEVELS, help="Only this one.")
@click.option("--seconds", default=1.0, show_default=True, help="For each model at each level.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(
    models: tuple[Path, ...], limit: int | None, levels: tuple[str, ...], seconds: float, report: Path | None
) -> None:
    console, rows = Console(width=200), list[list[str]]()
    with tempfile.TemporaryDirectory(prefix="onnx-opt-offline-") as folder:
        for path in list(paths_in(models))[:limit]:
            for level in levels:
                with console.status(f"{path.stem} {level}"):
                    rows.append([path.stem, level, *cells(path, level, Path(folder), Effort(seconds, warm_up=0.2))])
                console.print(" | ".join(rows[-1]), highlight=False)
    table = Table(*HEADINGS)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if report is not None:
        report.write_text("\n".join(markdown(rows)) + "\n")


def cells(path: Path, level: str, folder: Path, effort: Effort) -> list[str]:
    """The row of one model at one level, its first two cells left out."""
    flags = ("--ort-level", level, "--samples", "4")
    made = optimized(path, folder / f"{path.stem}.{level}.onnx", flags, "ort-cpu")
    if made.problem:
        return ["", "", "", "", "", "", made.problem]
    nodes = [str(len(onnx.load(file, load_external_data=False).graph.node)) for file in (path, made.path)]
    try:
        found = compare(path, made.path, effort)
    except OnnxOptError as error:
        return [*nodes, "", "", "", "", short(error)]
    loads = [measured.load.worked * 1e3 for measured in found.models]
    ratio = found.ratio
    assert ratio is not None
    interval = "" if ratio.low is None or ratio.high is None else f" ({ratio.low:.2f} to {ratio.high:.2f})"
    speedup = f"{ratio.speedup:.2f}{interval}"
    note = "" if made.proof == "proven" else made.proof
    return [*nodes, *(f"{ms:.1f}" for ms in loads), f"{loads[0] / loads[1]:.1f}", speedup, note]


def compare(original: Path, written: Path, effort: Effort) -> Bench:
    """Both in turns, at usual sizes where the model takes them."""
    models = [Source.of(original), Source.of(written)]
    try:
        return bench(models, RUNTIME, effort, dims=USUAL_SIZES)
    except OnnxOptError:
        return bench(models, RUNTIME, effort)


def markdown(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The table with what it was made by."""
    import onnxruntime

    yield "# Graphs that ONNX Runtime optimized before"
    yield ""
    yield f"Made by `python bench/offline.py`, with models as arguments; ONNX Runtime {onnxruntime.__version__}."
    yield ""
    yield from (__doc__ or "").split("\n\n")[-1].strip().splitlines()
    yield ""
    for row in (HEADINGS, ("---",) * len(HEADINGS), *rows):
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


if __name__ == "__main__":
    main()
