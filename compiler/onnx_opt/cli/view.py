"""``onnx-opt view MODEL [OTHER]``: models in the browser, drawn by Netron from a server on this machine."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from onnx_opt.cli.group import examples
from onnx_opt.errors import UsageError

HELP = """Look at models in the browser.

Netron draws them; its server runs on this machine and no one else can reach it. Ctrl-C ends it."""
EXAMPLES = """
onnx-opt view model.onnx
onnx-opt view model.onnx model.opt.onnx      before and after, in two tabs
"""


def build() -> click.Command:
    params: list[click.Parameter] = [
        click.Argument(["models"], metavar="MODEL [OTHER]", type=click.Path(), nargs=-1, required=True),
        click.Option(["--port"], type=click.IntRange(1, 65534), help="Of the first model; the next has the next one."),
        click.Option(["--no-browser"], is_flag=True, help="Print the addresses and open nothing."),
        click.Option(["--traceback"], is_flag=True, expose_value=False, help="Show where in the code an error arose."),
    ]
    return click.Command("view", params=params, callback=run, help=HELP, epilog=examples(EXAMPLES))


def run(models: tuple[str, ...], port: int | None, no_browser: bool) -> int:
    """Serve the models until Ctrl-C."""
    for model in models:
        if not Path(model).is_file():
            raise UsageError("no such file", path=model)
    netron = _netron()
    for number, model in enumerate(models):
        address = ("localhost", port + number if port is not None else 0)
        with redirect_stdout(io.StringIO()):  # it says the same in its own words
            host, taken = netron.start(model, address=address, browse=not no_browser)
        click.echo(f"{model}: http://{host}:{taken}")
    try:
        netron.wait()
    except KeyboardInterrupt:
        netron.stop()
    return 0


def _netron() -> Any:
    try:
        import netron
    except ImportError:
        raise UsageError("viewing needs Netron", remedy="pip install 'onnx-opt[view]'") from None
    return netron
