"""Run models on a GPU as they are and as onnx-opt makes them: FP32, TF32, FP16 and INT8, side by side.

\b
    python bench/gpu.py models/ --report bench/results/gpu.md
    python bench/gpu.py models/ --provider CPUExecutionProvider --limit 2       the same without a GPU, to try it out

Inputs and outputs stay on the device. Where the whole model can be one CUDA graph, that is what is measured, for both.
The original and the result take turns; `speed-up` is how many times as fast the result is, with its 95% confidence
interval. FP16 and INT8 are held against the original in TF32, which is how ONNX Runtime runs it by default. `error` is
the largest difference of the result on the device from the original on the processor, relative to the largest output.
INT8 goes through ONNX Runtime's TensorRT provider where that starts: CUDA's own has hardly any INT8 kernels. Dynamic
dims are as usual by their names: one image of 224 x 224, sequences of 128. Without such a device it says so and
measures nothing.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

from onnx_opt.cli import main as onnx_opt_command
from onnx_opt.errors import OnnxOptError
from onnx_opt.passes import registry
from onnx_opt.runtime.bench import Bench, Effort, bench, feed_for
from onnx_opt.runtime.execute import Sample, execute
from onnx_opt.runtime.session import require
from onnx_opt.runtime.settings import AS_WRITTEN, CPU, CUDA, TENSORRT, Settings, find_provider, short_name
from onnx_opt.validate.compare import leaves
from onnx_opt.validate.run import Feed, Runtime, Session
from onnx_opt.validate.source import Source

HEADINGS = ("model", "mode", "original ms", "result ms", "speed-up", "CUDA graph", "proof", "error", "note")
TARGETS = {CUDA: "ort-cuda", CPU: "ort-cpu", TENSORRT: "ort-tensorrt"}
GRAPHS = {CUDA: "enable_cuda_graph", TENSORRT: "trt_cuda_graph_enable"}
"""The option by which a provider runs a model as one CUDA graph."""
REASON_LENGTH = 120
USUAL_SIZES = {
    **dict.fromkeys(("batch", "batch_size", "N"), 1),
    **dict.fromkeys(("height", "width", "H", "W"), 224),
    **dict.fromkeys(("sequence", "sequence_length", "seq", "S"), 128),
}
"""Sizes of dynamic dims by the names that exporters give them, where a model takes these."""


@dataclass(frozen=True)
class Mode:
    """A way to compute: the flags that make the result, and whether FP32 products may be TF32 on a CUDA device."""

    name: str
    flags: tuple[str, ...] = ()
    tf32: bool = True
    needs: str = ""
    """The pass that it takes."""
    provider: str = ""
    """What runs it better than CUDA's provider does, where it starts."""


MODES = (
    Mode("FP32", tf32=False),
    Mode("TF32"),
    Mode("FP16", ("--fp16",), needs="fp16"),
    Mode("INT8", ("--quantize",), needs="quantize", provider=TENSORRT),
)


@dataclass
class Row:
    """One model in one mode."""

    model: str
    mode: str
    original: float | None = None
    result: float | None = None
    speedup: str = ""
    graph: str = ""
    proof: str = ""
    error: float | None = None
    note: str = ""

    def cells(self) -> list[str]:
        times = ["" if ms is None else f"{ms:.4g}" for ms in (self.original, self.result)]
        error = "" if self.error is None else f"{self.error:.2g}"
        return [self.model, self.mode, *times, self.speedup, self.graph, self.proof, error, self.note]


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--provider", default=CUDA, show_default=True, help="Any other than CUDA's is for trying it out.")
@click.option("--mode", "names", multiple=True, type=click.Choice([mode.name for mode in MODES]), help="Only this one.")
@click.option("--limit", type=int, help="So many models only.")
@click.option("--seconds", default=1.0, show_default=True, help="For each model in each mode.")
@click.option("--dim", "dims", multiple=True, metavar="NAME=N", help="Size of a dynamic dim.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(
    models: tuple[Path, ...],
    provider: str,
    names: tuple[str, ...],
    limit: int | None,
    seconds: float,
    dims: tuple[str, ...],
    report: Path | None,
) -> None:
    if why := why_not(provider):
        click.echo(f"skipped: {why}")
        return
    modes = [mode for mode in MODES if not names or mode.name in names]
    work = Work(find_provider(provider), Effort(seconds), read_dims(dims))
    rows: list[Row] = []
    console = Console(width=220)
    for path in list(paths_in(models))[:limit]:
        with console.status(path.stem):
            rows += work.rows(path, modes)
        console.print(*(" | ".join(row.cells()) for row in rows[-len(modes) :]), sep="\n", highlight=False)
    table = Table(*HEADINGS)
    for row in rows:
        table.add_row(*row.cells())
    console.print(table)
    if report is not None:
        report.write_text("\n".join(markdown(rows, describe(work.provider))) + "\n")


@cache
def why_not(provider: str) -> str:
    """Why a provider does not start; '' where it does."""
    try:
        require(Settings(find_provider(provider)))
    except OnnxOptError as error:
        return str(error)
    return ""


def paths_in(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.glob("*.onnx")) if path.is_dir() else [path]


def read_dims(texts: Sequence[str]) -> dict[str, int]:
    return {name: int(size) for name, _, size in (text.partition("=") for text in texts)}


def describe(provider: str) -> str:
    """The device with the versions that matter, in one line."""
    import onnxruntime

    versions = f"ONNX Runtime {onnxruntime.__version__}, onnx {onnx.__version__}"
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True) if provider == CUDA else None
    except (OSError, subprocess.CalledProcessError):
        found = None
    if found is None:
        return f"{provider}, {versions}"
    name, _, driver = found.stdout.splitlines()[0].partition(", ")
    return f"{name}, driver {driver}, {versions}"


@dataclass
class Work:
    """What is measured with."""

    provider: str
    effort: Effort
    dims: Mapping[str, int]

    def rows(self, path: Path, modes: Sequence[Mode]) -> list[Row]:
        """A row for each mode; what goes wrong stands in its note."""
        original = Source.of(path)
        try:
            sample = self.sample(original)
        except OnnxOptError as error:
            return [Row(path.stem, mode.name, note=short(error)) for mode in modes]
        with tempfile.TemporaryDirectory(prefix="onnx-opt-gpu-") as folder:
            return [self.row(path, mode, Path(folder), sample) for mode in modes]

    def sample(self, original: Source) -> Sample:
        """Inputs, and what the original makes of them on the processor, as it is written."""
        runtime = Runtime(settings=AS_WRITTEN)
        try:
            return execute(original, runtime, None, {**USUAL_SIZES, **self.dims})[0]
        except OnnxOptError:  # it does not run at these sizes: any others do
            return execute(original, runtime, None, self.dims)[0]

    def row(self, path: Path, mode: Mode, folder: Path, sample: Sample) -> Row:
        row = Row(path.stem, mode.name)
        if mode.needs and mode.needs not in registry().passes:
            row.note = f"there is no pass {mode.needs}"
            return row
        output = folder / f"{mode.needs or 'plain'}.onnx"
        provider = self.provider_of(mode)
        made = optimized(path, output, mode.flags, TARGETS.get(provider, "portable"))
        row.proof, row.note = made.proof, made.problem
        if made.problem:
            return row
        row.note = f"through {short_name(provider)}" if provider != self.provider else ""
        try:
            found, row.graph = self.measure([Source.of(path), Source.of(made.path)], mode, sample.feed)
            row.error = self.error(Source.of(made.path), mode, sample)
        except OnnxOptError as error:
            row.note = short(error)
            return row
        row.original, row.result = (measured.latency.p50 for measured in found.models)
        ratio = found.ratio
        assert ratio is not None
        interval = "" if ratio.low is None or ratio.high is None else f" ({ratio.low:.2f} to {ratio.high:.2f})"
        row.speedup = f"{ratio.speedup:.2f}{interval}"
        return row

    def provider_of(self, mode: Mode) -> str:
        """What runs a mode: the provider asked for, or one beside CUDA's."""
        if self.provider == CUDA and mode.provider and not why_not(mode.provider):
            return mode.provider
        return self.provider

    def runtime(self, mode: Mode, graph: bool = False) -> Runtime:
        """How the device runs it."""
        provider = self.provider_of(mode)
        options: list[tuple[str, str]] = []
        if provider == CUDA:
            options += [("use_tf32", str(int(mode.tf32))), ("cudnn_conv_algo_search", "EXHAUSTIVE")]
        elif provider == TENSORRT:
            options += [("trt_int8_enable", "1")]
        if graph:
            options.append((GRAPHS[provider], "1"))
        return Runtime(settings=Settings(provider, tuple(options)))

    def measure(self, models: Sequence[Source], mode: Mode, feed: Feed) -> tuple[Bench, str]:
        """Times of the models, as CUDA graphs where both can be one; and whether they were."""
        plain = self.runtime(mode)
        if self.provider_of(mode) in GRAPHS:
            try:
                whole = self.runtime(mode, graph=True)
                return bench(models, whole, self.effort, data=[feed], fixed=True, looking=plain), "yes"
            except OnnxOptError:
                pass  # control flow, nodes on the processor, shapes that depend on values
        return bench(models, plain, self.effort, data=[feed]), "no"

    def error(self, model: Source, mode: Mode, sample: Sample) -> float | None:
        """The largest difference from the original's outputs, relative to the largest of them."""
        runtime = self.runtime(mode)
        with Session(model, runtime) as session:
            feed = feed_for(session.signature, sample.feed)
            if feed is None:
                return None
            outputs = session.run(feed)
        return largest_difference(sample.outputs, outputs)


@dataclass(frozen=True)
class Made:
    """What the command made of a model, or why it made nothing."""

    path: Path
    proof: str = ""
    problem: str = ""


@cache
def optimized(path: Path, output: Path, flags: tuple[str, ...], target: str) -> Made:
    """The result of the command, run as users run it; once for modes that differ in how the device computes only."""
    told, err, report = io.StringIO(), io.StringIO(), output.with_suffix(".json")
    arguments = [str(path), "-o", str(output), "--target", target, "-q", *flags, "--report-json", str(report)]
    with redirect_stdout(told), redirect_stderr(err):
        code = onnx_opt_command(arguments)
    if code:
        lines = [line for line in err.getvalue().splitlines() if "error:" in line]
        told_last = lines[-1].partition("error: ")[2].removeprefix(f"{path}: ") if lines else f"exit code {code}"
        return Made(output, problem=short(told_last))
    return Made(output, json.loads(report.read_text())["status"])


def largest_difference(expected: Sequence[object], actual: Sequence[object]) -> float:
    """Over all outputs that hold numbers; NaN beside NaN is no difference."""
    worst = 0.0
    for one, two in zip(expected, actual, strict=True):
        for (_, a), (_, b) in zip(leaves(one), leaves(two), strict=False):
            if a.dtype.kind in "OUSb" or a.shape != b.shape or not a.size:
                continue
            x, y = a.astype(np.float64), b.astype(np.float64)
            scale = max(float(np.abs(x[np.isfinite(x)]).max(initial=0)), 1e-6)
            gap = np.where(np.isnan(x) & np.isnan(y), 0.0, np.abs(x - y))
            worst = max(worst, float(gap[~(x == y)].max(initial=0)) / scale)
    return worst


def short(error: object) -> str:
    """What is wrong, without the name of the file: that stands in the row."""
    text = error.message if isinstance(error, OnnxOptError) else str(error)
    return text if len(text) <= REASON_LENGTH else f"{text[:REASON_LENGTH]}..."


def markdown(rows: Sequence[Row], device: str) -> Iterator[str]:
    """The table with what it was made on."""
    yield "# On a GPU"
    yield ""
    yield f"Made by `python bench/gpu.py` on {device}."
    yield ""
    yield from (__doc__ or "").split("\n\n")[-1].strip().splitlines()
    yield ""
    for cells in (HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in rows)):
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    main()
    sys.exit(0)
