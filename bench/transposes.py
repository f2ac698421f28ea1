"""Count the Transposes, and the bytes they move, that each tool leaves in models.

\b
    python bench/transposes.py                     generated channels-last networks
    python bench/transposes.py model.onnx folder/  your own

Bytes are those of the operands of all Transposes but those that only move dims of size 1; a size that is not known
counts as in the layout pass: 1 for the batch, 64 for any other. The other tools run with their default options.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table
from tools import DEFAULT_ENVIRONMENT, TOOLS, Tool, prepare, skipped

from onnx_opt.ir import load
from onnx_opt.layout.perms import moves_nothing, perm_of
from onnx_opt.layout.weigh import Weights

TIMEOUT = 600
DEFAULT_TOOLS = ("onnxsim", "onnxslim", "ort-basic", "ort-extended")
Counted = tuple[int, int]


@click.command(help=__doc__)
@click.argument("models", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--tool", "names", multiple=True, type=click.Choice(list(TOOLS)), default=DEFAULT_TOOLS)
@click.option("--passes", default="fold,cleanup,repeat(fuse-conv-bn-relu,layout,fold,cleanup)", show_default=True)
@click.option("--environment", default=DEFAULT_ENVIRONMENT, type=click.Path(path_type=Path))
def main(models: tuple[Path, ...], names: tuple[str, ...], passes: str, environment: Path) -> None:
    tools = [TOOLS[name] for name in names]
    for line in skipped(prepare(environment, [tool.requires for tool in tools if tool.requires])):
        click.echo(line)
    ours = Tool("onnx-opt", ("{python}", "-m", "onnx_opt.cli", "{input}", "-o", "{output}", "--passes", passes))
    table = Table()
    for heading in ("model", "before", ours.name, *names):
        table.add_column(heading, no_wrap=True)
    totals: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in models_in(models) if models else generated(Path(folder)):
            before = counted(path)
            if not before[0]:
                continue
            found = {tool.name: after(tool, path, Path(folder) / "result.onnx", environment) for tool in (ours, *tools)}
            if all(found.values()):
                for name, result in (("before", before), *found.items()):
                    totals[name] = [a + b for a, b in zip(totals.get(name, [0, 0]), result or (0, 0), strict=True)]
            table.add_row(path.stem, shown(before), *map(shown, found.values()))
    table.add_section()
    table.add_row("all that every tool did", *(shown((count, size)) for count, size in totals.values()))
    Console(width=48 + 24 * (2 + len(tools))).print(table)


def models_in(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.glob("*.onnx")) if path.is_dir() else [path]


def after(tool: Tool, source: Path, result: Path, environment: Path) -> Counted | None:
    """What is left after a tool; None where it fails."""
    result.unlink(missing_ok=True)
    command = tool.argv(environment, source, result)
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False)
    return counted(result) if done.returncode == 0 and result.exists() else None


def counted(path: Path) -> Counted:
    """The number of Transposes, and the bytes that they move."""
    graph = load(path)
    weights = Weights(graph.inputs)
    count = size = 0
    for scope in graph.model.all_graphs():
        for node in scope:
            if node.op == "Transpose" and not node.domain:
                count += 1
                dims, perm = node.inputs[0].dims, perm_of(node)
                size += weights.bytes_of(node.inputs[0]) if dims and perm and not moves_nothing(perm, dims) else 0
    return count, size


def shown(found: Counted | None) -> str:
    return "failed" if found is None else f"{found[0]:>4}  {found[1] / 1e3:>9,.0f} kB"


# -- generated networks ------------------------------------------------------------------------------------------------


def generated(folder: Path) -> Iterator[Path]:
    """Residual networks in NHWC with a Transpose before and after each Conv, as TensorFlow's converter writes them."""
    for blocks in (4, 16, 64):
        path = folder / f"nhwc-resnet-{blocks}.onnx"
        onnx.save(nhwc_resnet(blocks), path)
        yield path


def nhwc_resnet(blocks: int, channels: int = 16, size: int = 32) -> onnx.ModelProto:
    draw = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def constant(*dims: int) -> str:
        weights.append(numpy_helper.from_array(draw.normal(0, 0.2, dims).astype(np.float32), f"w{len(weights)}"))
        return weights[-1].name

    def add(op: str, *operands: str, **attrs: Any) -> str:
        nodes.append(helper.make_node(op, operands, [f"v{len(nodes)}"], name=f"n{len(nodes)}", **attrs))
        return nodes[-1].output[0]

    def conv(x: str, inputs: int) -> str:
        moved = add("Transpose", x, perm=[0, 3, 1, 2])
        made = add("Conv", moved, constant(channels, inputs, 3, 3), pads=[1, 1, 1, 1])
        scaled = add("Mul", add("Transpose", made, perm=[0, 2, 3, 1]), constant(channels))
        return add("Add", scaled, constant(channels))

    y = conv("x", 3)
    for _ in range(blocks):
        y = add("Relu", add("Add", y, conv(add("Relu", conv(y, channels)), channels)))
    y = add("ReduceMean", y, axes=[1, 2], keepdims=0)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", size, size, 3])
    out = helper.make_tensor_value_info(y, TensorProto.FLOAT, ["N", channels])
    graph = helper.make_graph(nodes, "nhwc_resnet", [x], [out], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    sys.exit(main())
