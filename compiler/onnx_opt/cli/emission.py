"""Outputs other than a plain ONNX file: their flags, and which of them the flags ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from onnx_opt.cli import engine, ort
from onnx_opt.emit import Emitter

FlagMaker = Callable[..., click.Option]
"""Makes a flag of the command: called with its declarations and settings, as click.Option is."""


@dataclass(frozen=True)
class Kind:
    """One kind of output. `section` heads its flags in the help; `read` makes the emitter that the flags ask for, or
    None where another kind of output is meant, and raises for flags that then have no effect."""

    section: str
    flags: Callable[[FlagMaker], list[click.Option]]
    read: Callable[[Mapping[str, Any], Path | None], Emitter | None]


KINDS: Sequence[Kind] = (
    Kind(engine.SECTION, engine.flags, engine.read),
    Kind(ort.SECTION, ort.flags, ort.read),
)


def emitter_for(given: Mapping[str, Any], output: Path | None) -> Emitter | None:
    """What makes the output; None for a plain ONNX file."""
    found = [emitter for kind in KINDS if (emitter := kind.read(given, output)) is not None]
    return found[0] if found else None
