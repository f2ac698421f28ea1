"""The flags of `optimize` that concern ONNX Runtime: what runs the proof, and a graph that it optimizes itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import runtime_flags
from onnx_opt.errors import UsageError
from onnx_opt.runtime.settings import CPU, DISABLED, Settings, read_settings
from onnx_opt.target import find_target

if TYPE_CHECKING:
    from onnx_opt.emit import Emitter

SECTION = "ONNX Runtime"
_LEVELS = ("basic", "extended", "all")


def flags(flag: Callable[..., click.Option]) -> list[click.Option]:
    level = f"Write the graph that ONNX Runtime makes of the result: {', '.join(_LEVELS)}."
    provider = "What runs the models of the proof.  [cpu; with --ort-level that of the target]"
    return [
        flag(["--ort-level"], type=click.Choice(_LEVELS), metavar="LEVEL", help=level),
        flag(["--provider"], metavar="NAME", help=provider),
        flag(["--provider-option", "provider_options"], multiple=True, metavar="KEY=VALUE", help="Passed to it."),
        flag(["--session-option", "session_options"], multiple=True, metavar="KEY=VALUE", help="Passed to sessions."),
    ]


def session_of(given: Mapping[str, Any]) -> Settings | None:
    """How the proof opens sessions; None where no flag says anything of it. Warns of what may be misspelt; raises
    UsageError and TargetError."""
    settings = _settings(given)
    if settings is not None:
        runtime_flags.warn(settings)
    return settings


def _settings(given: Mapping[str, Any]) -> Settings | None:
    provider, of_provider, of_session = given["provider"], given["provider_options"], given["session_options"]
    if given["ort_level"] is None and not (provider or of_provider or of_session):
        return None
    own = find_target(given["target"]).provider if given["ort_level"] is not None else CPU
    return read_settings(provider or own or CPU, of_provider, of_session, DISABLED)


def read(given: Mapping[str, Any], output: Path | None) -> Emitter | None:
    """The emitter for --ort-level."""
    if given["ort_level"] is None:
        return None
    if output is None:
        raise UsageError("--ort-level needs an output", remedy="add -o OUT")
    from dataclasses import replace

    from onnx_opt.emit.offline import OfflineGraph

    settings = _settings(given)
    assert settings is not None
    libraries = tuple(map(Path, given["custom_ops"]))
    asked = replace(settings, level=given["ort_level"])
    emitter = OfflineGraph(find_target(given["target"]), asked, given["jobs"], libraries)
    emitter.check()
    return emitter
