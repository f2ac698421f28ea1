"""The flags of TensorRT engines: ``--target tensorrt -o model.engine``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import params
from onnx_opt.errors import TargetError, UsageError

if TYPE_CHECKING:
    from onnx_opt.cli.emission import FlagMaker
    from onnx_opt.emit.tensorrt.engine import Engine

SECTION = "TensorRT"
SUFFIXES = (".engine", ".plan", ".trt")
TARGET = "tensorrt"
BUILDERS = ("tensorrt", "rtx")
"""As `emit.tensorrt.modules` names them: that is not imported for a help text."""

_FLAGS: Mapping[str, str] = {
    "profiles": "--profile",
    "workspace": "--workspace",
    "builder_level": "--builder-level",
    "builder": "--builder",
    "timing_cache": "--timing-cache",
    "sm": "--sm",
    "weight_streaming": "--weight-streaming",
    "refit": "--refit",
    "version_compatible": "--version-compatible",
}


def flags(flag: FlagMaker) -> list[click.Option]:
    """An engine is built where the output's name ends with .engine, .plan or .trt."""
    profile = "Sizes of dynamic inputs: 'x=1x3x8x8:8x3x8x8:32x3x8x8', smallest, best, largest.  [from --dim]"
    return [
        flag(["--profile", "profiles"], multiple=True, metavar="TEXT", help=profile),
        flag(["--workspace"], metavar="SIZE", help="Memory that a kernel may use: 1GiB."),
        flag(["--builder-level"], type=click.IntRange(0, 5), metavar="N", help="How long to look for fast kernels."),
        flag(["--builder"], type=click.Choice(BUILDERS), metavar="NAME", help="tensorrt, or rtx.  [what is installed]"),
        flag(["--timing-cache"], type=click.Path(), metavar="FILE", help="Read and write what was timed."),
        flag(["--sm"], metavar="LIST", help="Compute capabilities to run on: 86,89,120 (rtx)."),
        flag(["--weight-streaming"], is_flag=True, help="Weights may stay in host memory while it runs."),
        flag(["--refit"], is_flag=True, help="Weights may be replaced later."),
        flag(["--version-compatible"], is_flag=True, help="Later versions may load it."),
    ]


def read(given: Mapping[str, Any], output: Path | None) -> Engine | None:
    """The emitter that the flags ask for; None where the output is no engine."""
    if output is None or output.suffix not in SUFFIXES:
        for name, flag in _FLAGS.items():
            if given[name] not in (None, False, ()):
                raise UsageError(f"{flag} has no effect: no engine is built", remedy="-o NAME.engine builds one")
        return None
    if given["target"] != TARGET:
        reason = f"an engine is built for the target {TARGET}, not for {given['target']}"
        raise TargetError(reason, path=output, remedy=f"--target {TARGET}, or an output named .onnx")
    from onnx_opt.emit.tensorrt.engine import Engine
    from onnx_opt.emit.tensorrt.profiles import read_profile

    return Engine(
        profiles=[read_profile(text) for text in given["profiles"]],
        builder=given["builder"],
        level=given["builder_level"],
        workspace=params.read_size("--workspace", given["workspace"]),
        timing_cache=Path(given["timing_cache"]) if given["timing_cache"] else None,
        capabilities=read_capabilities(given["sm"]),
        weight_streaming=given["weight_streaming"],
        refit=given["refit"],
        version_compatible=given["version_compatible"],
    )


def read_capabilities(text: str | None) -> tuple[str, ...]:
    """``86,89`` or ``8.6,8.9``, each once."""
    parts = [part.strip().replace(".", "") for part in (text or "").split(",") if part.strip()]
    if wrong := next((part for part in parts if not part.isdecimal()), None):
        raise TargetError(f"--sm {text}: '{wrong}' is no compute capability", remedy="write --sm 86,89")
    return tuple(dict.fromkeys(parts))
