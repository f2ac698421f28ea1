"""Passes of an imaginary package, found the way every package's passes are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, ClassVar, Literal

import pytest

from onnx_opt import passes
from onnx_opt.passes import Pass, PassContext, Size, option


@dataclass(frozen=True)
class Fold(Pass):
    """Evaluate what is constant."""

    name: ClassVar[str] = "fold"
    stage: ClassVar[str] = "fold"
    exact: ClassVar[bool] = True
    max_growth: Size = option(Size("1MiB"), help="most growth", flag="--max-fold-growth")

    def run(self, graph: Any, context: PassContext) -> None: ...


@dataclass(frozen=True)
class Cleanup(Pass):
    """Remove what is not needed."""

    name: ClassVar[str] = "cleanup"
    exact: ClassVar[bool] = True

    def run(self, graph: Any, context: PassContext) -> None: ...


@dataclass(frozen=True)
class Fuse(Pass):
    """Fuse convolutions."""

    name: ClassVar[str] = "fuse-conv-bn-relu"
    stage: ClassVar[str] = "fuse"

    def run(self, graph: Any, context: PassContext) -> None: ...


@dataclass(frozen=True)
class Layout(Pass):
    """Cancel transposes."""

    name: ClassVar[str] = "layout"
    stage: ClassVar[str] = "layout"

    def run(self, graph: Any, context: PassContext) -> None: ...


@dataclass(frozen=True)
class Pad(Pass):
    """Pad channels."""

    name: ClassVar[str] = "pad-channels"
    stage: ClassVar[str] = "pad"
    multiple: int = option(8, help="of what", primary=True)
    weight: float = option(0.5)

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise ValueError("multiple must be positive")

    def run(self, graph: Any, context: PassContext) -> None: ...


@dataclass(frozen=True)
class Strip(Pass):
    """Strip operators."""

    name: ClassVar[str] = "strip-custom-ops"
    stage: ClassVar[str] = "strip"
    ops: tuple[str, ...] = option((), flag="--strip-op", primary=True)

    def run(self, graph: Any, context: PassContext) -> None: ...


@dataclass(frozen=True)
class Half(Pass):
    """Convert to half precision."""

    name: ClassVar[str] = "fp16"
    stage: ClassVar[str] = "precision"
    keep_io: bool = option(False)
    careful: bool = option(True)
    mode: Literal["fast", "safe"] = option("fast")
    limit: int | None = option(None)
    note: str = option("")
    sizes: tuple[float, ...] = option(())

    def run(self, graph: Any, context: PassContext) -> None: ...


IMAGINARY = [Fold, Cleanup, Fuse, Layout, Pad, Strip, Half]


@dataclass(frozen=True)
class Point:
    """What `importlib.metadata` gives for an entry point."""

    name: str
    loads: Callable[[], Any]
    dist: Any = None
    value: str = "some.module:PASSES"

    def load(self) -> Any:
        return self.loads()


Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """Lets a test say which entry points are installed."""

    def install(*points: Point) -> None:
        monkeypatch.setattr(metadata, "entry_points", lambda group: list(points))
        passes.registry.cache_clear()

    yield install
    monkeypatch.undo()
    passes.registry.cache_clear()


@pytest.fixture
def imaginary(offer: Offer) -> None:
    """The imaginary passes are the only ones installed."""
    offer(Point("all", lambda: IMAGINARY))
