"""How many casts converters to FP16 leave: each public one against the project, on the models that both got right."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

OURS, OURS_HALF = "onnx-opt", "onnx-opt-half"
HALF_INTERFACE = frozenset({"onnxslim"})
"""Tools that make inputs and outputs FP16, which spares the casts there: held against ours with the same interface."""


class Row(Protocol):
    """What a tool made of a model: `true_half` is its error."""

    model: str
    tool: str
    verdict: str
    reason: str
    true_half: float | None
    runtime: float | None
    fp32_nodes: int | None
    casts: int | None
    executions: int | None
    seconds: float | None
    bytes: float | None


@dataclass
class Total:
    """Sums over `models`: of a tool, and of ours on the same. `fewer`, `more`: models with fewer or more casts than
    ours."""

    tool: str
    models: int = 0
    casts: int = 0
    ours: int = 0
    nodes: int = 0
    our_nodes: int = 0
    fewer: int = 0
    more: int = 0

    def add(self, row: Row, ours: Row) -> None:
        self.models += 1
        self.casts, self.ours = self.casts + (row.casts or 0), self.ours + (ours.casts or 0)
        self.nodes, self.our_nodes = self.nodes + (row.fp32_nodes or 0), self.our_nodes + (ours.fp32_nodes or 0)
        self.fewer += (row.casts or 0) < (ours.casts or 0)
        self.more += (row.casts or 0) > (ours.casts or 0)


def by_model(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Model -> tool -> row."""
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        found[row.model][row.tool] = row
    return found


def is_usable(row: Row, tolerance: float) -> bool:
    """Whether a result runs and is right, though the checker may refuse it: some tools leave nodes unsorted."""
    return row.true_half is not None and row.true_half <= tolerance


def totals(rows: Sequence[Row], tolerance: float) -> list[Total]:
    """Each public tool against ours, then the best of them on each model."""
    models = by_model(rows)
    tools = [tool for tool in dict.fromkeys(row.tool for row in rows) if tool not in (OURS, OURS_HALF)]
    found = [Total(tool) for tool in tools]
    for total in found:
        for made in models.values():
            ours = made.get(OURS_HALF if total.tool in HALF_INTERFACE else OURS)
            row = made.get(total.tool)
            if row is not None and ours is not None and is_usable(row, tolerance) and is_usable(ours, tolerance):
                total.add(row, ours)
    best = Total("the best of these on each model, interface in FP32")
    for made in models.values():
        if (row := _best(made, tolerance)) is not None and is_usable(made[OURS], tolerance):
            best.add(row, made[OURS])
    return [*found, best]


def _best(made: Mapping[str, Row], tolerance: float) -> Row | None:
    public = [row for tool, row in made.items() if tool not in {OURS, OURS_HALF, *HALF_INTERFACE}]
    usable = [row for row in public if is_usable(row, tolerance)]
    return min(usable, key=lambda row: row.casts or 0, default=None) if OURS in made else None


# -- as Markdown -------------------------------------------------------------------------------------------------------


def markdown(rows: Sequence[Row], tolerance: float) -> Iterator[str]:
    """The results as lines: tools, casts, models."""
    yield from _tools(rows)
    yield from ("", "## Casts and FP32 nodes, on models that both got right", "")
    yield "| tool | models | its casts | ours | its FP32 nodes | ours | fewer casts than ours | more |"
    yield "| --- " * 8 + "|"
    for total in totals(rows, tolerance):
        cells = (total.models, total.casts, total.ours, total.nodes, total.our_nodes, total.fewer, total.more)
        yield f"| {total.tool} | {' | '.join(map(str, cells))} |"
    yield from _models(rows, tolerance)


def _tools(rows: Sequence[Row]) -> Iterator[str]:
    verdicts = ("ok", "wrong", "invalid", "does not run", "failed", "timeout")
    yield from ("## Tools", "", f"| tool | {' | '.join(verdicts)} | most runs | bytes | s |", "| --- " * 10 + "|")
    for tool in dict.fromkeys(row.tool for row in rows):
        mine = [row for row in rows if row.tool == tool]
        counts = [str(sum(row.verdict == verdict for row in mine)) for verdict in verdicts]
        sizes = [row.bytes for row in mine if row.verdict == "ok" and row.bytes is not None]
        size = f"{sum(sizes) / len(sizes):.0%}" if sizes else ""
        runs = max((row.executions or 0 for row in mine), default=0)
        yield f"| {tool} | {' | '.join(counts)} | {runs} | {size} | {sum(row.seconds or 0.0 for row in mine):.0f} |"


def _models(rows: Sequence[Row], tolerance: float) -> Iterator[str]:
    tools = list(dict.fromkeys(row.tool for row in rows))
    yield from ("", "## Casts by model", "", f"| model | {' | '.join(tools)} | error | bytes |")
    yield "| --- " * (len(tools) + 3) + "|"
    for model, made in by_model(rows).items():
        cells = [_cell(made[tool], tolerance) if tool in made else "" for tool in tools]
        ours = made.get(OURS)
        error = f"{ours.true_half:.1e}" if ours is not None and ours.true_half is not None else ""
        size = f"{ours.bytes:.0%}" if ours is not None and ours.bytes is not None else ""
        yield f"| {model} | {' | '.join(cells)} | {error} | {size} |"


def _cell(row: Row, tolerance: float) -> str:
    """The casts of a result that is right; in brackets where the checker refuses it; else the verdict."""
    if not is_usable(row, tolerance):
        return row.verdict
    return f"{row.casts}" if row.verdict == "ok" else f"({row.casts})"
