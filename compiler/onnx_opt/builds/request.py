"""What one run of the command is asked to do, sorted by what it means for a result that is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from onnx_opt.pipeline import Pipeline

NEUTRAL = frozenset({
    "output", "jobs", "timeout", "max_memory", "as_json", "report_json", "quiet", "time_passes",
    "cache", "depfile", "check", "level", "passes",
})  # fmt: skip
"""Flags that change nothing of a result and its report; those of the pipeline are in its text."""
KEPT_OUTPUT = frozenset({"metadata"})
"""Flags of the help's section on output that are part of the result."""
NEEDS_RUN = frozenset({"reproducer", "timing_cache"})
"""Flags of other sections that ask for more than the result and its report."""


@dataclass(frozen=True)
class Request:
    """`flags` are the values that can change the result, by the names they have in Python; `paths` those of them that
    name files or folders; `extras` are given flags that ask for what only a run can show."""

    model: Path
    output: Path | None
    pipeline: Pipeline
    flags: Mapping[str, Any]
    paths: frozenset[str] = frozenset()
    extras: tuple[str, ...] = ()
    pass_files: tuple[str, ...] = field(default=())
    """Options of passes that may name files."""

    @staticmethod
    def of(
        model: str, output: Path | None, pipeline: Pipeline, given: Mapping[str, Any], own: Sequence[click.Parameter]
    ) -> Request:
        """`own` are the parameters of the command that belong to no pass; `given` are the values of all."""
        flags, paths, extras = {}, set(), []
        for param in own:
            name = param.name or ""
            if name not in given or name in NEUTRAL:
                continue
            is_extra = getattr(param, "section", "") == "Output" and name not in KEPT_OUTPUT
            if is_extra or name in NEEDS_RUN:
                if given[name]:
                    extras.append(param.opts[-1])
                continue
            flags[name] = given[name]
            if isinstance(param.type, click.Path):
                paths.add(name)
        return Request(
            Path(model), output, pipeline, flags, frozenset(paths), tuple(extras), tuple(_texts_of(pipeline))
        )

    def named_paths(self) -> Iterator[str]:
        """The values of flags that name files or folders."""
        for name in sorted(self.paths):
            value = self.flags[name]
            yield from ([value] if isinstance(value, str) else value or ())


def _texts_of(pipeline: Pipeline) -> Iterator[str]:
    """Names and options of passes as far as they are text: any of them may name a file."""
    from onnx_opt.userfiles import spelling_of

    for pass_ in pipeline.passes():
        yield spelling_of(pass_)
        for option in pass_.declared_options():
            value = getattr(pass_, option.field)
            yield from (each for each in (value if isinstance(value, tuple) else (value,)) if isinstance(each, str))
