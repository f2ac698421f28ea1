"""The emitter of engines: from an optimized model to a file that TensorRT loads.

engine = Engine(profiles=[read_profile("x=1x3x224x224:8x3x224x224:32x3x224x224")])
result = onnx_opt.optimize("model.onnx", target="tensorrt")
engine.check()
figures = engine.emit(result, Path("model.engine"))
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx import TensorProto

from onnx_opt.emit import Tell
from onnx_opt.emit.tensorrt import ask, locate, profiles, remedies
from onnx_opt.emit.tensorrt.messages import About, Built, Parsed, Profile, Settings
from onnx_opt.emit.tensorrt.modules import require_builder
from onnx_opt.errors import TargetError
from onnx_opt.files import ScratchFolder, atomic_file, is_special
from onnx_opt.passes import registry
from onnx_opt.worker import Crashed, Worker

if TYPE_CHECKING:
    from onnx_opt.api import Result
    from onnx_opt.ir import Graph, Node

BUILD = "onnx_opt.emit.tensorrt.builder:build"
DESCRIBE = "onnx_opt.emit.tensorrt.builder:describe"
HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


@dataclass(frozen=True)
class Engine:
    """What an engine is built with. `builder` chooses the module (`modules.BUILDERS`); `level` is the builder's
    optimization level; `workspace` the bytes that a kernel may use; `capabilities` the compute capabilities that it
    shall run on, such as "86" (only TensorRT for RTX builds for GPUs that are not there)."""

    profiles: Sequence[Profile] = ()
    builder: str | None = None
    level: int | None = None
    workspace: int | None = None
    timing_cache: Path | None = None
    capabilities: tuple[str, ...] = ()
    weight_streaming: bool = False
    refit: bool = False
    version_compatible: bool = False

    def check(self, graph: Graph | None = None) -> None:
        """Raise TargetError where the builder is missing, cannot be loaded, or cannot do what is asked of it, and where
        profiles contradict the model or are missing."""
        module = require_builder(self.builder)
        worker = Worker()
        try:
            about: About = worker.apply(DESCRIBE, module)
        except Crashed as crash:
            raise TargetError(f"the module '{module}' {crash} when it is loaded") from crash
        finally:
            worker.kill()
        self._check_options(about)
        if graph is not None:
            profiles.complete(graph, self.profiles)

    def emit(self, result: Result, output: Path, tell: Tell = lambda what, done, total: None) -> dict[str, Any]:
        """Build the engine of an optimized model into `output`; returns what is known of it without running it.

        Raises TargetError with the node and the remedy where the parser or the builder refuses, or crashes.
        """
        try:
            return self._emit(result, output, tell)
        except TargetError as error:
            error.locate(result.source.path)
            raise

    def _emit(self, result: Result, output: Path, tell: Tell) -> dict[str, Any]:
        settings = self._settings(result.model)
        scratch = ScratchFolder(None if is_special(output) else output.parent)
        try:
            model = scratch.path / "model.onnx"
            tell("writing the model for the builder", 0, 0)
            result.save(model)
            with (writer := atomic_file(output)):
                built = self._build(result, model, settings, writer.temporary or output, tell)
        finally:
            scratch.remove()
        return _figures(built, settings, result)

    def _build(self, result: Result, model: Path, settings: Settings, place: Path, tell: Tell) -> Built:
        """Build in a process of its own, which is ended with us and when we are interrupted."""
        graph = result.model
        phase = ["reading the model"]

        def hear(kind: str, name: str, done: int, total: int) -> None:
            phase[0] = name[:1].lower() + name[1:]
            tell(f"engine: {phase[0]}", done, total)

        worker, module = Worker(), require_builder(self.builder)
        try:
            built: Built | Parsed = worker.apply(BUILD, module, str(model), settings, str(place), hear=hear)
        except Crashed as crash:
            reason = f"the builder {crash} while {phase[0]}"
            raise _located(TargetError(reason), graph, module, settings, tell) from crash
        except TargetError as error:
            raise _located(error, graph, module, settings, tell) from None
        finally:
            worker.kill()
        if isinstance(built, Parsed):
            raise _refused(result, self.builder)
        for changed in ask.changed_types(graph, built.parsed):
            raise TargetError(changed.reason, node=changed.node, remedy=changed.remedy)
        return built

    def _check_options(self, about: About) -> None:
        what = f"{about.module} {about.version}"
        is_rtx = bool(about.capabilities)
        for wanted in self.capabilities:
            if wanted not in about.capabilities:
                known = f"one of {', '.join(about.capabilities)}" if is_rtx else "leave --sm out"
                reason = f"--sm {wanted}: {what} builds for no such compute capability"
                raise TargetError(reason if is_rtx else f"{reason}: it builds for the GPU that is there", remedy=known)
        if self.timing_cache is not None and is_rtx:
            raise TargetError(f"--timing-cache: {what} times nothing when it builds", remedy="leave it out")
        if self.version_compatible and is_rtx:
            raise TargetError(f"--version-compatible: {what} cannot build such engines", remedy="leave it out")
        if self.refit and not about.has_driver:
            raise TargetError("--refit needs a GPU's driver where the engine is built", remedy="build it there")

    def _settings(self, graph: Graph) -> Settings:
        flags = {
            "WEIGHT_STREAMING": self.weight_streaming,
            "REFIT": self.refit,
            "VERSION_COMPATIBLE": self.version_compatible,
        }
        return Settings(
            profiles.complete(graph, self.profiles),
            self.level,
            self.workspace,
            str(self.timing_cache) if self.timing_cache else None,
            self.capabilities,
            tuple(name for name, wanted in flags.items() if wanted),
        )


def _located(error: TargetError, graph: Graph, module: str, settings: Settings, tell: Tell) -> TargetError:
    """The error with the node that the builder refuses, or crashes at, and what can be done about it."""
    if error.remedy is not None:  # it is about what was asked for, and no node
        return error
    node = locate.culprit(graph, module, settings, tell)
    remedy = "another --builder-level may take another way"
    if node is None:
        return TargetError(error.message, remedy=remedy)
    if any(graph.model.facts.elem_type(value) in HALVES for value in (*node.inputs, *node.outputs)):
        remedy = f"--fp16-block '{node.label()}' keeps it in FP32; {remedy}"
    remedy = next((each.remedy for each in remedies.STUMBLES if _matches(error, node, each)), remedy)
    return TargetError(f"{error.message}, at {node.op}", node=node.label(), remedy=remedy)


def _matches(error: TargetError, node: Node, known: remedies.Stumble) -> bool:
    is_one_value = len({node.input(index) for index in known.same}) <= 1
    return node.op == known.operator and is_one_value and re.search(known.says, error.message) is not None


def _refused(result: Result, builder: str | None) -> TargetError:
    """The first node that the parser rejects, and how many more there are."""
    after_passes = any(cls.legalizes and name in result.report.pipeline for name, cls in registry().passes.items())
    found = ask.examine(result.model, builder, after_passes).rejections
    if not found:
        return TargetError("the parser refuses the model and gives no reason")
    first, more = found[0], len(found) - 1
    others = f"{more} more: onnx-opt check --target tensorrt lists them" if more else ""
    what = f"TensorRT rejects {first.operator}: " if first.operator else "TensorRT rejects it: "
    function = f" [{first.function}]" if first.function else ""
    remedy = "; ".join(filter(None, (first.remedy, others)))
    return TargetError(f"{what}{first.reason}{function}", node=first.node or None, remedy=remedy or None)


def _figures(built: Built, settings: Settings, result: Result) -> dict[str, Any]:
    """What is true of an engine without a GPU: no speed among it."""
    from onnx_opt.compilation import origins_of

    capabilities = [f"{name[:-1]}.{name[-1]}" for name in settings.capabilities]
    return {
        "kind": "TensorRT engine",
        "builder": f"{built.parsed.module} {built.parsed.version}",
        "engine_file_bytes": built.engine_bytes,
        "weight_memory_bytes": built.weight_bytes,
        "activation_memory_bytes": list(built.activation_bytes),
        "layers_parsed": built.parsed.layers,
        "builder_level": built.level,
        "compute_capabilities": capabilities or "the builder's own choice",
        "profiles": [str(profile) for profile in settings.profiles],
        "flags": list(settings.flags),
        "origins": origins_of(result.model),
    }
