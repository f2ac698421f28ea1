"""Running a model in ONNX Runtime, in the worker process: a model that crashes it is a model that does not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from onnx_opt import worker
from onnx_opt.errors import MissingRuntimeError
from onnx_opt.runtime.settings import AS_WRITTEN, Settings
from onnx_opt.validate.signature import Signature
from onnx_opt.validate.source import Source

# What a model takes and gives: numpy arrays (ml_dtypes for what numpy lacks, object for strings), lists of arrays for
# sequences, dicts or lists of dicts for maps, None for an optional that is empty.
Value = Any
Feed = Mapping[str, Value]

_ENGINE = "onnx_opt.validate.engine:Engine"
_GRACE = 10.0  # seconds after its limit in which a run may still end by itself


@dataclass(frozen=True)
class Runtime:
    """How to run. `threads` 0 leaves the number to ONNX Runtime; `custom_ops` are libraries of custom operators;
    a run that takes longer than `limit` seconds counts as refused, since random inputs can make a loop endless; an
    infinite limit needs no thread that watches. Without `reuse`, ONNX Runtime gives memory back instead of planning
    which value takes whose place: for models of many nodes, since it plans in quadratic time. `settings` say what runs
    it, and how far ONNX Runtime may change it before: by default not at all."""

    threads: int = 0
    custom_ops: tuple[Path, ...] = ()
    limit: float = 300.0
    reuse: bool = True
    settings: Settings = AS_WRITTEN


class CannotLoad(Exception):
    """ONNX Runtime does not take the model. `operator` is the (domain, op type) that it lacks, where that is why;
    `limit` the highest version that it knows of a domain, or of 'ir', where the model's version is why."""

    def __init__(
        self, reason: str, operator: tuple[str, str] | None = None, limit: tuple[str, int] | None = None
    ) -> None:
        super().__init__(reason)
        self.operator = operator
        self.limit = limit

    @property
    def is_lack(self) -> bool:
        """Whether the model may be fine, and ONNX Runtime is what is too small for it."""
        return self.operator is not None or self.limit is not None


class Rejected(Exception):
    """The model does not run on a feed."""


class Unreadable(Exception):
    """An output's type cannot be brought to Python, so it cannot be compared."""


class Session:
    """A loaded model: `signature`, `run(feed)`; a context manager that frees the weights at its end.

    Where ONNX Runtime crashes on a feed, that feed is rejected, and the model is loaded again for the next one.
    """

    def __init__(self, source: Source, runtime: Runtime | None = None) -> None:
        """Raises `CannotLoad`; TargetError where the provider does not start, UsageError for options that it lacks."""
        self._source, self._runtime = source.absolute(), runtime or Runtime()
        self._seconds = 0.0
        self._load()
        self.signature: Signature = self._place.get(self._handle, "signature")

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """Seconds of work in all runs so far, also those that were rejected."""
        return self._seconds

    def close(self) -> None:
        """Frees the weights."""
        self._place.drop(self._handle)

    def run(self, feed: Feed) -> list[Value]:
        """The outputs for `feed`. Raises `Rejected` when the model refuses it, `Unreadable` for an output whose type
        has no way to Python."""
        if not self._place.alive:
            self._reload()
        try:
            outputs: list[Value] = self._place.call(self._handle, "run", dict(feed), limit=self._runtime.limit + _GRACE)
        except worker.Crashed as crash:
            raise Rejected(f"ONNX Runtime {crash}") from crash
        finally:
            if self._place.alive:
                self._seconds += self._place.get(self._handle, "seconds")
        return outputs

    def _load(self) -> None:
        self._place = worker.shared()
        try:
            self._handle = self._place.make(_ENGINE, self._source, self._runtime)
        except worker.Crashed as crash:
            raise CannotLoad(f"ONNX Runtime {crash} when it loaded the model") from crash

    def _reload(self) -> None:
        try:
            self._load()
        except CannotLoad as error:
            raise Rejected(str(error)) from error


def require_runtime() -> None:
    """Raises `MissingRuntimeError`, which says how to get ONNX Runtime, where it is not installed."""
    if find_spec("onnxruntime") is None:
        raise MissingRuntimeError


def operator_name(domain: str, op: str) -> str:
    """An operator as users write it: 'Relu', 'com.microsoft::FusedConv'."""
    return f"{domain}::{op}" if domain else op
