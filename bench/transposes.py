"""Count the Transposes, and the bytes they move, that each tool leaves in models.

\b
    python bench/transposes.py                     generated channels-last networks
    python bench/transposes.py model.onnx folder/  your own

Each tool runs with its default options, and its result is held against the original in ONNX Runtime. Transposes in
subgraphs and functions count. Bytes are those of their operands, none where only dims of size 1 move; a size that is
not known counts as in the layout pass: 1 for the batch, 64 for any other. After a + stand the reorderings that ONNX
Runtime writes for its blocked layout, which take Transposes in; their bytes are not known.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import compare
from rich.console import Console
from rich.table import Table
from tools import DEFAULT_ENVIRONMENT, TOOLS, Tool, versions

from onnx_opt.ir import load
from onnx_opt.report import measure

OURS = TOOLS["onnx-opt"]
OTHERS = ("tf2onnx", "onnxsim", "onnxslim", "ort-basic", "ort-extended", "ort-all")
GENERATED = (
    "nhwc-resnet:16", "nhwc-senet:8", "nhwc-unet:3", "nhwc-ssd:4", "nhwc-qdq:8", "nhwc-if:4",
    "nhwc-function:4", "vit:4",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What a tool leaves in a model: the number of Transposes and the bytes they move; why not, where it failed."""

    model: str
    tool: str
    transposes: int | None
    transposed_bytes: int | None
    reordered: int = 0
    trouble: str = ""

    @property
    def text(self) -> str:
        if self.transposes is None or self.transposed_bytes is None:
            return f"[red]{self.trouble}[/]"
        reordered = f"+{self.reordered}" if self.reordered else ""
        return f"{self.transposes:>4}{reordered:<4} {self.transposed_bytes / 1e3:>7,.0f} kB"


@click.command(help=__doc__)
@click.argument("models", nargs=-1)
@click.option("--tool", "names", multiple=True, type=click.Choice(list(TOOLS)), default=(OURS.name, *OTHERS))
@click.option("--tools-env", default=DEFAULT_ENVIRONMENT, type=click.Path(path_type=Path), show_default=True)
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(models: tuple[str, ...], names: tuple[str, ...], tools_env: Path, report: Path | None) -> None:
    console = Console(width=26 + 22 * (len(names) + 1))
    settings = compare.Settings(tools_env.absolute(), timeout=600, samples=2, seconds=0, dims=())
    tools = compare.choose_tools(names, settings.environment, console)
    rows: list[Found] = []
    with tempfile.TemporaryDirectory(prefix="onnx-opt-bench-") as folder:
        for name, source in compare.find_models(models or GENERATED):
            before = counted(name, "before", source)
            if not before.transposes:
                continue
            with console.status(name):
                rows += [before, *(left(tool, name, source, Path(folder, "result.onnx"), settings) for tool in tools)]
    console.print(table_of(rows, [tool.name for tool in tools]))
    if report:
        content = {"versions": versions(settings.environment), "rows": [asdict(row) for row in rows]}
        report.write_text(json.dumps(content, indent=1) + "\n")


def left(tool: Tool, name: str, source: Path, result: Path, settings: compare.Settings) -> Found:
    """What is left after a tool; a result that computes something else counts for nothing."""
    result.unlink(missing_ok=True)
    row = compare.optimize(tool, name, source, result, settings)
    if row.verdict != compare.OK:
        return Found(name, tool.name, None, None, trouble=row.verdict)
    return counted(name, tool.name, result)


def counted(name: str, tool: str, path: Path) -> Found:
    stats = measure(load(path))
    reordered = sum(stats.ops[f"com.microsoft.nchwc::{op}"] for op in ("ReorderInput", "ReorderOutput"))
    return Found(name, tool, stats.transposes, stats.transposed_bytes, reordered)


def table_of(rows: Sequence[Found], tools: Sequence[str]) -> Table:
    """A line for each model, and the sums over those with which no tool failed."""
    columns = ("before", *tools)
    by_model: dict[str, dict[str, Found]] = {}
    for row in rows:
        by_model.setdefault(row.model, {})[row.tool] = row
    table = Table()
    for heading in ("model", *columns):
        table.add_column(heading, no_wrap=True)
    for model, found in by_model.items():
        table.add_row(model, *(found[column].text for column in columns))
    sound = [found for found in by_model.values() if all(row.transposes is not None for row in found.values())]
    table.add_section()
    for label, which in (("sum over all", list(by_model.values())), ("sum where none failed", sound)):
        table.add_row(label, *(total([found[column] for found in which]).text for column in columns))
    return table


def total(rows: Sequence[Found]) -> Found:
    if any(row.transposes is None for row in rows):
        return Found("", "", None, None, trouble="-")
    sums = [sum(getattr(row, field) for row in rows) for field in ("transposes", "transposed_bytes", "reordered")]
    return Found("", "", *sums)


if __name__ == "__main__":
    main()
