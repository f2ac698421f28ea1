"""``onnx-opt inspect MODEL``: interface, operator sets, operators, weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import costs
from onnx_opt.cli.group import examples
from onnx_opt.errors import UsageError, printable

if TYPE_CHECKING:
    from onnx_opt.ir import Graph
    from onnx_opt.ir.values import Value

LARGEST_WEIGHTS = 5
HELP = """Show what a model holds, and what one run of it costs.

FLOPs are those of Conv, Gemm, MatMul and their like, bytes the operands that are read and the results that are written.
FLOPs per byte say what limits an operator: below the ratio of a device's speeds it is memory."""
EXAMPLES = """
onnx-opt inspect model.onnx --dim batch=8 --nodes 10     the ten costliest nodes at a batch of 8
onnx-opt inspect model.onnx --plot memory.svg            what is held in memory while each node runs
onnx-opt inspect model.onnx --target tensorrt            does each layer suit the target's matrix units?
onnx-opt inspect model.onnx --text                       every node with proven types and shapes
"""


def build() -> click.Command:
    params: list[click.Parameter] = [
        click.Argument(["model"], type=click.Path()),
        click.Option(
            ["--target"], metavar="NAME", help="List each Conv and product: does it suit the target's matrix units?"
        ),
        click.Option(
            ["--nodes"], is_flag=False, flag_value="20", metavar="[N|all]", help="List the nodes that cost most."
        ),
        click.Option(["--plot"], type=click.Path(), metavar="FILE", help="Draw memory over one run as SVG."),
        click.Option(["--dim", "dims"], multiple=True, metavar="NAME=N[:M]", help="Take a symbolic dim to be N."),
        click.Option(["--json", "as_json"], is_flag=True, help="Write JSON."),
        click.Option(["--text"], is_flag=True, help="Print the whole graph as text."),
        click.Option(["--traceback"], is_flag=True, expose_value=False, help="Show where in the code an error arose."),
    ]
    return click.Command("inspect", params=params, callback=run, help=HELP, epilog=examples(EXAMPLES))


def run(
    model: str,
    target: str | None,
    nodes: str | None,
    plot: str | None,
    dims: tuple[str, ...],
    as_json: bool,
    text: bool,
) -> None:
    from onnx_opt.checks import check_model
    from onnx_opt.cli.params import check_place, read_dims
    from onnx_opt.interface import restrict
    from onnx_opt.ir import gc_paused, load

    most = _read_nodes(nodes)
    if plot is not None:
        check_place(Path(plot))
    with gc_paused():
        graph = load(model)
        restrict(graph, read_dims(dims), {})
        if text:
            from onnx_opt.text import format_graph

            click.echo(format_graph(graph))
            return
        check_model(graph.model)
        found = describe(graph)
        found |= costs.describe(graph, most)
        if target is not None:
            found["layers"] = describe_layers(graph, target)
        if plot is not None:
            costs.write_plot(graph, Path(model).name, Path(plot))
    click.echo(json.dumps(found, indent=2) if as_json else "\n".join(map(printable, lines(model, found))))


def describe(graph: Graph) -> dict[str, Any]:
    """What a model holds, as plain data. Counts cover subgraphs and local functions."""
    from onnx_opt.interface import symbols
    from onnx_opt.report import measure

    model = graph.model
    stats = measure(graph)
    functions = {(f.domain, f.name) for f in model.functions}
    kinds = {(n.domain, n.op) for g in model.all_graphs() for n in g}
    custom = sorted(f"{d}::{op}" for d, op in kinds if d not in ("", "ai.onnx.ml") and (d, op) not in functions)
    weights = sorted((c for g in model.all_graphs() for c in g.constants), key=lambda c: (-c.nbytes, c.name))
    return {
        "name": graph.name,
        "ir_version": model.ir_version,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opsets": {domain or "ai.onnx": version for domain, version in model.opsets.items()},
        "inputs": [_describe_value(v) for v in graph.inputs],
        "outputs": [_describe_value(v) for v in graph.outputs],
        "dynamic_dims": list(dict.fromkeys(symbols(graph))),
        "functions": [f"{f.domain}::{f.name}" for f in model.functions],
        "subgraphs": sum(g.owner is not None for g in model.all_graphs()),
        "custom_operators": custom,
        **stats.to_dict(),
        "initializers": len(weights),
        "largest_weights": [
            {"name": c.name, "bytes": c.nbytes, "shape": list(c.dims)} for c in weights[:LARGEST_WEIGHTS]
        ],
    }


def describe_layers(graph: Graph, target: str) -> list[dict[str, Any]]:
    """Each Conv, ConvTranspose, Gemm and MatMul, and why matrix units do not run it at full speed as it is."""
    from onnx_opt.channels.layers import arithmetic, ineligible, layers_in, product_of
    from onnx_opt.target import find_target

    chosen, found = find_target(target), []
    for node in (node for scope in graph.model.all_graphs() for node in layers_in(scope)):
        product, why = product_of(node), ineligible(node, chosen)
        sizes = dict(zip(("in", "out"), product.channels, strict=True))
        kind = {"name": node.label(), "op": node.op, "dtype": arithmetic(node), **sizes, "groups": product.groups}
        found.append({**kind, "eligible": not why, "reason": why})
    return found


def _read_nodes(text: str | None) -> int | None:
    """How many nodes to list: 0 for none, None for all."""
    if text is None or text == "all":
        return None if text else 0
    if not text.isdecimal():
        raise UsageError(f"--nodes {text}: no number of nodes", remedy="write --nodes 20 or --nodes all")
    return int(text)


def _describe_value(value: Value) -> dict[str, Any]:
    return {"name": value.name, "type": spell_type(value.declared)}


def spell_type(declared: Any) -> str:
    """A type as people write it: float32[batch,3,224,?]."""
    from onnx import TensorProto

    if declared is None:
        return "unknown"
    elem = getattr(declared, "elem_type", None)
    if elem is None:
        return str(declared)
    name = TensorProto.DataType.Name(elem).lower() if elem else "unknown"
    if declared.shape is None:
        return f"{name}[...]"
    return f"{name}[{','.join('?' if dim is None else str(dim) for dim in declared.shape)}]"


def lines(path: str, found: dict[str, Any]) -> Iterable[str]:
    """The same for reading."""
    from onnx_opt.report import human_bytes, human_count

    yield f"{path}: {found['name']}" if found["name"] else path
    yield f"  made by    {found['producer'] or 'unknown'}, IR version {found['ir_version']}"
    yield "  opsets     " + ", ".join(f"{domain} {version}" for domain, version in found["opsets"].items())
    for label in ("inputs", "outputs"):
        for position, value in enumerate(found[label]):
            yield f"  {label if not position else '':10} {value['name']}: {value['type']}"
    yield f"  dynamic    {', '.join(found['dynamic_dims']) or 'nothing'}"
    inner = f"those in {found['subgraphs']} subgraphs and {len(found['functions'])} functions included"
    yield f"  nodes      {found['nodes']}, {inner}"
    yield from costs.lines_by_operator(found)
    if found["custom_operators"]:
        yield f"  custom     {', '.join(found['custom_operators'])}"
    sizes = f"{human_bytes(found['weight_bytes'])} of {human_bytes(found['bytes'])}"
    yield f"  weights    {human_count(found['parameters'])} parameters in {found['initializers']} initializers, {sizes}"
    for weight in found["largest_weights"]:
        yield f"    {human_bytes(weight['bytes']):>10} {weight['name']} {weight['shape']}"
    yield from costs.lines(found)
    yield from _layer_lines(found.get("layers"))


def _layer_lines(layers: list[dict[str, Any]] | None) -> Iterable[str]:
    if layers is None:
        return
    yield f"  layers     {len(layers)}, {sum(layer['eligible'] for layer in layers)} eligible for matrix units"
    for layer in layers:
        sizes = " -> ".join("?" if layer[end] is None else str(layer[end]) for end in ("in", "out"))
        groups = f" x {layer['groups']}" if layer["groups"] > 1 else ""
        kind = f"{layer['op']} {layer['dtype']} {sizes}{groups}"
        yield f"    {kind:34} {layer['name']}: {'eligible' if layer['eligible'] else layer['reason']}"
