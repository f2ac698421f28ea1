"""Run pictures in tiles: is the result that of the whole picture, what do overlaps, pipelining and memory come to.

\b
    python bench/tiles.py                              two upscalers and a segmenter
    python bench/tiles.py model.onnx --size 2048x2048  your own

`again` is how many pixels are computed for each pixel of the picture, since tiles overlap. `memory` is that of the
whole picture at once over that of tiles, `time` the time of the whole picture over that of tiles, `gain` the time of
tiles one after the other over that of tiles with copies in flight. Memory is what a process has for itself, its mapped
files aside, less that of a process that opens the model and runs one tile. The picture is a file that no cache holds.
All ways take turns, and the least of each counts.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from measure import run
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from rich.table import Table

HEADINGS = ("model", "picture", "tile", "tiles", "overlap", "again", "equal", "memory", "time", "gain")
WAYS = {"whole": None, "ahead": 2, "one by one": 0}


@click.command(help=__doc__)
@click.argument("models", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--size", default="1536x2048", show_default=True, help="Height and width of the picture.")
@click.option("--tile", default=512, show_default=True)
@click.option("--threads", default=1, show_default=True, help="Threads of ONNX Runtime; copies have their own.")
@click.option("--provider", default="cpu", show_default=True)
@click.option("--repeat", default=3, show_default=True)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
@click.option("--one", nargs=3, type=str, hidden=True, help="Run one way in this process: ahead, picture, result.")
def main(
    models: tuple[Path, ...],
    size: str,
    tile: int,
    threads: int,
    provider: str,
    repeat: int,
    report: Path | None,
    one: tuple[str, str, str] | None,
) -> None:
    if one is not None:
        print(json.dumps(one_way(models[0], one, tile, threads, provider)))
        return
    height, width = map(int, size.split("x"))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in models or generated(Path(folder)):
            rows.append(measured(path, Path(folder), (height, width), tile, threads, provider, repeat))
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=200).print(table)
    if report is not None:
        report.write_text("\n".join(markdown(rows)) + "\n")


def markdown(rows: list[list[str]]) -> Iterator[str]:
    """The table as Markdown."""
    for cells in (list(HEADINGS), ["---"] * len(HEADINGS), *rows):
        yield f"| {' | '.join(cells)} |"


def generated(folder: Path) -> Iterator[Path]:
    """An upscaler by 2 without and with a residual trunk, and a segmenter at a quarter of the resolution."""
    for name, make in {"upscaler": upscaler, "deep-upscaler": deep_upscaler, "segmenter": segmenter}.items():
        onnx.save(make(), folder / f"{name}.onnx")
        yield folder / f"{name}.onnx"


class Network:
    """A model under construction; pictures are RGB, channels first."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def op(self, kind: str, *operands: str, **attrs: Any) -> str:
        self.nodes.append(helper.make_node(kind, operands, [f"v{len(self.nodes)}"], **attrs))
        return f"v{len(self.nodes) - 1}"

    def conv(self, x: str, channels: int, more: int, size: int = 3, stride: int = 1) -> str:
        scale = 1 / np.sqrt(channels * size * size)
        w = (self.random.standard_normal((more, channels, size, size)) * scale).astype(np.float32)
        self.weights.append(numpy_helper.from_array(w, f"w{len(self.weights)}"))
        return self.op("Conv", x, f"w{len(self.weights) - 1}", pads=[size // 2] * 4, strides=[stride] * 2)

    def model(self, output: str) -> Any:
        shapes: dict[str, list[int | str] | None] = {"x": [1, 3, "H", "W"], output: None}
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
        graph = helper.make_graph(self.nodes, "tiles", ends[:1], ends[1:], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def upscaler() -> Any:
    net = Network()
    x = net.op("Relu", net.conv("x", 3, 16))
    return net.model(net.op("DepthToSpace", net.conv(x, 16, 12), blocksize=2))


def deep_upscaler() -> Any:
    net = Network()
    x = net.conv("x", 3, 32)
    for _ in range(3):
        x = net.op("Add", x, net.conv(net.op("Relu", net.conv(x, 32, 32)), 32, 32))
    return net.model(net.op("DepthToSpace", net.conv(x, 32, 12), blocksize=2))


def segmenter() -> Any:
    net = Network()
    x = net.op("Relu", net.conv("x", 3, 16, stride=2))
    x = net.op("Relu", net.conv(x, 16, 32, stride=2))
    return net.model(net.conv(net.op("Relu", net.conv(x, 32, 32)), 32, 8, size=1))


def measured(
    path: Path, folder: Path, size: tuple[int, int], tile: int, threads: int, provider: str, repeat: int
) -> list[str]:
    """One row: all ways on one picture."""
    from onnx_opt.runtime.tiled import TiledRunner

    runner = TiledRunner(str(path), tile=tile)
    plan = runner.plan(shape_of(runner, size))
    small = shape_of(runner, (min(tile, size[0]), min(tile, size[1])))
    for name, shape in (("picture", shape_of(runner, size)), ("small", small)):
        dtype = np.dtype(runner.session.get_inputs()[0].type[7:-1].replace("float", "float32").replace("3216", "16"))
        image = np.random.default_rng(0).uniform(0, 255 if dtype.kind == "u" else 1, shape).astype(dtype)
        np.save(folder / f"{name}.npy", image)

    def command(ahead: int | None, image: str, result: str) -> Any:
        own = [sys.executable, __file__, str(path), "--tile", str(tile), "--threads", str(threads)]
        more = ["--provider", provider, "--one", str(ahead), str(folder / image), str(folder / result)]
        return lambda: run([*own, *more])

    seconds, memory = dict.fromkeys(WAYS, np.inf), dict.fromkeys((*WAYS, "base"), np.inf)
    ways = {way: command(ahead, "picture.npy", f"{way}.npy") for way, ahead in WAYS.items()}
    ways["base"] = command(None, "small.npy", "base.npy")
    for _ in range(repeat):
        for way, once in ways.items():
            found = once()
            if not found.ok:
                raise SystemExit(f"{path.stem}, {way}: {found.reason}")
            seconds[way] = min(seconds.get(way, np.inf), float(json.loads(found.stdout)["seconds"]))
            memory[way] = min(memory[way], found.peak_own or 0)
    least = 1 << 20  # what differs by less is noise
    whole, tiles = (max(memory[way] - memory["base"], least) for way in ("whole", "ahead"))
    one, other = (np.load(folder / f"{way}.npy", mmap_mode="r") for way in ("whole", "ahead"))
    equal = "to the bit" if np.array_equal(one, other) else f"{np.abs(one - other).max() / np.abs(one).max():.1e}"
    again = np.prod([sum(pixels for _, pixels in track.tiles) for track in plan.tracks]) / np.prod(size)
    return [
        path.stem, "x".join(map(str, size)), str(tile), str(len(plan)),
        "x".join(str(track.overlap) for track in plan.tracks), f"{again:.2f}", equal,
        f"{whole / tiles:.1f}", f"{seconds['whole'] / seconds['ahead']:.2f}",
        f"{seconds['one by one'] / seconds['ahead']:.2f}",
    ]  # fmt: skip


def shape_of(runner: Any, size: tuple[int, int]) -> tuple[int, ...]:
    """The shape of a picture of that size as the model takes it."""
    dims = [dim if isinstance(dim, int) else 1 for dim in runner.session.get_inputs()[0].shape]
    for axis, pixels in zip(runner.picture.axes, size, strict=True):
        dims[axis] = pixels
    return tuple(dims)


def one_way(path: Path, one: tuple[str, str, str], tile: int, threads: int, provider: str) -> dict[str, float]:
    """Run the picture whole (no tiles ahead: 'None'), or in tiles; seconds without loading."""
    from time import perf_counter

    from onnx_opt.runtime.settings import read_settings
    from onnx_opt.runtime.tiled import TiledRunner

    ahead, image, result = one
    picture = np.load(image, mmap_mode="r")
    size = max(picture.shape) if ahead == "None" else tile
    settings = read_settings(provider)
    runner = TiledRunner(
        str(path), tile=size, threads=threads, ahead=int(ahead) if ahead != "None" else 0, settings=settings
    )
    runner.plan(picture.shape)

    def make(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        return np.lib.format.open_memmap(result, "w+", dtype, shape)

    with open(image, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begin = perf_counter()
    runner.run(picture, make)
    return {"seconds": perf_counter() - begin}


if __name__ == "__main__":
    main()
