"""A result as people look at it in a notebook, an interpreter or a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from typing import TYPE_CHECKING

from onnx_opt.errors import printable
from onnx_opt.report import Report, changed_ops, human_bytes, human_count

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_OPS = 8


def one_line(report: Report) -> str:
    """<onnx_opt.Result: proven, 610 -> 255 nodes, 779 KiB -> 763 KiB>"""
    before, after = report.before, report.after
    size = f"{human_bytes(before.bytes)} -> {human_bytes(after.bytes)}"
    return f"<onnx_opt.Result: {report.status}, {before.nodes} -> {after.nodes} nodes, {size}>"


def rows(report: Report) -> Iterator[tuple[str, str, str]]:
    """(figure, before, after): those that people ask for, and the operators whose count changed most."""
    before, after = report.before, report.after
    shown: list[tuple[str, int, int, Callable[[float], str]]] = [
        ("nodes", before.nodes, after.nodes, _plain),
        ("bytes", before.bytes, after.bytes, human_bytes),
        ("transposes", before.transposes, after.transposes, _plain),
        ("casts", before.casts, after.casts, _plain),
        ("FLOPs", before.flops, after.flops, human_count),
    ]
    shown += [(name, one, other, _plain) for name, one, other in changed_ops(before, after)[:SHOWN_OPS]]
    for name, one, other, show in shown:
        yield printable(name), show(one), show(other)


def _plain(number: float) -> str:
    return str(number)


def verdict(report: Report) -> str:
    """The status and the reason for it, as one line for a terminal."""
    reason = report.proof.get("reason") or "validation was not asked for"
    return printable(f"{report.status}: {reason}")


def as_html(report: Report) -> str:
    """A table with what the user should know beneath it."""
    head = "".join(f'<th style="text-align:right">{name}</th>' for name in ("before", "after"))
    body = "".join(
        f'<tr><td style="text-align:left">{escape(name)}</td><td>{escape(one)}</td><td>{escape(other)}</td></tr>'
        for name, one, other in rows(report)
    )
    said = "".join(f"<p>{escape(line)}</p>" for line in _said(report))
    return f"<div><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>{said}</div>"


def as_rich(report: Report) -> RenderableType:
    """The same for `rich`."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, name in enumerate(("", "before", "after")):
        table.add_column(name, justify="right" if position else "left")
    for row in rows(report):
        table.add_row(*map(Text, row))
    return Group(table, *map(Text, _said(report)))


def _said(report: Report) -> Iterator[str]:
    yield verdict(report)
    yield from (printable(f"undone, because it is wrong: {fault}") for fault in report.faults)
    yield from (printable(f"warning: {warning}") for warning in report.warnings)
    yield from (printable(f"note: {note}") for note in report.notes)
