"""``onnx-opt check --target NAME MODEL``: every node that the target rejects, before anything is built."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from onnx_opt.cli import engine, params
from onnx_opt.errors import TargetError, printable

if TYPE_CHECKING:
    from onnx_opt.emit.rejection import Answer
    from onnx_opt.ir import Graph

HELP = """List every node of a model that a target rejects, with the reason and what can be done.

TensorRT's own parser is asked where one is installed, else our tables. Exit code 3: something is rejected."""


def build() -> click.Command:
    options: list[click.Parameter] = [
        click.Argument(["model"], type=click.Path()),
        click.Option(["--target"], metavar="NAME", default="tensorrt", help="The target to ask.  [tensorrt]"),
        click.Option(
            ["--builder"], type=click.Choice(engine.BUILDERS), metavar="NAME", help="Its module: tensorrt, or rtx."
        ),
        click.Option(["--dim", "dims"], multiple=True, metavar="NAME=N[:M]", help="Fix or bound a symbolic dim."),
        click.Option(["--shape", "shapes"], multiple=True, metavar="INPUT=NxN..", help="Fix the shape of an input."),
        click.Option(["--json", "as_json"], is_flag=True, help="Write JSON."),
        click.Option(["--traceback"], is_flag=True, expose_value=False, help="Show where in the code an error arose."),
    ]
    return click.Command("check", params=options, callback=run, help=HELP)


def run(
    model: str, target: str, builder: str | None, dims: tuple[str, ...], shapes: tuple[str, ...], as_json: bool
) -> int:
    """List what is rejected; the exit code."""
    from onnx_opt.checks import check_model
    from onnx_opt.interface import restrict
    from onnx_opt.ir import gc_paused, load

    with gc_paused():
        graph = load(model)
        check_model(graph.model)
        restrict(graph, params.read_dims(dims), params.read_shapes(shapes))
        answer = ask(graph, target, builder)
    click.echo(json.dumps(_to_dict(model, target, answer), indent=2) if as_json else _text(model, answer))
    return 0 if answer.accepted else TargetError.exit_code


def ask(graph: Graph, target: str, builder: str | None = None) -> Answer:
    """What the target makes of the model: its own parser where there is one here, else our tables."""
    from onnx_opt.emit.rejection import by_table
    from onnx_opt.target import find_target

    found = find_target(target)
    asker = PARSERS.get(found.name)
    return asker(graph, builder) if asker else by_table(graph, found)


def _ask_tensorrt(graph: Graph, builder: str | None) -> Answer:
    from onnx_opt.emit.tensorrt.ask import examine, examine_by_table
    from onnx_opt.emit.tensorrt.modules import find_builder

    if builder is None and find_builder() is None:
        return examine_by_table(graph)
    return examine(graph, builder)


PARSERS: Mapping[str, Callable[[Graph, str | None], Answer]] = {"tensorrt": _ask_tensorrt}
"""By the name of a target, what asks more than our tables."""


def _to_dict(model: str, target: str, answer: Answer) -> dict[str, object]:
    return {
        "model": model,
        "target": target,
        "asked": answer.asked,
        "accepted": answer.accepted,
        "complete": answer.complete,
        "layers": answer.layers or None,
        "rejections": [rejection.to_dict() for rejection in answer.rejections],
    }


def _text(model: str, answer: Answer) -> str:
    lines = [str(rejection) for rejection in answer.rejections]
    count = f"{len(lines)} rejected" if lines else "accepted"
    layers = f", {answer.layers} layers" if answer.layers and not lines else ""
    rest = "" if answer.complete else "; what follows from these was not looked at"
    return "\n".join(map(printable, [*lines, f"{model}: {count} by {answer.asked}{layers}{rest}"]))
