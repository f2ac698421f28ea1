"""Which of the commands the arguments are for: the first is a command's name, or the arguments are for `optimize`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import click

DEFAULT = "optimize"
COMMANDS = {
    "optimize": "Optimize a model (the default).",
    "inspect": "Show what a model holds.",
    "diff": "Show how two models differ.",
    "check": "List what a target rejects of a model.",
    "run": "Run a model and show its outputs.",
    "bench": "Measure how long a model takes, or two.",
    "passes": "List the installed passes.",
    "verify-rules": "Try rewrite rules on random models.",
}


class Commands(click.Group):
    """Commands that are imported when they are called, so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        build: Callable[[], click.Command] = import_module(f"onnx_opt.cli.{cmd_name.replace('-', '_')}").build
        return build()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            args = ["--help"]
        return super().parse_args(ctx, args if args[0] in COMMANDS else [DEFAULT, *args])


def version() -> str:
    """The installed version."""
    from importlib import metadata

    return metadata.version("onnx-opt")


command = Commands("onnx-opt", add_help_option=False)
