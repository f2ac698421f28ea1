"""One output of a build: what it is made from, and the words of the command that makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from onnx_opt.builds.request import Request
from onnx_opt.pipeline import Pipeline

PipelineFor = Callable[[click.Context, dict[str, Any]], Pipeline]


@dataclass(frozen=True)
class Compiler:
    """The command that makes one output: its parameters, and how its pipeline is read."""

    command: click.Command
    pipeline_for: PipelineFor
    check_values: Callable[[dict[str, Any]], None]

    def request(self, model: str, output: Path, words: Sequence[str]) -> tuple[Request, dict[str, Any]]:
        """What the words ask for, and the values of all flags. Raises UsageError and click.UsageError."""
        ctx = self.command.make_context("optimize", [*words, "--", model])
        given = {name: value for name, value in ctx.params.items() if name != "model"}
        self.check_values(given)
        own = [param for param in self.command.params if getattr(param, "section", "Passes") != "Passes"]
        return Request.of(model, output, self.pipeline_for(ctx, given), given, own), given


@dataclass(frozen=True)
class Step:
    """`words` are the flags; `sides` the files that it writes beside the output."""

    name: str
    model: str
    output: Path
    words: tuple[str, ...]
    compiler: Compiler

    @cached_property
    def _read(self) -> tuple[Request, dict[str, Any]]:
        return self.compiler.request(self.model, self.output, self.words)

    @property
    def request(self) -> Request:
        return self._read[0]

    @property
    def given(self) -> dict[str, Any]:
        """The values of all flags."""
        return self._read[1]

    @property
    def timeout(self) -> float | None:
        seconds: float | None = self.given["timeout"]
        return seconds

    @property
    def sides(self) -> list[Path]:
        """Reports that it writes to files."""
        given = self.given
        return [
            Path(given[param.name])
            for param in self.compiler.command.params
            if getattr(param, "section", "") == "Output" and isinstance(param.type, click.Path)
            if param.name not in (None, "output", "depfile") and given.get(param.name or "")
        ]

    def arguments(self, *more: str) -> list[str]:
        """The words of the command line."""
        return [*self.words, "-o", str(self.output), *more, "--", self.model]
