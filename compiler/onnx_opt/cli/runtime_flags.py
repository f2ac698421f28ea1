"""The flags that say how ONNX Runtime is to run a model, for every command that runs one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import complain, params
from onnx_opt.runtime.settings import ALL, LEVELS, Settings, doubts, read_settings

if TYPE_CHECKING:
    from onnx_opt.validate.run import Runtime
    from onnx_opt.validate.source import Source


def provider_flags() -> list[click.Parameter]:
    """Which provider, and the options of provider and session."""
    return [
        click.Option(["--provider"], metavar="NAME", help="What runs it: cpu, cuda, dml, tensorrt, ...  [cpu]"),
        click.Option(
            ["--provider-option", "provider_options"], multiple=True, metavar="KEY=VALUE", help="Passed to it."
        ),
        click.Option(
            ["--session-option", "session_options"], multiple=True, metavar="KEY=VALUE", help="Passed to the session."
        ),
    ]


def level_flag() -> click.Parameter:
    """How far ONNX Runtime itself optimizes before it runs."""
    text = f"How far ONNX Runtime itself optimizes first: {', '.join(LEVELS)}.  [{ALL}]"
    return click.Option(["--ort-level", "level"], type=click.Choice(LEVELS), metavar="LEVEL", default=ALL, help=text)


def input_flags() -> list[click.Parameter]:
    """What it is run on."""
    return [
        click.Option(["--data"], type=click.Path(), help="Your inputs: .npz, a folder of .npy, or file.py:function."),
        click.Option(["--seed"], type=click.IntRange(min=0), default=0, help="Seed of random inputs.  [0]"),
        click.Option(["--dim", "dims"], multiple=True, metavar="NAME=N", help="Size of a dynamic dim."),
        click.Option(["--shape", "shapes"], multiple=True, metavar="INPUT=NxN..", help="Shape of an input."),
        click.Option(["--custom-ops"], type=click.Path(), multiple=True, help="Library of custom operators."),
    ]


def settings_of(given: Mapping[str, Any]) -> Settings:
    """What the flags say. Warns of what may be misspelt; raises UsageError, and TargetError for a provider that is not
    there."""
    settings = read_settings(given["provider"], given["provider_options"], given["session_options"], given["level"])
    warn(settings)
    return settings


def warn(settings: Settings) -> None:
    """Tell of options that ONNX Runtime may pass over."""
    for doubt in doubts(settings):
        complain(doubt, kind="warning")


def runtime_of(given: Mapping[str, Any], settings: Settings, threads: int = 0) -> Runtime:
    """How `validate` shall run a model by these flags."""
    import math

    from onnx_opt.errors import UsageError
    from onnx_opt.validate.run import Runtime

    for path in given["custom_ops"]:
        if not Path(path).is_file():
            raise UsageError("no such file", path=path)
    return Runtime(threads, tuple(map(Path, given["custom_ops"])), limit=math.inf, settings=settings)


@dataclass(frozen=True)
class Asked:
    """A model, and the sizes of its inputs that the flags ask for."""

    source: Source
    dims: Mapping[str, Any]
    shapes: Mapping[str, list[int]]


def read_model(path: str, given: Mapping[str, Any] | None = None) -> Asked:
    """The model at `path`, checked as any that is to be optimized: what is damaged, or refers to files that it may not
    read, never gets to ONNX Runtime. Raises ModelError, and UsageError for sizes that are not its own."""
    from onnx_opt.checks import check_model
    from onnx_opt.interface import restrict
    from onnx_opt.ir import gc_paused, load
    from onnx_opt.validate.source import Source

    shapes = params.read_shapes(given["shapes"]) if given else {}
    with gc_paused():
        graph = load(path)
        check_model(graph.model)
        dims = restrict(graph, params.read_dims(given["dims"]) if given else {}, shapes)
    complete = {name: [size for size in sizes if size is not None] for name, sizes in shapes.items()}
    complete = {name: sizes for name, sizes in complete.items() if len(sizes) == len(shapes[name])}
    return Asked(Source.of(path), dims, complete)
