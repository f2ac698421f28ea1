"""Which of the commands the arguments are for: the first is a command's name, or the arguments are for `optimize`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

DEFAULT = "optimize"
COMMANDS = {
    "optimize": "Optimize a model (the default).",
    "inspect": "Show what a model holds.",
    "diff": "Show how two models differ.",
    "check": "List what a target rejects of a model.",
    "run": "Run a model and show its outputs.",
    "tile": "Run a model on a picture larger than memory.",
    "bench": "Measure how long a model takes, or two.",
    "batch": "Optimize many models, each in a process of its own.",
    "build": "Bring the outputs of a project file up to date.",
    "integration": "Print files for Make, CMake, Meson, pre-commit and CI.",
    "cache": "Show or clear the results that are kept.",
    "passes": "List the installed passes.",
    "view": "Look at models in the browser.",
    "verify-rules": "Try rewrite rules on random models.",
    "completion": "Print the completion of a shell.",
}

TASKS = {
    "Commands to look at models": ("inspect", "diff", "check", "view"),
    "Commands to run models": ("run", "tile", "bench"),
    "Commands for build systems": ("build", "batch", "cache", "integration"),
}
"""Headings of the help; what is under none of them is under "Other commands"."""
OTHERS = "Other commands"


def by_task(left_out: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The commands under their headings, but for one."""
    heading = {name: title for title, names in TASKS.items() for name in names}
    for title in (*TASKS, OTHERS):
        named = [(n, text) for n, text in COMMANDS.items() if heading.get(n, OTHERS) == title and n != left_out]
        if named:
            yield title, named


class Commands(click.Group):
    """Commands that are imported when they are called, so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        build: Callable[[], click.Command] = import_module(f"onnx_opt.cli.{cmd_name.replace('-', '_')}").build
        return build()

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The first word: a command, or what `optimize` takes."""
        default = self.get_command(ctx, DEFAULT)
        assert default is not None
        inner = click.Context(default, ctx, DEFAULT, resilient_parsing=True)
        own = default.shell_complete(inner, incomplete)
        if not incomplete.startswith("-"):
            own += default.params[0].shell_complete(inner, incomplete)
        return [*super().shell_complete(ctx, incomplete), *own]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        if not args:
            args = ["--help"]
        return super().parse_args(ctx, args if args[0] in COMMANDS else [DEFAULT, *args])


def examples(text: str) -> str:
    """Lines of commands for the end of a help text, kept as they stand."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in text.strip().splitlines())


def version() -> str:
    """The installed version."""
    from importlib import metadata

    return metadata.version("onnx-opt")


command = Commands("onnx-opt", add_help_option=False)
