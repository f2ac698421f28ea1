"""One compilation: from a model to its optimized form, as often as needed and with the same result each time.

Validation needs to run it again with only some of the rewrites; a pipeline is deterministic, so that is all it takes to
find and to undo a wrong one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_opt import checks
from onnx_opt.errors import ModelError, OnnxOptError
from onnx_opt.host import Host
from onnx_opt.interface import Dims, Shapes, restrict
from onnx_opt.ir import Graph, gc_paused, load, to_bytes
from onnx_opt.ir.load import load_bytes
from onnx_opt.journal import Journal, Key
from onnx_opt.passes import Pass, PassContext
from onnx_opt.pipeline import Item, Pipeline
from onnx_opt.target import Target

if TYPE_CHECKING:
    from onnx import ModelProto

    from onnx_opt.instrument import Instrument
    from onnx_opt.proof import Evidence


@dataclass(frozen=True)
class Input:
    """A model as it was given: the file at `path`, or `data` with external data beside `path`."""

    path: Path | None
    data: bytes | None = None

    @staticmethod
    def of(model: str | Path | bytes | ModelProto | Graph) -> Input:
        """A graph is taken as it is now; later changes to it do not matter."""
        if isinstance(model, Graph):
            return Input(model.model.path, to_bytes(model))
        if isinstance(model, bytes):
            return Input(None, model)
        if isinstance(model, str | Path):
            return Input(Path(model))
        try:
            return Input(None, model.SerializeToString())
        except ValueError as error:  # protobuf's limit of 2 GB
            raise ModelError("the model is too large for memory", remedy="give the path of its file instead") from error

    def load(self) -> Graph:
        """The graph. Raises ModelError."""
        if self.data is not None:
            return load_bytes(self.data, self.path)
        assert self.path is not None
        return load(self.path)

    @property
    def name(self) -> str | None:
        return str(self.path) if self.path else None

    @property
    def nbytes(self) -> int:
        """The size of the model in bytes, external data not counted."""
        if self.data is not None:
            return len(self.data)
        assert self.path is not None
        return self.path.stat().st_size


def folder_of(path: Path | None) -> Path | None:
    """The folder that a model's external data is relative to."""
    return path.absolute().parent if path is not None else None


@dataclass(frozen=True)
class Build:
    """What one run of the pipeline made."""

    graph: Graph
    journal: Journal

    @property
    def changed(self) -> bool:
        """Does the model differ from the original at all?"""
        model = self.graph.model
        edited = self.graph.dirty or any(function.dirty for function in model.functions)
        return edited or bool(model.metadata) or model.opsets != model.source_opsets


@dataclass(frozen=True)
class Embedded:
    """The parts of the program that the last of the wished passes moved into the model, and the passes before those, of
    which nothing can be proven."""

    hosts: tuple[Host, ...]
    taken: Pipeline


@dataclass(frozen=True)
class Compilation:
    """What is to be done with a model."""

    source: Input
    pipeline: Pipeline
    target: Target
    dims: Dims = field(default_factory=dict)
    shapes: Shapes = field(default_factory=dict)
    metadata: bool = False
    """Write where each node comes from into the model."""
    tolerant: bool = False
    """Leave out a pass that fails."""
    jobs: int = 0
    """Threads; 0 for as many as there are cores. The result does not depend on it."""
    liberties: frozenset[str] = frozenset()
    """What rules may do because the user grants it."""
    evidence: Evidence | None = None
    """What passes that measure go by."""
    memory: dict[str, Any] = field(default_factory=dict)
    """What they measured: a build with fewer rewrites measures only what is new."""

    def original(self) -> Graph:
        """The model as it was given, checked, and with the sizes that were asked for."""
        try:
            with gc_paused():
                graph = self.source.load()
                checks.check_model(graph.model)
                restrict(graph, self.dims, self.shapes)
            return graph
        except OnnxOptError as error:
            error.locate(self.source.path)
            raise

    def build(
        self, limit: int | None = None, excluded: frozenset[Key] = frozenset(), instruments: Sequence[Instrument] = ()
    ) -> Build:
        """The optimized model, with the first `limit` rewrites only and without the `excluded` ones."""
        return self.optimize(self.original(), Journal(limit, excluded), instruments)

    def optimize(self, graph: Graph, journal: Journal, instruments: Sequence[Instrument] = ()) -> Build:
        """Run the whole pipeline on `graph`, which `original` made, in place."""
        build = self._run(graph, self.pipeline, journal, instruments)
        if self.metadata:
            graph.model.metadata.update(origins(graph, self.pipeline))
        return build

    def reference(self) -> Build:
        """The original after the `wished` passes: the interface of the optimized model, and what it computes."""
        return self._run(self.original(), self.wished, Journal())

    @cached_property
    def embedded(self) -> Embedded:
        """What of the `wished` passes can be proven: the last ones that take something over from the program."""
        graph, items, hosts = self.original(), self.wished.items, list[Host]()
        for item in items:
            host = item.host(graph) if isinstance(item, Pass) else None
            hosts = [] if host is None else [*hosts, host]
            self._run(graph, Pipeline((item,)), Journal())
        return Embedded(tuple(hosts), Pipeline(items[: len(items) - len(hosts)]))

    def before_embedding(self) -> Build:
        """The original after the passes of which nothing can be proven."""
        return self._run(self.original(), self.embedded.taken, Journal())

    @property
    def wished(self) -> Pipeline:
        """The leading passes that make another model of it because the user asked; see `embedded`."""
        return Pipeline(tuple(takewhile(_redefines, self.pipeline.items)))

    @property
    def proven(self) -> Pipeline:
        """The passes behind the `wished` ones."""
        return Pipeline(tuple(dropwhile(_redefines, self.pipeline.items)))

    def _context(self, journal: Journal) -> PassContext:
        return PassContext(
            self.target,
            journal,
            tolerant=self.tolerant,
            jobs=self.jobs,
            liberties=self.liberties,
            evidence=self.evidence,
            memory=self.memory,
        )

    def _run(self, graph: Graph, pipeline: Pipeline, journal: Journal, instruments: Sequence[Instrument] = ()) -> Build:
        try:
            pipeline.run(graph, self._context(journal), instruments)
        except OnnxOptError as error:
            error.locate(self.source.path)
            raise
        return Build(graph, journal)


def _redefines(item: Item) -> bool:
    return isinstance(item, Pass) and item.redefines


def origins(graph: Graph, pipeline: Pipeline) -> dict[str, str]:
    """Metadata entries that tell where each rewritten node comes from."""
    return {"onnx_opt.pipeline": str(pipeline), "onnx_opt.origins": json.dumps(origins_of(graph), sort_keys=True)}


def origins_of(graph: Graph) -> dict[str, dict[str, list[str]]]:
    """The original nodes that each rewritten one stands for, and the rules that made it, by its name."""
    found = {}
    for scope in graph.model.all_graphs():
        for node in scope:
            if rules := node.origin.rules():
                found[node.label()] = {"nodes": node.origin.names(), "rules": rules}
    return found
