"""Build TensorRT engines of models, as they are and after our passes, and explain each refusal.

\b
    python bench/engines.py folder/ --report bench/results/engines.md

Every figure comes from the commands that users have: `onnx-opt check MODEL`, `onnx-opt MODEL --target tensorrt -o
model.engine` with `-O0 --no-validate` for the model as it is, and with `--fp16` or `--quantize` for other precisions.
No GPU is needed where the builder is TensorRT for RTX; nothing is said of speed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import feeds as inputs
import onnx
import onnxruntime as ort
from rich.console import Console
from rich.table import Table

PRECISIONS = {"fp32": (), "fp16": ("--fp16",), "int8": ("--quantize",)}
CONVOLUTIONS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "FusedConv")
HEADINGS = ("model", "precision", "parser", "engine", "file", "weights", "activations", "verdict", "why not")
REFUSED = 3


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--precision", "precisions", multiple=True, type=click.Choice(list(PRECISIONS)), default=list(PRECISIONS))
@click.option("--builder-level", default=0, show_default=True, help="The builder's optimization level.")
@click.option("--samples", default=2, show_default=True, help="Random inputs of each proof.")
@click.option("--seconds", default=600.0, show_default=True, help="Time for each engine.")
@click.option("--jobs", default=1, show_default=True, help="Models at a time.")
@click.option("--strip-op", "strip_ops", multiple=True, help="Operators to strip from the models that hold them.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(
    models: tuple[Path, ...],
    precisions: tuple[str, ...],
    builder_level: int,
    samples: int,
    seconds: float,
    jobs: int,
    strip_ops: tuple[str, ...],
    report: Path | None,
) -> None:
    build = ("--builder-level", str(builder_level), "--timeout", str(seconds))
    proof = ("--samples", str(samples))
    found: list[Outcome] = []

    def of_model(path: Path) -> list[Outcome]:
        flags = (*profile_of(path), *strip(path, strip_ops))
        return list(outcomes(path, precisions, flags, build, proof))

    with ThreadPoolExecutor(jobs) as pool:
        for some in pool.map(of_model, paths_in(models)):
            for outcome in some:
                print(*outcome.cells(), sep=" | ", flush=True)
            found += some
    Console(width=220).print(table(found))
    lines = list(summary(found, precisions))
    print("\n".join(lines))
    if report is not None:
        report.write_text("\n".join(markdown(found, lines, builder_level, samples)) + "\n")


def paths_in(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.glob("*.onnx")) if path.is_dir() else [path]


@dataclass
class Outcome:
    """What became of one model in one precision; `precision` is "as it is" for the model without our passes."""

    model: str
    precision: str
    accepted: bool = False
    rejections: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    verdict: str = ""
    error: str = ""

    @property
    def built(self) -> bool:
        return bool(self.figures)

    def cells(self) -> list[str]:
        sizes = [self.figures.get(f"{name}_bytes") for name in ("engine_file", "weight_memory", "activation_memory")]
        return [
            self.model,
            self.precision,
            "accepted" if self.accepted else "rejected",
            "built" if self.built else "no",
            *map(megabytes, sizes),
            self.verdict,
            self.reason(),
        ]

    def reason(self) -> str:
        """The refusal in one line: the first node of each kind, and how many there are."""
        kinds: dict[tuple[str, str], list[str]] = {}
        for each in self.rejections:
            kinds.setdefault((each["operator"], each["reason"]), []).append(each["node"])
        said = [f"{len(nodes)}x {op} '{nodes[0]}': {reason}" if op else reason for (op, reason), nodes in kinds.items()]
        return "; ".join(said) or self.error


def megabytes(size: int | list[int] | None) -> str:
    total = size[0] if isinstance(size, list) and size else size
    return f"{total / 1e6:.2f} MB" if isinstance(total, int) else ""


def outcomes(
    path: Path, precisions: Sequence[str], own: tuple[str, ...], build: Sequence[str], proof: Sequence[str]
) -> Iterator[Outcome]:
    """The model as it is, then after our passes in each precision that makes sense for it. `own` are the flags that it
    needs: its profile, and operators to strip."""
    with tempfile.TemporaryDirectory() as folder:
        engine, model = Path(folder) / "model.engine", Path(folder) / "model.onnx"
        asked = check(path)
        as_it_is = Outcome(path.stem, "as it is", not asked, asked)
        if not asked:
            emit(as_it_is, path, engine, "-O0", "--no-validate", *own, *build)
        yield as_it_is
        for precision in precisions:
            if precision == "int8" and not is_convolutional(path):
                continue
            outcome = Outcome(path.stem, precision)
            flags = (*PRECISIONS[precision], *own)
            emit(outcome, path, engine, *flags, *build, *proof)
            outcome.accepted = outcome.built
            if not outcome.built:
                optimize = (
                    sys.executable,
                    "-m",
                    "onnx_opt",
                    str(path),
                    "-o",
                    str(model),
                    "--no-validate",
                    *without_profile(flags),
                )
                written = subprocess.run([*optimize, "--target", "tensorrt", "-q"], capture_output=True, text=True)
                outcome.rejections = check(model) if written.returncode == 0 else []
                outcome.accepted = written.returncode == 0 and not outcome.rejections
            yield outcome


def check(path: Path) -> list[dict[str, Any]]:
    """The nodes that the parser rejects."""
    line = [sys.executable, "-m", "onnx_opt", "check", str(path), "--json"]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode not in (0, REFUSED):
        return [{"node": "", "operator": "", "reason": done.stderr.strip()}]
    rejections: list[dict[str, Any]] = json.loads(done.stdout)["rejections"]
    return rejections


def emit(outcome: Outcome, path: Path, engine: Path, *flags: str) -> None:
    """Build an engine, and take down its figures or the error."""
    line = [sys.executable, "-m", "onnx_opt", str(path), "-o", str(engine), "--target", "tensorrt", "--json", *flags]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        errors = [each for each in done.stderr.splitlines() if "error: " in each]
        outcome.error = (errors or [f"exit code {done.returncode}"])[-1].partition("error: ")[2]
        outcome.error = outcome.error.replace(f"{path}: ", "")
        return
    report = json.loads(done.stdout)
    outcome.figures = report["emitted"]
    outcome.verdict = report["status"]


def profile_of(path: Path) -> tuple[str, ...]:
    """A profile of the one size at which the model runs; none where it is static or where no size is found."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        if not inputs.dynamic_dims(session):
            return ()
        found = inputs.samples(session, 1, {})[0]
        shapes = {each.name: found[each.name].shape for each in session.get_inputs()}
    except Exception:  # custom operators, or it takes no input of ours
        shapes = usual_shapes(path)
    spelled = [f"{name}={'x'.join(map(str, shape))}" for name, shape in shapes.items() if shape]
    return ("--profile", ",".join(spelled)) if spelled else ()


def usual_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs with the batch at 1 and other dynamic dims at a usual size."""
    shapes = {}
    for value in onnx.load(path, load_external_data=False).graph.input:
        dims = [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
        shapes[value.name] = tuple(inputs.resolve(dim, axis, 1, inputs.SIZES[0], {}) for axis, dim in enumerate(dims))
    return shapes


def without_profile(flags: Sequence[str]) -> Iterator[str]:
    """The flags of what is no engine."""
    skip = False
    for flag in flags:
        if not skip and flag != "--profile":
            yield flag
        skip = flag == "--profile"


def strip(path: Path, operators: Sequence[str]) -> Iterator[str]:
    """Flags for those of the operators that the model holds."""
    model = onnx.load(path, load_external_data=False)
    held = {f"{node.domain}::{node.op_type}" for node in model.graph.node}
    for operator in operators:
        if operator in held:
            yield from ("--strip-op", operator)


def is_convolutional(path: Path) -> bool:
    model = onnx.load(path, load_external_data=False)
    return any(node.op_type in CONVOLUTIONS for node in model.graph.node)


def table(found: Sequence[Outcome]) -> Table:
    made = Table()
    for heading in HEADINGS:
        made.add_column(heading, no_wrap=heading != HEADINGS[-1])
    for outcome in found:
        made.add_row(*outcome.cells())
    return made


def summary(found: Sequence[Outcome], precisions: Sequence[str]) -> Iterator[str]:
    """How many were accepted and built, before and after."""
    yield "| precision | models | accepted | engines built |"
    yield "| --- | --- | --- | --- |"
    for precision in ("as it is", *precisions):
        rows = [outcome for outcome in found if outcome.precision == precision]
        accepted, built = sum(row.accepted for row in rows), sum(row.built for row in rows)
        yield f"| {precision} | {len(rows)} | {accepted} | {built} |"


def markdown(found: Sequence[Outcome], lines: Sequence[str], level: int, samples: int) -> Iterator[str]:
    """The report as Markdown."""
    builder = next((outcome.figures["builder"] for outcome in found if outcome.built), "no builder")
    yield "# TensorRT engines"
    yield ""
    yield f"Made by `python bench/engines.py FOLDER`; {builder}, builder level {level}, no GPU,"
    yield f"onnx {onnx.__version__}, ONNX Runtime {ort.__version__}. `as it is` is the model without our passes; each"
    yield f"other row is after them, proven on {samples} random inputs. Dynamic models have a profile of one size, at"
    yield "which the original runs. `file` is the engine's size, `weights` and `activations` the memory that, as the"
    yield "builder says, the engine will take."
    yield ""
    yield from lines
    yield ""
    for cells in (list(HEADINGS), ["---"] * len(HEADINGS), *(outcome.cells() for outcome in found)):
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    main()
