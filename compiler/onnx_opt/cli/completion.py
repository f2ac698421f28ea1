"""``onnx-opt completion SHELL``: the script that lets a shell complete commands, flags, values and files."""

from __future__ import annotations

import click

from onnx_opt.cli.group import examples

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_ONNX_OPT_COMPLETE"
"""Set by the script when it asks for completions."""
HELP = "Print the script that lets a shell complete commands, flags and files."
EXAMPLES = """
eval "$(onnx-opt completion bash)"                                  in ~/.bashrc
eval "$(onnx-opt completion zsh)"                                   in ~/.zshrc
onnx-opt completion fish > ~/.config/fish/completions/onnx-opt.fish
"""


def build() -> click.Command:
    params: list[click.Parameter] = [click.Argument(["shell"], type=click.Choice(SHELLS))]
    return click.Command("completion", params=params, callback=run, help=HELP, epilog=examples(EXAMPLES))


def run(shell: str) -> None:
    from click.shell_completion import get_completion_class

    from onnx_opt.cli.group import command

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(command, {}, "onnx-opt", VARIABLE).source())
