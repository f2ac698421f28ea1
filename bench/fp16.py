"""Convert models to FP16 with the project and the public converters, and judge what comes out in true half precision.

\b
    python bench/fp16.py model.onnx folder/

Every tool runs in a child process, as its documentation says, inputs and outputs kept in FP32 where it can do that. A
result counts as right where the checker takes it, ONNX Runtime loads it, its interface is that of the original, and its
error in true half precision is within the tolerance: the largest difference over the largest magnitude of the output,
on random inputs of common size, each operator accumulating in FP32 and rounding its result. Beside it stands the error
of ONNX Runtime's own output, whose processor kernels compute much of FP16 in FP32. FP32 nodes are those with FP32
results, casts those beyond the original's, executions the runs of the model that the tool made.
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import casts
import click
import compare
import measure
import numpy as np
import onnx
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tools import DEFAULT_ENVIRONMENT, OURS, Tool, prepare, skipped

from onnx_opt.errors import ModelError
from onnx_opt.ir import load
from onnx_opt.precision.evaluate import true_half
from onnx_opt.precision.formats import FORMATS
from onnx_opt.precision.metrics import Metric, find_metric
from onnx_opt.precision.samples import common
from onnx_opt.validate import Reference, Source
from onnx_opt.validate.lowered import allowed_types, fitted, restored
from onnx_opt.validate.run import CannotLoad, Rejected, Session, Unreadable
from onnx_opt.validate.signature import broken_promises

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
FEEDS = 3

COMMON = """
import sys, onnx
from onnxconverter_common import float16
onnx.save(float16.convert_float_to_float16(onnx.load(sys.argv[1]), keep_io_types=True), sys.argv[2])
"""
AUTO = """
import sys, numpy as np, onnx, onnxruntime
from onnxconverter_common import auto_mixed_precision
runs, run = [0], onnxruntime.InferenceSession.run
def counted(self, *args, **kwargs):
    runs[0] += 1
    return run(self, *args, **kwargs)
onnxruntime.InferenceSession.run = counted
feed = dict(np.load(sys.argv[3]))
model = auto_mixed_precision.auto_convert_mixed_precision(onnx.load(sys.argv[1]), feed, rtol=0.01, atol=0.01,
                                                          keep_io_types=True)
onnx.save(model, sys.argv[2])
print("executions", runs[0])
"""
TRANSFORMERS = """
import sys, onnx
from onnxruntime.transformers.float16 import convert_float_to_float16
onnx.save(convert_float_to_float16(onnx.load(sys.argv[1]), keep_io_types=True), sys.argv[2])
"""
AUTOCAST = """
import sys, onnx
from modelopt.onnx.autocast import convert_to_mixed_precision
onnx.save(convert_to_mixed_precision(sys.argv[1], low_precision_type="fp16", keep_io_types=True), sys.argv[2])
"""
RUNTIME = "onnxruntime>=1.23,<2"
CONVERTER = ("onnxconverter-common>=1.16", RUNTIME)
TOOLS = [
    Tool("onnx-opt", (*OURS, "-O0", "--fp16", "--no-validate", "--report-json", "REPORT")),
    Tool("onnx-opt-half", (*OURS, "-O0", "--fp16", "--no-fp16-keep-io", "--no-validate", "--report-json", "REPORT")),
    Tool("common", ("{tools}", "-c", COMMON, "{input}", "{output}"), CONVERTER),
    Tool("common-auto", ("{tools}", "-c", AUTO, "{input}", "{output}", "FEED"), CONVERTER),
    Tool("ort-float16", ("{tools}", "-c", TRANSFORMERS, "{input}", "{output}"), (RUNTIME, "sympy")),
    Tool(
        "onnxslim",
        ("{tools}", "-m", "onnxslim", "{input}", "{output}", "--dtype", "fp16"),
        ("onnxslim>=0.1.98", RUNTIME),
    ),
    Tool("autocast", ("{tools}", "-c", AUTOCAST, "{input}", "{output}"), ("nvidia-modelopt[onnx]>=0.40", RUNTIME)),
]


@dataclass
class Row:
    """One tool on one model; `true_half` and `runtime` are errors, `seconds` of the process."""

    model: str
    tool: str
    verdict: str = "ok"
    reason: str = ""
    true_half: float | None = None
    runtime: float | None = None
    fp32_nodes: int | None = None
    casts: int | None = None
    executions: int | None = None
    seconds: float | None = None
    bytes: float | None = None
    """As a share of the original's."""


@dataclass(frozen=True)
class Original:
    """A model in FP32 and what it makes of its feeds."""

    name: str
    path: Path
    reference: Reference
    casts: int
    metric: Metric


def judge(original: Original, row: Row, result: Path) -> None:
    """Fill in what is known of a result."""
    try:
        onnx.checker.check_model(str(result), full_check=True)
    except Exception as error:  # the checker and shape inference raise classes of their own, and RuntimeError
        row.verdict, row.reason = "invalid", str(error).strip().splitlines()[0]
    try:
        nodes = [node for scope in load(result).model.all_graphs() for node in scope]
    except ModelError as error:  # such as a value that is computed twice
        row.verdict, row.reason = "invalid", row.reason or error.message
        return
    row.casts = sum(node.op == "Cast" for node in nodes) - original.casts
    row.fp32_nodes = sum(
        node.op not in ("Cast", "Constant") and any(v.elem_type == FLOAT for v in node.outputs) for node in nodes
    )
    row.bytes = result.stat().st_size / original.path.stat().st_size
    try:
        row.runtime = error_of(original, Source(path=result))
        row.true_half = error_of(original, true_half(Source(path=result)))
    except (CannotLoad, Rejected, Unreadable, ValueError) as problem:
        row.verdict, row.reason = row.verdict if row.verdict != "ok" else "does not run", row.reason or str(problem)
        return
    if row.verdict == "ok" and not original.metric.accepts(row.true_half):
        row.verdict = "wrong"


def error_of(original: Original, source: Source) -> float:
    """The largest error over the feeds. Raises ValueError for another interface."""
    error = 0.0
    with Session(source) as session:
        allowed = allowed_types(original.reference.signature, session.signature, "float16")
        if broken := broken_promises(allowed, session.signature):
            raise ValueError(broken[0])
        for record in common(original.reference.records)[:FEEDS]:
            outputs = session.run(fitted(record.feed, session.signature, "float16"))
            error = max(error, original.metric.error(record.outputs, restored(outputs, record.outputs, "float16")))
    return error


def convert(original: Original, tool: Tool, environment: Path, work: Path, timeout: float) -> Row:
    """Run one tool and judge what it wrote."""
    result = work / tool.name / original.path.name
    result.parent.mkdir(parents=True, exist_ok=True)
    feed = work / "feed.npz"
    if "FEED" in tool.command:
        np.savez(feed, **common(original.reference.records)[0].feed)
    report = work / "report.json"
    files = {"FEED": str(feed), "REPORT": str(report)}
    argv = [files.get(part, part) for part in tool.argv(environment, original.path, result)]
    run = measure.run(argv, timeout=timeout)
    row = Row(original.name, tool.name, seconds=run.wall, executions=executions(tool, run.stdout, report))
    if not run.ok or not result.exists():
        row.verdict, row.reason = "timeout" if run.timed_out else "failed", run.reason or "wrote no model"
        return row
    judge(original, row, result)
    return row


def executions(tool: Tool, output: str, report: Path) -> int | None:
    """Runs of the model, as the tool counts them."""
    if "REPORT" in tool.command:
        written: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {}
        report.unlink(missing_ok=True)
        return sum(found["total_executions"] for found in written.get("measured", {}).values())
    found = re.search(r"^executions (\d+)", output, re.M)
    return int(found[1]) if found else 0


def originals(paths: Sequence[tuple[str, Path]], console: Console) -> Iterator[Original]:
    """The models that ONNX Runtime runs in FP32."""
    metric = find_metric("max-rel", None, FORMATS[FLOAT16])
    for name, path in paths:
        reference = Reference(Source(path=path), samples=FEEDS)
        if not reference.records:
            console.print(f"left out: {name}: {reference.problem}", markup=False, style="yellow")
            continue
        nodes = [node for scope in load(path).model.all_graphs() for node in scope]
        yield Original(name, path, reference, sum(node.op == "Cast" for node in nodes), metric)


def table_of(rows: Sequence[Row]) -> Table:
    """The rows of one model."""
    notes = "\n".join(f"{row.tool}: {row.reason[: compare.REASON_LENGTH]}" for row in rows if row.reason)
    table = Table(title=rows[0].model, caption=escape(notes) or None, **compare.LAYOUT)
    for column in ("tool", "true half", "runtime", "FP32 nodes", "casts", "runs", "s", "bytes", "verdict"):
        table.add_column(column, justify="left" if column in ("tool", "verdict") else "right", no_wrap=True)
    for row in rows:
        cells = [_error(row.true_half), _error(row.runtime)]
        cells += ["" if n is None else str(n) for n in (row.fp32_nodes, row.casts, row.executions)]
        cells += [compare.number(row.seconds, ".1f"), compare.number(row.bytes, ".0%")]
        table.add_row(row.tool, *cells, row.verdict, style=None if row.verdict == compare.OK else "red")
    return table


def _error(error: float | None) -> str:
    return "" if error is None else "inf" if error == math.inf else f"{error:.1e}"


def summary(rows: Sequence[Row], tools: Sequence[Tool]) -> Table:
    """One line for each tool over all models; casts and FP32 nodes on the models that every tool got right."""
    names = [tool.name for tool in tools]
    right = {name: {row.model: row for row in rows if row.tool == name and row.verdict == compare.OK} for name in names}
    shared = set.intersection(*(set(found) for found in right.values())) if names else set()
    table = Table(title=f"all models (casts and FP32 nodes: on the {len(shared)} that all got right)", **compare.LAYOUT)
    for column in (
        "tool",
        "models",
        "right",
        "wrong",
        "invalid",
        "does not run",
        "failed",
        "casts",
        "FP32 nodes",
        "most runs",
        "s",
    ):
        table.add_column(column, justify="left" if column == "tool" else "right")
    for name in names:
        mine = [row for row in rows if row.tool == name]
        count = {
            verdict: sum(row.verdict == verdict for row in mine) for verdict in ("wrong", "invalid", "does not run")
        }
        failed = len(mine) - len(right[name]) - sum(count.values())
        table.add_row(
            name,
            *map(str, (len(mine), len(right[name]), *count.values(), failed)),
            str(sum(right[name][model].casts or 0 for model in shared)),
            str(sum(right[name][model].fp32_nodes or 0 for model in shared)),
            str(max((row.executions or 0 for row in mine), default=0)),
            f"{sum(row.seconds or 0.0 for row in mine):.0f}",
        )
    return table


@click.command(help=__doc__)
@click.argument("models", nargs=-1, required=True)
@click.option("--tool", "names", multiple=True, type=click.Choice([tool.name for tool in TOOLS]), help="Only this one.")
@click.option("--tools-env", default=DEFAULT_ENVIRONMENT, type=click.Path(path_type=Path), show_default=True)
@click.option("--timeout", default=120.0, show_default=True, help="Seconds for each tool on each model.")
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
@click.option("--markdown", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write tables here.")
def main(
    models: tuple[str, ...],
    names: tuple[str, ...],
    tools_env: Path,
    timeout: float,
    report: Path | None,
    page: Path | None,
) -> None:
    console = Console()
    wanted = [tool for tool in TOOLS if not names or tool.name in names]
    failures = prepare(tools_env.absolute(), [tool.requires for tool in wanted if tool.requires])
    for line in skipped(failures):
        console.print(line, style="yellow", markup=False, highlight=False)
    tools = [tool for tool in wanted if tool.requires not in failures]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="onnx-opt-bench-") as work:
        for original in originals(compare.find_models(models), console):
            made = [convert(original, tool, tools_env.absolute(), Path(work), timeout) for tool in tools]
            console.print(table_of(made))
            rows += made
            if report:
                report.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    console.print(summary(rows, tools))
    if page:
        tolerance = find_metric("max-rel", None, FORMATS[FLOAT16]).tolerance
        page.write_text("\n".join(casts.markdown(rows, tolerance)) + "\n")


if __name__ == "__main__":
    main()
