"""Tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx_opt.errors import printable
from onnx_opt.notebook import verdict
from onnx_opt.report import changed_ops, emitted_rows, human_bytes, human_count

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from onnx_opt.journal import Table as Reported
    from onnx_opt.report import Report, Stats

# Operators whose count changed beyond these are summed up in one row.
SHOWN_OPS = 16
WIDE = 200
"""Columns of a table where no terminal says how many there are."""


def print_report(report: Report, with_times: bool) -> None:
    """The tables at the end of an optimization."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(_figures(report.before, report.after))
    if report.rewrites:
        console.print(_rewrites(report))
    if report.granted:
        console.print(_liberties(report), markup=False)
    if report.measured or report.proof.get("half"):
        console.print(_half(report))
    for title, found in report.tables.items():
        console.print(_reported(title, found))
    if report.emitted:
        console.print(_emitted(report.emitted))
    if with_times:
        console.print(_times(report))
    console.print(verdict(report), markup=False)
    for note in report.notes:
        console.print(printable(f"note: {note}"), markup=False)


def wide_console() -> Console:
    """Where tables of figures go: a file or a pipe has room for all of their columns."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def print_batch(rows: list[list[str]]) -> None:
    """What became of many models: name, status, nodes, bytes, seconds."""
    from rich.text import Text

    table = new_table("", "model", "status", "nodes", "bytes", "seconds")
    for column in table.columns:
        column.no_wrap = True
    styles = {"failed": "red", "unproven": "yellow", "proven": "green"}
    for name, status, *rest in rows:
        table.add_row(Text(name), Text(status, style=styles.get(status, "")), *map(Text, map(printable, rest)))
    wide_console().print(table)


def new_table(title: str, *columns: str) -> Table:
    """An empty table; all columns but the first hold figures."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _figures(before: Stats, after: Stats) -> Table:
    from rich.text import Text

    table = new_table("", "", "before", "after", "change")
    rows: list[tuple[str, int, int, bool]] = [("nodes", before.nodes, after.nodes, False)]
    changed = changed_ops(before, after)
    rows += [(f"  {printable(name)}", one, other, False) for name, one, other in changed[:SHOWN_OPS]]
    if rest := changed[SHOWN_OPS:]:
        rows.append((f"  {len(rest)} other operators", sum(r[1] for r in rest), sum(r[2] for r in rest), False))
    rows += [("transposes", before.transposes, after.transposes, False)]
    if before.transposes or after.transposes:
        rows.append(("transposed bytes", before.transposed_bytes, after.transposed_bytes, True))
    rows += [("casts", before.casts, after.casts, False), ("bytes", before.bytes, after.bytes, True)]
    for name, one, other, is_bytes in rows:
        show = human_bytes if is_bytes else str
        table.add_row(Text(name), show(one), show(other), _change(one, other))
    note = ", symbolic dims at 1" if before.symbolic or after.symbolic else ""
    table.add_row(
        f"FLOPs{note}", human_count(before.flops), human_count(after.flops), _change(before.flops, after.flops)
    )
    return table


def _change(before: int, after: int) -> str:
    if before == after:
        return ""
    return f"{100 * (after - before) / before:+.1f}%" if before else f"+{after}"


def _rewrites(report: Report) -> Table:
    from rich.text import Text

    table = new_table("rewrites", "rule", "pass", "times")
    for (pass_name, rule), count in report.rewrites.most_common():
        table.add_row(Text(rule), Text(pass_name), str(count))
    return table


def _liberties(report: Report) -> str:
    """What was granted, and which rules made use of it how often."""
    taken: dict[str, list[str]] = {liberty: [] for liberty in report.granted}
    for (liberty, _, rule), count in sorted(report.liberties.items()):
        taken[liberty].append(f"{count} times by {rule}")
    lines = (f"{liberty} {', '.join(uses) or 'not taken'}" for liberty, uses in taken.items())
    return f"fast-math: {'; '.join(lines)}"


def _half(report: Report) -> Table:
    """What half precision costs: the nodes that stay FP32, the runs it took to find them, the error in either way."""
    from rich.text import Text

    figures = report.proof.get("half") or {}
    table = new_table("precision", "", "")
    for name, measured in report.measured.items():
        kept = measured["by_range"] + measured["by_loss"] + measured["by_search"]
        reason = measured["refused"] or measured["unmeasured"]
        table.add_row(Text(f"{name}: nodes kept by measurement"), Text(reason or f"{kept} of {measured['nodes']}"))
        table.add_row(f"{name}: runs of the model", f"{measured['total_executions']} of {measured['limit']} at most")
        if "weight_bytes_after" in measured:
            _quantized(table, name, measured)
    for key in ("true_half_precision", "onnx_runtime", "integer_kernels", "cuda"):
        if key in figures:
            table.add_row(Text(f"{figures['metric']} error, {key.replace('_', ' ')}"), f"{float(figures[key]):.2g}")
    if figures:
        table.add_row("tolerance", f"{figures['tolerance']:g}")
    return table


def _quantized(table: Table, name: str, measured: dict[str, Any]) -> None:
    """The error on the data that the scales come from, and on others; what the weights took and take."""
    table.add_row(f"{name}: samples calibrated on", str(measured["samples"]))
    for what, key in (("calibration", "calibration_error"), ("held-out", "error")):
        if measured[key] is not None:
            table.add_row(f"{name}: error on {what} data", f"{measured[key]:.2g}")
    before, after = (human_bytes(measured[f"weight_bytes_{when}"]) for when in ("before", "after"))
    table.add_row(f"{name}: bytes of {measured['weights']} weights", f"{before}, now {after}")


def _reported(title: str, found: Reported) -> Table:
    from rich.text import Text

    table = new_table(title, *found.headings)
    table.columns[-1].justify = "left"
    for row in found.rows:
        table.add_row(*map(Text, row))
    return table


def _emitted(figures: dict[str, Any]) -> Table:
    from rich.text import Text

    table = new_table(printable(str(figures.get("kind", "output"))), "", "")
    for row in emitted_rows(figures):
        table.add_row(*map(Text, map(printable, row)))
    return table


def _times(report: Report) -> Table:
    from rich.text import Text

    table = new_table("time", "", "seconds", "rewrites", "nodes after")
    for run in report.runs:
        table.add_row(Text(run.name), f"{run.seconds:.3f}", str(run.rewrites), str(run.nodes))
    for phase, seconds in report.seconds.items():
        table.add_row(f"({phase})", f"{seconds:.3f}", "", "")
    return table
