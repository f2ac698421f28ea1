"""``onnx-opt passes``: the installed passes with their options."""

from __future__ import annotations

import json
from typing import Any

import click

from onnx_opt.passes import Pass, registry
from onnx_opt.pipeline import PRESETS, Pipeline, compose


def build() -> click.Command:
    options = [click.Option(["--json", "as_json"], is_flag=True, help="Write JSON.")]
    return click.Command(
        "passes", params=list(options), callback=run, help="List the installed passes and the presets."
    )


def run(as_json: bool = False) -> None:
    click.echo(json.dumps(describe(), indent=2) if as_json else "\n".join(lines()))


def describe() -> dict[str, Any]:
    """The passes and presets as plain data."""
    return {
        "passes": [_describe(pass_) for pass_ in registry().passes.values()],
        "presets": {f"-O{level}": str(compose(level)) for level in PRESETS},
        "problems": dict(registry().problems),
    }


def lines() -> list[str]:
    """The same for reading."""
    out = []
    for pass_ in registry().passes.values():
        out.append(f"{pass_.name}: {pass_.summary()}")
        for option in pass_.declared_options():
            flag = f"{option.flag} {option.metavar}".strip()
            out.append(f"    {option.name}  ({flag}) {option.help}")
    out.append("")
    out.extend(f"-O{level}: {_preset(level) or 'nothing'}" for level in PRESETS)
    return out + [f"unusable: {problem}" for problem in registry().problems.values()]


def _preset(level: int) -> str:
    return str(Pipeline.preset(level))


def _describe(pass_: type[Pass]) -> dict[str, Any]:
    options = [
        {"name": o.name, "flag": o.flag, "default": str(o.default), "help": o.help} for o in pass_.declared_options()
    ]
    return {
        "name": pass_.name,
        "summary": pass_.summary(),
        "stage": pass_.stage,
        "exact": pass_.exact,
        "options": options,
    }
