"""``onnx-opt run MODEL``: run a model in ONNX Runtime and tell what comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import runtime_flags
from onnx_opt.errors import UsageError, printable

if TYPE_CHECKING:
    from onnx_opt.runtime.execute import Sample

HELP = """Run a model in ONNX Runtime and show its outputs.

On your inputs (--data), or on seeded random ones that the model takes. Exit code 3: the provider is not there, or lacks
an operator."""
COLUMNS = ("output", "type", "shape", "min", "mean", "max", "NaN", "infinite")


def build() -> click.Command:
    path = click.Path()
    options: list[click.Parameter] = [
        click.Argument(["model"], type=path),
        click.Option(["-o", "--output"], type=path, metavar="OUT", help="Write outputs: .npz, or a folder of these."),
        *runtime_flags.input_flags(),
        *runtime_flags.provider_flags(),
        runtime_flags.level_flag(),
        click.Option(["--threads"], type=click.IntRange(min=0), default=0, help="Threads.  [one a core]"),
        click.Option(["--json", "as_json"], is_flag=True, help="Write JSON."),
        click.Option(["--traceback"], is_flag=True, expose_value=False, help="Show where in the code an error arose."),
    ]
    return click.Command("run", params=options, callback=run, help=HELP)


def run(model: str, output: str | None, threads: int, as_json: bool, **given: Any) -> int:
    """Run it; the exit code."""
    settings = runtime_flags.settings_of(given)
    target = _target(output)
    from onnx_opt.runtime.execute import execute, figures

    runtime = runtime_flags.runtime_of(given, settings, threads)
    asked = runtime_flags.read_model(model, given)
    samples = execute(asked.source, runtime, given["data"], asked.dims, asked.shapes, given["seed"])
    if target is not None:
        write(samples, target)
    found = [
        {
            "inputs": {name: figures(value) for name, value in sample.fed().items()},
            "outputs": {name: figures(value) for name, value in sample.arrays().items()},
            "chosen_dims": dict(sample.sizes),
        }
        for sample in samples
    ]
    report = {"model": model, "provider": settings.provider, "output": output, "samples": found}
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(map(printable, _heading(model, found))))
    if not as_json:
        _print(found)
    return 0


def _target(output: str | None) -> Path | None:
    if output is None:
        return None
    path = Path(output)
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder '{path.parent}'", path=path, remedy="make it first")
    if path.suffix == ".npz" and path.is_dir():
        raise UsageError("it is a folder", path=path, remedy="give the name of a file")
    if path.suffix != ".npz" and path.exists() and not path.is_dir():
        raise UsageError("it is a file", path=path, remedy="give OUT.npz, or a folder for a file of each sample")
    return path


def write(samples: Sequence[Sample], path: Path) -> None:
    """Outputs as --data takes them: one .npz, several samples stacked in it, or a folder with one for each."""
    arrays = [sample.arrays() for sample in samples]
    if path.suffix != ".npz":
        path.mkdir(exist_ok=True)
        for count, each in enumerate(arrays):
            _save(path / f"sample_{count}.npz", each)
    elif len(arrays) == 1:
        _save(path, arrays[0])
    else:
        _save(path, _stacked(arrays, path))


def _stacked(arrays: Sequence[dict[str, Any]], path: Path) -> dict[str, Any]:
    import numpy as np

    shapes = [{name: array.shape for name, array in each.items()} for each in arrays]
    if any(each != shapes[0] for each in shapes):
        remedy = "give a folder: each sample is a file there"
        raise UsageError(
            "the outputs of the samples differ in shape, one file cannot stack them", path=path, remedy=remedy
        )
    return {name: np.stack([each[name] for each in arrays]) for name in arrays[0]}


def _save(path: Path, arrays: dict[str, Any]) -> None:
    import numpy as np

    from onnx_opt.files import atomic_file

    plain = {name: array.astype(str) if array.dtype.kind == "O" else array for name, array in arrays.items()}
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, **plain)


def _heading(model: str, found: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield f"{model}: {len(found)} sample{'s' if len(found) > 1 else ''}"
    for name, value in found[0]["inputs"].items():
        yield f"  input {name}: {value['type']}[{','.join(map(str, value['shape']))}]"
    if chosen := found[0]["chosen_dims"]:
        sizes = ", ".join(f"{name}={size}" for name, size in chosen.items())
        yield f"  sizes chosen: {sizes} (--dim gives others)"


def _print(found: Sequence[dict[str, Any]]) -> None:
    from rich.text import Text

    from onnx_opt.cli.show import new_table, wide_console

    console = wide_console()
    for count, sample in enumerate(found):
        table = new_table(f"sample {count}" if len(found) > 1 else "", *COLUMNS)
        for name, value in sample["outputs"].items():
            numbers = [_shown(value.get(key)) for key in ("min", "mean", "max", "nan", "inf")]
            shape = "x".join(map(str, value["shape"])) or "scalar"
            table.add_row(Text(printable(name)), value["type"], shape, *numbers)
        console.print(table)


def _shown(value: float | int | bool | None) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
