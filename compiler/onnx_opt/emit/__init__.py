"""What becomes of an optimized model where it is to be more than an ONNX file: an engine, a graph for one runtime.

An emitter is chosen by the target, the name of the output and the flags; without one the model is saved as ONNX.

    emitter.check(graph)                                 before any work is done
    figures = emitter.emit(result, output, tell)         once the result is proven

The command line finds emitters in `onnx_opt.cli.emission`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from onnx_opt.api import Result
    from onnx_opt.ir import Graph

Tell = Callable[[str, int, int], object]
"""Called with what is being done, units done, and their total or 0."""


class Emitter(Protocol):
    """Turns a result into a file."""

    def check(self, graph: Graph | None = None) -> None:
        """Raise TargetError or UsageError for what cannot work: a missing module, options that contradict each other or
        the model. No heavy import here: it runs before any work is done.

        `graph` is the model with the sizes that were asked for; None where passes will change its interface.
        """

    def emit(self, result: Result, output: Path, tell: Tell) -> dict[str, Any]:
        """Write `output`, whole or not at all; returns figures for the report, plain data by name.

        `kind` says what was written; names that end with `_bytes` are shown as sizes. Raises TargetError where the
        target rejects the model.
        """
        ...
