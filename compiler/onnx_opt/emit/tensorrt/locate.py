"""Which node the builder stumbles over: it refuses a whole model, or crashes, and names none.

The model is cut behind its k-th node, and the smallest such part that is refused is looked for by halving. Parts are
built at the lowest level, and within a time limit: for an error message nobody waits long.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any

from onnx import ModelProto

from onnx_opt.emit.tensorrt.dtypes import port
from onnx_opt.emit.tensorrt.messages import Built, Settings
from onnx_opt.errors import TargetError
from onnx_opt.files import ScratchFolder
from onnx_opt.ir import to_bytes
from onnx_opt.worker import Crashed, Worker

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node

BUILD = "onnx_opt.emit.tensorrt.builder:build"
MOST_SECONDS = 60.0
MOST_BYTES = 1 << 28
"""Models above that size are not searched: each part would be written and built anew."""


def culprit(graph: Graph, module: str, settings: Settings, tell: Callable[[str, int, int], object]) -> Node | None:
    """The node behind which the model is refused for the first time; None where that cannot be found out."""
    if graph.model.functions or len(graph.model.buffer) > MOST_BYTES:
        return None
    search = _Search(graph, module, settings)
    try:
        return search.run(tell)
    finally:
        search.end()


class _Search:
    def __init__(self, graph: Graph, module: str, settings: Settings) -> None:
        self.graph = graph
        self.nodes = list(graph)
        self.module = module
        self.settings = replace(settings, level=0, timing_cache=None)
        self.scratch = ScratchFolder(None)
        self.folder = graph.model.path.absolute().parent if graph.model.path else None
        self.worker: Worker | None = None
        self.end_at = monotonic() + MOST_SECONDS

    def run(self, tell: Callable[[str, int, int], object]) -> Node | None:
        if not self._refuses(len(self.nodes)):
            return None
        good, bad = 0, len(self.nodes)
        while bad - good > 1:
            tell("engine: looking for the node that is refused", len(self.nodes) - (bad - good), len(self.nodes))
            middle = (good + bad) // 2
            refused = self._refuses(middle)
            if refused is None:
                return None
            good, bad = (good, middle) if refused else (middle, bad)
        return self.nodes[bad - 1]

    def end(self) -> None:
        if self.worker is not None:
            self.worker.kill()
        self.scratch.remove()

    def _refuses(self, count: int) -> bool | None:
        """Whether the builder refuses the part of the first `count` nodes; None where that cannot be found out."""
        left = self.end_at - monotonic()
        part = self._part(count)
        if left <= 0:
            return None
        if not part.graph.output:
            return False
        if self.worker is None or not self.worker.alive:
            self.worker = Worker()
        place, folder = str(self.scratch.path / "part"), str(self.folder) if self.folder else None
        try:
            arguments = (self.module, part.SerializeToString(), self.settings, place, folder)
            built = self.worker.apply(BUILD, *arguments, limit=left)
        except TargetError as error:
            return True if error.remedy is None else None  # with a remedy it is about profiles, and no node
        except Crashed:
            return None if monotonic() >= self.end_at else True
        return False if isinstance(built, Built) else None

    def _part(self, count: int) -> ModelProto:
        """The model cut behind its first `count` nodes: what is read behind them becomes its outputs."""
        proto = ModelProto.FromString(to_bytes(self.graph))
        inside = set(self.nodes[:count])
        ends = [value for node in self.nodes[:count] for value in node.outputs if self._leaves(value, inside)]
        outputs = [found for value in ends if (found := port(self.graph, value)) is not None]
        del proto.graph.node[count:]
        del proto.graph.output[:]
        proto.graph.output.extend(outputs)
        return proto

    def _leaves(self, value: Any, inside: set[Node]) -> bool:
        return value in self.graph.outputs or any(user not in inside for user in value.users)
