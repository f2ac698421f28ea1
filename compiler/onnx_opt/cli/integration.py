"""``onnx-opt integration NAME``: files for build systems, to be put into a project."""

from __future__ import annotations

from importlib import resources

import click

FILES = {
    "make": ("onnx-opt.mk", "GNU Make: rules to include."),
    "cmake": ("OnnxOpt.cmake", "CMake: a function, for Ninja and for Makefiles."),
    "meson": ("meson.build", "Meson: targets for a meson.build."),
    "pre-commit": ("pre-commit-config.yaml", "pre-commit: a hook that refuses stale outputs."),
    "ci": ("ci.yml", "GitHub Actions: a workflow on a plain runner."),
}
HELP = """Print a file for a build system: onnx-opt integration cmake > OnnxOpt.cmake

\b
""" + "\n".join(f"{name:<12}{text}" for name, (_, text) in FILES.items())


def build() -> click.Command:
    name = click.Argument(["name"], type=click.Choice(list(FILES)))
    return click.Command("integration", params=[name], callback=run, help=HELP)


def run(name: str) -> None:
    click.echo(text_of(name), nl=False)


def text_of(name: str) -> str:
    """The file for a build system."""
    return (resources.files("onnx_opt.builds") / "integration" / FILES[name][0]).read_text(encoding="utf-8")
