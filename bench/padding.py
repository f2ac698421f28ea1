"""Pad the channels of networks with odd widths, prove the result, and say what was padded and what was left.

\b
    python bench/padding.py                       networks as published, with widths such as 37
    python bench/padding.py model.onnx folder/    your own

`can` are the Convs and products that matrix units could run, `before` and `after` those of them with aligned channels.
`ends` counts the Slices and Pads that padding put at outputs and inputs, `inside` those between layers (none wanted).
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import onnx
from odd_widths import NETWORKS, WIDTHS
from rich.console import Console
from rich.table import Table

import onnx_opt
from onnx_opt.channels.layers import ineligible, layers_in, unfit
from onnx_opt.ir import Graph, Node, load
from onnx_opt.target import find_target

HEADINGS = ("model", "layers", "can", "before", "after", "inside", "ends", "verdict", "left because")


@click.command(help=__doc__)
@click.argument("models", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--multiple", default=8, show_default=True)
@click.option("--target", default="portable", show_default=True)
@click.option("--inputs", is_flag=True, help="Pad the channels of the inputs too.")
@click.option("--samples", default=2, show_default=True, help="Random inputs of the proof.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
@click.option("--width", "widths", multiple=True, type=int, default=WIDTHS, help="Widths of the generated networks.")
def main(
    models: tuple[Path, ...],
    multiple: int,
    target: str,
    inputs: bool,
    samples: int,
    report: Path | None,
    widths: tuple[int, ...],
) -> None:
    rows: list[list[str]] = []
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for path in paths_in(models) if models else generated(Path(folder), widths):
            outcome = measured(path, multiple, target, inputs, samples)
            if outcome.layers:
                rows.append([path.stem, *outcome.cells()])
            failed |= outcome.verdict == "failed" or outcome.changed_interface
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=heading != HEADINGS[-1])
    for row in rows:
        table.add_row(*row)
    Console(width=200).print(table)
    if report is not None:
        report.write_text("\n".join(markdown(rows)) + "\n")
    if failed:
        sys.exit(1)


def markdown(rows: list[list[str]]) -> Iterator[str]:
    """The table as Markdown."""
    for cells in (list(HEADINGS), ["---"] * len(HEADINGS), *rows):
        yield f"| {' | '.join(cells)} |"


def paths_in(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.glob("*.onnx")) if path.is_dir() else [path]


def generated(folder: Path, widths: tuple[int, ...]) -> Iterator[Path]:
    for name, make in NETWORKS.items():
        for width in widths:
            path = folder / f"{name}-{width}.onnx"
            onnx.save(make(width), path)
            yield path


@dataclass
class Outcome:
    """What padding did to one model. `can` are the layers that could run on matrix units."""

    layers: int
    can: int
    before: int
    after: int
    inside: int
    ends: int
    verdict: str
    changed_interface: bool
    reasons: Counter[str]

    def cells(self) -> list[str]:
        left = "; ".join(f"{count}x {reason}" for reason, count in self.reasons.most_common())
        numbers = (self.layers, self.can, self.before, self.after, self.inside, self.ends)
        verdict = self.verdict + (", another interface" if self.changed_interface else "")
        return [*map(str, numbers), verdict, left]


def measured(path: Path, multiple: int, target: str, inputs: bool, samples: int) -> Outcome:
    """Fold and pad a model, and hold it against what it was."""
    options = f"multiple={multiple},inputs={'true' if inputs else 'false'}"
    passes = f"repeat(fold,cleanup),pad-channels{{{options}}}"
    result = onnx_opt.optimize(path, passes, target=target, samples=samples)
    plain = onnx_opt.optimize(path, "repeat(fold,cleanup)", target=target, validate=False).model
    before, after = load(path), result.model
    found, chosen = result.report.tables.get("pad-channels"), find_target(target)
    rows = found.rows if found is not None else []
    able = [node for node in layers_in(after) if not unfit(node, chosen, multiple)]
    ends = at_ends(after) - at_ends(plain)
    return Outcome(
        layers=sum(1 for _ in layers_in(after)),
        can=len(able),
        before=sum(not ineligible(node, chosen, multiple) for node in layers_in(before)),
        after=sum(not ineligible(node, chosen, multiple) for node in able),
        inside=selections(after) - selections(plain) - ends,
        ends=ends,
        verdict=result.report.status,
        changed_interface=interface(before) != interface(after),
        reasons=Counter(summary(row[-1]) for row in rows if row[-1]),
    )


def selections(graph: Graph) -> int:
    return sum(map(selects, graph))


def selects(node: Node) -> bool:
    return node.op in ("Slice", "Pad")


def at_ends(graph: Graph) -> int:
    """How many Slices and Pads give an output of the graph or read an input."""
    nodes = {value.producer for value in graph.outputs if value.producer is not None}
    nodes.update(user for value in graph.inputs for user in value.users)
    return sum(map(selects, nodes))


def interface(graph: Graph) -> list[str]:
    return [f"{value.name}: {value.declared}" for value in (*graph.inputs, *graph.outputs)]


def summary(reason: str) -> str:
    """A reason without the names and numbers of one layer."""
    head, _, why = reason.partition("; ")
    return why if why else head.partition(":")[0]


if __name__ == "__main__":
    main()
