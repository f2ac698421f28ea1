"""``onnx-opt tile MODEL --image IN.npy -o OUT.npy``: a picture larger than memory, tile by tile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import runtime_flags
from onnx_opt.errors import UsageError, printable

if TYPE_CHECKING:
    import numpy as np

HELP = """Run a model on a picture in tiles, and put its outputs together.

The picture is an array in the model's layout and type; it and the outputs stay on disk. Tiles overlap as far as the
model looks around, so that the result is that of the whole picture. A model in which every element depends on the whole
picture needs --overlap: neighbours are blended over so many pixels."""


def build() -> click.Command:
    path = click.Path()
    options: list[click.Parameter] = [
        click.Argument(["model"], type=path),
        click.Option(["--image"], type=path, required=True, metavar="FILE", help="The picture: .npy."),
        click.Option(["-o", "--output"], type=path, required=True, metavar="OUT", help=".npy; a folder for several."),
        click.Option(["--tile"], metavar="N|HxW", default="512", help="The largest tile.  [512]"),
        click.Option(["--overlap"], type=click.IntRange(min=0), metavar="N", help="Blend over so many pixels."),
        click.Option(["--input"], metavar="NAME", help="The input that is the picture."),
        click.Option(["--layout"], type=click.Choice(["auto", "nchw", "nhwc"]), default="auto", help="Of that input."),
        *runtime_flags.provider_flags(),
        runtime_flags.level_flag(),
        click.Option(["--threads"], type=click.IntRange(min=0), default=0, help="Threads.  [one a core]"),
        click.Option(["--quiet", "-q"], is_flag=True, help="Write warnings and errors only."),
        click.Option(["--traceback"], is_flag=True, expose_value=False, help="Show where in the code an error arose."),
    ]
    return click.Command("tile", params=options, callback=run, help=HELP)


def run(model: str, image: str, output: str, tile: str, quiet: bool, **given: Any) -> int:
    """Run it; the exit code."""
    settings, size, target = runtime_flags.settings_of(given), _size(tile), Path(output)
    if not target.absolute().parent.is_dir():
        raise UsageError(f"there is no folder '{target.parent}'", path=output, remedy="make it first")
    picture = _open(image)
    from onnx_opt.cli.progress import Progress
    from onnx_opt.runtime.tiled import TiledRunner

    runner = TiledRunner(
        model,
        tile=size,
        overlap=given["overlap"],
        input=given["input"],
        layout=given["layout"],
        settings=settings,
        threads=given["threads"],
    )
    plan = runner.plan(picture.shape)
    with Progress(enabled=not quiet and sys.stderr.isatty()) as shown:
        written = _write(runner, picture, target, shown)
    if not quiet:
        down, across = plan.tracks
        text = f"{len(down.tiles)} x {len(across.tiles)} tiles, overlaps of {down.overlap} and {across.overlap} pixels"
        result = "as the whole picture" if plan.exact else "blended"
        result += f", up to the rounding of positions in {plan.rounds}" if plan.rounds else ""
        click.echo(printable(f"{text}: {result}"))
        for path in written:
            click.echo(printable(f"written: {path}"))
    return 0


def _write(runner: Any, picture: np.ndarray, target: Path, shown: Any) -> list[Path]:
    """Run the tiles; the files of the outputs, which appear when all of them are whole."""
    import numpy as np

    from onnx_opt.files import ScratchFolder, put_in_place

    single = len(runner.session.get_outputs()) == 1
    if single and target.is_dir():
        raise UsageError("it is a folder", path=target, remedy="give the name of a file")
    if not single:
        target.mkdir(exist_ok=True)
    scratch = ScratchFolder(target.absolute().parent if single else target)
    made: list[tuple[Path, Path, np.ndarray]] = []

    def make(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        file = scratch.path / f"{len(made)}.npy"
        array = np.lib.format.open_memmap(file, "w+", dtype, shape)
        made.append((file, target if single else target / f"{name.replace('/', '_')}.npy", array))
        return array

    runner.run(picture, make, progress=lambda done, total: shown.tell("tiles", done, total))
    for file, path, array in made:
        array.flush()  # type: ignore[attr-defined]
        put_in_place(file, path)
    return [path for _, path, _ in made]


def _open(image: str) -> np.ndarray:
    import numpy as np

    try:
        array: np.ndarray = np.load(image, mmap_mode="r", allow_pickle=False)
        return array
    except FileNotFoundError:
        raise UsageError("no such file", path=image) from None
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(f"it is no array of numbers: {error}", path=image, remedy="numpy.save writes one") from error


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise UsageError(f"--tile {text}: no size", remedy="write 512 or 512x768")
    return int(parts[0]), int(parts[-1])
