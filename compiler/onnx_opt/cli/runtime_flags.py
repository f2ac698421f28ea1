"""The flags that say how ONNX Runtime is to run a model, for every command that runs one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import complain, params
from onnx_opt.runtime.settings import ALL, LEVELS, Settings, doubts, read_settings

if TYPE_CHECKING:
    from onnx_opt.validate.run import Runtime


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


def complete_shapes(given: Mapping[str, Any]) -> dict[str, list[int]]:
    """The shapes that the flags give; each must say every size."""
    from onnx_opt.errors import UsageError

    found: dict[str, list[int]] = {}
    for name, sizes in params.read_shapes(given["shapes"]).items():
        if None in sizes:
            raise UsageError(f"--shape {name}: a size is missing", remedy="give --dim for single dims")
        found[name] = [size for size in sizes if size is not None]
    return found
