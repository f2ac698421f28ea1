"""The command ``onnx-opt``.

    onnx-opt MODEL -o OUT [flags]       optimize
    onnx-opt inspect MODEL              what a model holds
    onnx-opt diff A B                   how two models differ, in structure and in numbers
    onnx-opt check MODEL                what a target rejects of a model
    onnx-opt run MODEL                  run it in ONNX Runtime
    onnx-opt bench MODEL [OTHER]        how long it takes
    onnx-opt passes                     the installed passes
    onnx-opt view MODEL [OTHER]         models in the browser
    onnx-opt completion SHELL           flags and commands completed by bash, zsh or fish
    onnx-opt verify-rules [NAME...]     rewrite rules on random models

Exit codes: 0 done and proven (or said to be unproven), 1 failed, 2 bad usage or input, 3 rejected by the target,
128 + N ended by signal N (130: Ctrl-C).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from onnx_opt.diagnostics import TRACEBACK_VARIABLE, exit_code, one_line
from onnx_opt.errors import single_line

STOPPED = 128
"""What a shell adds to the number of the signal that ended a command."""


class Stopped(BaseException):
    """A signal asks the process to end; what it was doing is undone on the way out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Whatever goes wrong is one line on stderr."""
    from onnx_opt.cli.group import command

    given = list(sys.argv[1:] if arguments is None else arguments)
    if any("\0" in argument for argument in given):
        complain("an argument holds a zero byte, which no file name has")
        return 2
    try:
        with _stopped_by_signals():
            result = command.main(given, prog_name="onnx-opt", standalone_mode=False, obj=given)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return STOPPED + signal.SIGINT
    except Stopped as stop:
        return STOPPED + int(stop.args[0])
    except click.ClickException as error:
        complain(error.format_message())
        return 2
    except BrokenPipeError:
        # The reader of our output went away: nobody is left to be told, not even by Python at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if "--traceback" in given or os.environ.get(TRACEBACK_VARIABLE):
            import traceback

            traceback.print_exc()
        complain(one_line(error))
        return exit_code(error)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """The signals of build systems and closed terminals end the command as Ctrl-C does."""
    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, _: object) -> None:
    raise Stopped(number)


def complain(message: str, kind: str = "error") -> None:
    """One line on stderr."""
    click.echo(f"onnx-opt: {kind}: {single_line(message)}", err=True)
