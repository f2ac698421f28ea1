"""The errors that a user can meet: each is one line that names the file, the node and the remedy, and an exit code."""

from __future__ import annotations

from os import PathLike, fspath
from typing import ClassVar

__all__ = [
    "LimitError",
    "MissingRuntimeError",
    "ModelError",
    "OnnxOptError",
    "PassError",
    "TargetError",
    "UsageError",
    "ValidationError",
]

LONGEST_LINE = 1000
"""Characters of a message: names in a model may be of any length."""


def single_line(text: str) -> str:
    """`text` as one line of bounded length for a terminal."""
    line = printable(" ".join(text.split()))
    if len(line) <= LONGEST_LINE:
        return line
    return f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"


def printable(line: str) -> str:
    """`line` with its control characters spelled out: what a model holds is not to steer the user's terminal."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class OnnxOptError(Exception):
    """Base of every error that this project raises on purpose.

    ``message`` says what is wrong; ``path`` the file, ``node`` the node where it was found, and ``remedy`` what the
    user can do about it.  ``str(error)`` is one line, whatever the parts contain.
    """

    exit_code: ClassVar[int] = 2

    def __init__(
        self,
        message: str,
        *,
        path: str | PathLike[str] | None = None,
        node: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else fspath(path)
        self.node = node
        self.remedy = remedy

    def locate(self, path: str | PathLike[str] | None) -> None:
        """Say which file it is about, unless that is said already."""
        if self.path is None and path is not None and not self.message.startswith(fspath(path)):
            self.path = fspath(path)

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        where += f"node '{self.node}': " if self.node else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return single_line(f"{where}{self.message}{remedy}")


class UsageError(OnnxOptError):
    """The request itself is wrong: an unknown name, a bad value, options that contradict each other."""


class ModelError(OnnxOptError):
    """The model cannot be read, or is not valid ONNX."""


class MissingRuntimeError(UsageError):
    """ONNX Runtime is needed and not installed."""

    def __init__(self, what: str = "validation needs ONNX Runtime") -> None:
        super().__init__(what, remedy="pip install 'onnx-opt[gpu]' or 'onnx-opt[cpu]', or pass --no-validate")


class ValidationError(OnnxOptError):
    """The optimized model does not do what the original does."""

    exit_code = 1


class PassError(OnnxOptError):
    """A pass failed while it ran; the graph is as it was before that pass."""

    exit_code = 1


class LimitError(OnnxOptError):
    """More time or memory is needed than the user allows."""

    exit_code = 1


class TargetError(OnnxOptError):
    """The target does not run this model."""

    exit_code = 3
