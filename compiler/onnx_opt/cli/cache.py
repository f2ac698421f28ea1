"""``onnx-opt cache stats|clear``: the results that are kept."""

from __future__ import annotations

import json

import click

from onnx_opt.builds.cache import PLACE_VARIABLE, SIZE_VARIABLE, Cache
from onnx_opt.report import human_bytes

HELP = f"""Show or clear the results that are kept.

`onnx-opt build` and `onnx-opt batch` keep them, and so does the plain command with --cache. {PLACE_VARIABLE} names
another folder, {SIZE_VARIABLE} another bound than 10GiB; beyond it, what was not used for longest goes first."""


def build() -> click.Command:
    as_json = click.Option(["--json", "as_json"], is_flag=True, help="Write JSON.")
    stats = click.Command("stats", params=[as_json], callback=show, help="Show where they are, how many, how large.")
    clear = click.Command("clear", callback=remove, help="Remove all of them.")
    return click.Group("cache", commands={"stats": stats, "clear": clear}, help=HELP)


def show(as_json: bool = False) -> None:
    found = Cache().stats()
    if as_json:
        click.echo(json.dumps({**found._asdict(), "folder": str(found.folder)}, indent=2))
        return
    click.echo(f"{found.folder}: {found.entries} results, {human_bytes(found.size)} of {human_bytes(found.limit)}")


def remove() -> None:
    found = Cache().clear()
    click.echo(f"{found.folder}: removed {found.entries} results, {human_bytes(found.size)}")
