"""Quantize models to INT8 with the project and with onnxruntime.quantization, on the same samples, and compare.

\b
    python bench/quantize.py model.onnx folder/ --report bench/results/quantize.md

Samples are made up (see `sample`): images are smooth noise with edges, everything else is normal noise. Of sixteen,
twelve are calibrated on and four held out. Errors are those on the held-out ones, against FP32, with every operator
computed as written: `max-rel` is the largest difference over the largest magnitude of the output (`calibrated`: on four
samples that were calibrated on), `cosine` 1 - the cosine of the angle between both. `speed` is the time of the FP32
model over that of the quantized one, both under ONNX Runtime's own optimizations on one thread of a processor, and
`fused error` max-rel under these, of what is made for it. `kept` counts nodes that stayed in FP32 by measurement.
`parser` is what the parser of TensorRT for RTX says, where it is installed. ort-static is quantize_static behind
quant_pre_process, min-max, with its defaults and per channel. Where an operator set is too old for scales per channel,
all get the model after onnx.version_converter.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import feeds
import numpy as np
import onnx
import onnxruntime as ort
from rich.console import Console
from rich.table import Table

import onnx_opt
from onnx_opt.emit.tensorrt.ask import ask
from onnx_opt.emit.tensorrt.modules import find_builder
from onnx_opt.precision.metrics import find_metric
from onnx_opt.quantization.forms import FORMS
from onnx_opt.validate.userdata import HELD_OUT

SAMPLES = 16
HEADINGS = ["model", "tool", "verdict", "bytes", "max-rel", "calibrated", "cosine"]
HEADINGS += ["fused error", "speed", "kept", "parser"]
OLDEST = FORMS["int8"].oldest
LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
Feeds = dict[str, np.ndarray]


@dataclass
class Row:
    """One tool on one model."""

    model: str
    tool: str
    verdict: str = "ok"
    bytes: float | None = None
    errors: tuple[float, float, float] | None = None
    fused: float | None = None
    speed: float | None = None
    kept: str = ""
    parser: str = ""

    def cells(self) -> list[str]:
        """The row as text."""
        errors = ["", "", ""] if self.errors is None else [f"{error:.2g}" for error in self.errors]
        size = "" if self.bytes is None else f"{100 * self.bytes:.0f} %"
        fused, speed = (f"{self.fused:.2g}", f"{self.speed:.2f}x") if self.fused is not None else ("", "")
        return [self.model, self.tool, self.verdict, size, *errors, fused, speed, self.kept, self.parser]


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(models: tuple[Path, ...], report: Path | None) -> None:
    logging.getLogger().setLevel(logging.ERROR)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for path in [p for each in models for p in (sorted(each.glob("*.onnx")) if each.is_dir() else [each])]:
            rows += compared(path, Path(folder))
            if report is not None:
                report.write_text("\n".join(markdown(rows)) + "\n")
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*row.cells())
    Console(width=200).print(table)


def markdown(rows: list[Row]) -> Iterator[str]:
    """The table as Markdown, with what it says."""
    yield f"`python bench/quantize.py MODELS --report bench/results/quantize.md`; onnxruntime {ort.__version__}.\n"
    yield (main.help or "").partition("\n\n")[2].partition("\n\n")[2].strip() + "\n"
    for cells in (HEADINGS, ["---"] * len(HEADINGS), *(row.cells() for row in rows)):
        yield f"| {' | '.join(cells)} |"


# -- samples -----------------------------------------------------------------------------------------------------------


def sample(random: np.random.Generator, like: np.ndarray) -> np.ndarray:
    """An input of the shape and type of `like`: an image of smooth noise with edges where it has the shape of images
    (of one or three channels), normal noise otherwise. Integers stay as they are."""
    if like.dtype.kind != "f":
        return like
    if like.ndim == 4 and {like.shape[1], like.shape[3]} & {1, 3}:
        last = like.shape[3] in (1, 3) and like.shape[1] not in (1, 3)
        shape = (like.shape[0], like.shape[3], *like.shape[1:3]) if last else like.shape
        image = _image(random, shape)
        return (np.moveaxis(image, 1, 3) if last else image).astype(like.dtype)
    return random.standard_normal(like.shape).astype(like.dtype)


def _image(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise whose amplitude falls with frequency, as in photographs, and a few rectangles; within [-1, 1]."""
    height, width = shape[2:]
    frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = np.fft.rfft2(random.standard_normal(shape)) / np.maximum(frequencies, 1 / max(height, width))
    image = np.fft.irfft2(spectrum, s=(height, width))
    for _ in range(3):
        top, left = random.integers(0, height), random.integers(0, width)
        tall, wide = random.integers(1, height + 1), random.integers(1, width + 1)
        image[:, :, top : top + tall, left : left + wide] += random.standard_normal() * image.std()
    return np.clip(image / (2.5 * image.std()), -1, 1)


# -- tools -------------------------------------------------------------------------------------------------------------


class Reader:
    """Samples in the form of onnxruntime.quantization.CalibrationDataReader."""

    def __init__(self, samples: list[Feeds]) -> None:
        self.samples = iter(samples)

    def get_next(self) -> Feeds | None:
        return next(self.samples, None)


def ours(target: str, method: str = "min-max", more: str = "") -> Callable[[Path, Path, list[Feeds], Row], None]:
    def quantize(source: Path, result: Path, samples: list[Feeds], row: Row) -> None:
        data = result.with_name("samples.npz")
        np.savez(data, **{name: np.stack([feed[name] for feed in samples]) for name in samples[0]})  # type: ignore[arg-type]
        pipeline = f"{onnx_opt.Pipeline.preset(2)},quantize{{method={method},data='{data}'}}{more},repeat(fold,cleanup)"
        found = onnx_opt.optimize(source, pipeline, target=target)
        found.save(result)
        measured = found.report.measured["quantize"]
        row.kept = f"{measured['by_search']} of {measured['nodes']}"
        if measured["refused"] or measured["unmeasured"]:
            row.verdict = "left in FP32"
        elif found.report.faults or found.report.status != "proven":
            row.verdict = f"{found.report.status}, {len(found.report.faults)} undone"

    return quantize


def theirs(per_channel: bool) -> Callable[[Path, Path, list[Feeds], Row], None]:
    def quantize(source: Path, result: Path, samples: list[Feeds], row: Row) -> None:
        from onnxruntime.quantization import quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        prepared = result.with_suffix(".prepared.onnx")
        fitted = [s for number, s in enumerate(samples) if number % HELD_OUT != 1]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                quant_pre_process(source, prepared)
            except Exception:  # its symbolic shape inference gives up on many models; this is what it then advises
                quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(prepared, result, Reader(fitted), per_channel=per_channel)

    return quantize


TOOLS = {
    "onnx-opt, tensorrt": ours("tensorrt"),
    "onnx-opt, tensorrt, entropy": ours("tensorrt", "entropy"),
    "onnx-opt, tensorrt, fp16": ours("tensorrt", more=",fp16"),
    "onnx-opt, ort-cpu": ours("ort-cpu"),
    "ort-static": theirs(False),
    "ort-static, per channel": theirs(True),
}


# -- measuring ---------------------------------------------------------------------------------------------------------


def compared(path: Path, folder: Path) -> Iterator[Row]:
    """A row for each tool; none for a model without layers to quantize, or that does not run."""
    model = onnx.load(path)
    if not any(node.op_type in LAYERS for node in model.graph.node):
        return
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return
    source = path
    try:
        if next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) < OLDEST:
            source = folder / path.name
            onnx.save(newer(model), source)
        base = feeds.samples(session(source), 1, {})[0]
    except Exception as error:  # the converter and ONNX Runtime raise classes of their own
        yield Row(path.stem, "", f"does not run: {str(error).splitlines()[0][:60]}")
        return
    random = np.random.default_rng(0)
    samples = [{name: sample(random, array) for name, array in base.items()} for _ in range(SAMPLES)]
    for tool, quantize in TOOLS.items():
        row = Row(path.stem, tool)
        result = folder / "result.onnx"
        try:
            quantize(source, result, samples, row)
            if row.verdict != "left in FP32":
                judge(row, source, result, samples)
                row.parser = asked(result)
        except Exception as error:  # whatever a tool raises is its result
            row.verdict = f"failed: {type(error).__name__}: {str(error).splitlines()[0][:60]}"
        yield row


def newer(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in an operator set that has scales per channel; weights that used to be inputs too are constants."""
    found = onnx.version_converter.convert_version(model, OLDEST)
    if model.ir_version < 4:
        constants = {tensor.name for tensor in found.graph.initializer}
        inputs = [value for value in found.graph.input if value.name not in constants]
        del found.graph.input[:]
        found.graph.input.extend(inputs)
    return found


def judge(row: Row, source: Path, result: Path, samples: list[Feeds]) -> None:
    """Fill in what is known of a result."""
    row.bytes = result.stat().st_size / source.stat().st_size
    held_out = [s for number, s in enumerate(samples) if number % HELD_OUT == 1]
    fitted = [s for number, s in enumerate(samples) if number % HELD_OUT == 0]
    reference, candidate = session(source), session(result)
    calibrated = worst("max-rel", *([each.run(None, feed) for feed in fitted] for each in (reference, candidate)))
    expected = [reference.run(None, feed) for feed in held_out]
    given = [candidate.run(None, feed) for feed in held_out]
    row.errors = worst("max-rel", expected, given), calibrated, worst("cosine", expected, given)
    if "tensorrt" in row.tool:
        return
    reference, candidate = session(source, True), session(result, True)
    row.fused = worst("max-rel", expected, [candidate.run(None, feed) for feed in held_out])
    row.speed = ratio(reference, candidate, held_out[0])


def asked(result: Path) -> str:
    """What TensorRT's parser makes of a result."""
    if find_builder("rtx") is None:
        return "not installed"
    rejections = ask(result, "rtx")
    return "accepts" if not rejections else f"rejects {len(rejections)} nodes: {rejections[0].operator}"


def worst(metric: str, expected: list[Any], given: list[Any]) -> float:
    error = find_metric(metric, 1.0, FORMS["int8"]).error
    return max(error(one, other) for one, other in zip(expected, given, strict=True))


def session(path: Path, optimized: bool = False) -> ort.InferenceSession:
    options = ort.SessionOptions()
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def ratio(one: ort.InferenceSession, other: ort.InferenceSession, feed: Feeds, seconds: float = 1.0) -> float:
    """How much longer `one` takes than `other`: the best of each, run in turn for that long."""
    best = [float("inf"), float("inf")]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for index, each in enumerate((one, other)):
            start = time.perf_counter()
            each.run(None, feed)
            best[index] = min(best[index], time.perf_counter() - start)
    return best[0] / best[1]


if __name__ == "__main__":
    main()
