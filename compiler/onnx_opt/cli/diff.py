"""``onnx-opt diff A B``: how two models differ, in structure and in numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import complain, params
from onnx_opt.cli.group import examples
from onnx_opt.errors import printable

if TYPE_CHECKING:
    from onnx_opt.difference import Difference, Names

SHOWN_NAMES = 12
EXAMPLES = """
onnx-opt diff model.onnx model.opt.onnx
onnx-opt diff model.onnx half.onnx --tolerance 1e-2 --data inputs.npz
"""


def build() -> click.Command:
    options: list[click.Parameter] = [
        click.Argument(["a"], type=click.Path()),
        click.Argument(["b"], type=click.Path()),
        click.Option(["--no-numbers"], is_flag=True, help="Compare the structure only; run nothing."),
        click.Option(["--exact"], is_flag=True, help="Results must be equal to the bit."),
        click.Option(["--data"], type=click.Path(), help="Your inputs: .npz, a folder of .npy, or file.py:function."),
        click.Option(
            ["--tolerance"], metavar="TEXT", help="Allowed error: 1e-3, or by type: float32=1e-4,float16=1e-2."
        ),
        click.Option(["--samples"], type=click.IntRange(min=1), help="How many random inputs to try."),
        click.Option(["--seed"], type=int, default=0, help="Seed of the random inputs."),
        click.Option(["--dim", "dims"], multiple=True, metavar="NAME=N[:M]", help="Fix or bound a symbolic dim."),
        click.Option(["--json", "as_json"], is_flag=True, help="Write JSON."),
        click.Option(["--traceback"], is_flag=True, expose_value=False, help="Show where in the code an error arose."),
    ]
    text = "Show how two models differ, in structure and in numbers. Exit code 1: interface or results differ."
    return click.Command("diff", params=options, callback=run, help=text, epilog=examples(EXAMPLES))


def run(a: str, b: str, no_numbers: bool, as_json: bool, **given: Any) -> int:
    from onnx_opt.checks import check_model
    from onnx_opt.difference import compare
    from onnx_opt.ir import gc_paused, load

    with gc_paused():
        one, other = load(a), load(b)
        check_model(one.model)
        check_model(other.model)
        difference = compare(one, other)
    numbers = None if no_numbers else _numbers(a, b, given)
    if as_json:
        click.echo(json.dumps({"structure": difference.to_dict(), "numbers": numbers}, indent=2))
    else:
        click.echo("\n".join(map(printable, _lines(difference))))
        _tell(numbers)
    return 0 if difference.same_interface and (numbers is None or numbers["status"] != "failed") else 1


def _numbers(a: str, b: str, given: Mapping[str, Any]) -> dict[str, Any]:
    from onnx_opt.proof import Evidence, judge_files

    evidence = Evidence(
        data=given["data"],
        tolerance=params.read_tolerance(given["tolerance"]),
        samples=given["samples"],
        seed=given["seed"],
        dims=params.read_dims(given["dims"]),
    )
    return judge_files(a, b, evidence, exact=given["exact"]).to_json()


def _tell(numbers: Mapping[str, Any] | None) -> None:
    if numbers is None:
        return
    click.echo(f"numbers: {numbers['status']}: {numbers['reason']}")
    for note in numbers["notes"]:
        complain(note, kind="warning")


def _lines(difference: Difference) -> Iterator[str]:
    if not difference:
        yield "structure: the same"
    yield from _name_lines("inputs", difference.inputs)
    yield from _name_lines("outputs", difference.outputs)
    for domain, (one, other) in difference.opsets.items():
        yield f"opset {domain or 'ai.onnx'}: {one or 'none'} -> {other or 'none'}"
    for op, (one, other) in difference.ops.items():
        yield f"operator {op}: {one} -> {other}"
    yield from _name_lines("nodes (by their first result)", difference.nodes)
    yield from _name_lines("initializers", difference.initializers)


def _name_lines(what: str, names: Names) -> Iterator[str]:
    for kind, found in (("added", names.added), ("removed", names.removed), ("changed", names.changed)):
        if found:
            more = f" and {len(found) - SHOWN_NAMES} more" if len(found) > SHOWN_NAMES else ""
            yield f"{what} {kind}: {len(found)}: {', '.join(found[:SHOWN_NAMES])}{more}"
