"""A graph that ONNX Runtime has optimized by itself, written to a file: a session that loads it need not do it again.

What is written is held against the original like any other result: ONNX Runtime's optimizer has bugs of its own. It is
made deterministic too, for ONNX Runtime numbers some of its nodes anew in each run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_opt import worker
from onnx_opt.compilation import origins_of
from onnx_opt.emit import Tell
from onnx_opt.errors import OnnxOptError, TargetError, UsageError, ValidationError
from onnx_opt.files import ScratchFolder, put_in_place
from onnx_opt.ir import Graph, Node, gc_paused, load, save
from onnx_opt.ir.external import ExternalFile
from onnx_opt.ir.order import toposort
from onnx_opt.runtime.profile import ORIGINS
from onnx_opt.runtime.settings import TENSORRT, Settings, find_provider, short_name
from onnx_opt.runtime.trace import Step, trace
from onnx_opt.target import Target
from onnx_opt.validate.source import Source

if TYPE_CHECKING:
    from onnx_opt.api import Result

LEVELS = ("basic", "extended", "all")
LARGE = 1 << 30
"""Bytes of a model from which its weights go to a file beside it: ONNX files end at 2 GB, and grow on the way."""

_TIED: Mapping[str, str] = {
    "extended": "it holds operators of ONNX Runtime's own and is meant for {provider} only",
    "all": "its layouts are tied to this kind of machine and to {provider}; on others it may be slow or not load",
}
_NUMBERED = re.compile(r"_token_\d+$")
_SIDE_FILE = "session.optimized_model_external_initializers_file_name"
_SIDE_SIZE = "session.optimized_model_external_initializers_min_size_in_bytes"
_GRAPH, _WEIGHTS = "graph.onnx", "graph.bin"


@dataclass(frozen=True)
class OfflineGraph:
    """The emitter. `settings` say the provider and how far it optimizes."""

    target: Target
    settings: Settings
    threads: int = 0
    custom_ops: tuple[Path, ...] = ()

    def check(self, graph: Graph | None = None) -> None:
        """Raise UsageError for a target that is no provider, TargetError for one that is not here."""
        name, level = self.target.name, self.settings.level
        if not self.target.provider:
            raise UsageError(
                f"--ort-level {level}: target {name} is none of ONNX Runtime", remedy="add --target ort-cpu"
            )
        if self.target.provider == TENSORRT:
            remedy = "--target tensorrt builds engines"
            raise UsageError(
                f"--ort-level {level}: the engines of {name} cannot be part of an ONNX file", remedy=remedy
            )
        if self.settings.provider != self.target.provider:
            wanted = short_name(self.target.provider)
            raise UsageError(
                f"--ort-level {level}: a graph for {name} is made by {wanted}", remedy=f"--provider {wanted}"
            )
        find_provider(self.settings.provider)

    def emit(self, result: Result, output: Path, tell: Tell) -> dict[str, Any]:
        """Write the graph that ONNX Runtime makes of the result. Raises ValidationError where it is wrong."""
        scratch = ScratchFolder(output.parent)
        tell("ONNX Runtime optimizes the graph", 0, 0)
        made = self._made(result, scratch.path)
        graph = load(made)
        with gc_paused():
            settle(graph)
            if ORIGINS in result.model.model.metadata:
                graph.model.metadata[ORIGINS] = json.dumps(self._origins(result.model, graph), sort_keys=True)
        candidate = scratch.path / "settled" / output.name
        candidate.parent.mkdir()
        save(graph, candidate)
        has_weights = weights_of(candidate).exists()
        _spare_the_input(result, output, has_weights)
        self._prove(result, candidate, tell)
        if has_weights:
            save(load(candidate), output)  # streams them to a file beside the output
        else:
            put_in_place(candidate, output)
        return self._figures(result, graph, output)

    def _made(self, result: Result, scratch: Path) -> Path:
        from onnx_opt.proof import inline_bytes, source_of

        large = inline_bytes(result.model) + result.report.after.external_bytes > LARGE
        aside = large or result.report.after.external_bytes > 0
        source, folder = source_of(result.model, scratch / "result"), scratch / "made"
        folder.mkdir()
        try:
            worker.shared().apply(
                "onnx_opt.emit.offline:make",
                source.absolute(),
                self.settings,
                self.threads,
                self.custom_ops,
                folder.absolute(),
                aside,
            )
        except worker.Crashed as crash:
            raise TargetError(f"ONNX Runtime {crash} while it optimized the graph", path=result.source.name) from crash
        except OnnxOptError as error:
            error.path = result.source.name  # not that of a file in between
            raise
        return folder / _GRAPH

    def _origins(self, ours: Graph, graph: Graph) -> dict[str, Any]:
        """The nodes of the original that each node of the written graph stands for, and the rules that made it."""
        known, found = origins_of(ours), {}
        for name, inside in trace(_steps(ours), _steps(graph)).items():
            of_each = [known.get(each, {"nodes": [each], "rules": []}) for each in inside]
            rules = [] if inside == [name] else [f"onnxruntime-{self.settings.level}"]
            rules += [rule for each in of_each for rule in each["rules"]]
            if rules:
                nodes = [node for each in of_each for node in each["nodes"]]
                found[name] = {"nodes": list(dict.fromkeys(nodes)), "rules": list(dict.fromkeys(rules))}
        return found

    def _prove(self, result: Result, candidate: Path, tell: Tell) -> None:
        if result.search is None:
            return
        tell("validating what ONNX Runtime made", 0, 0)
        prover = replace(result.search.prover, exact=False, inner=0)
        verdict = prover.judge(Source(path=candidate))
        if verdict.failed:
            reason = f"what ONNX Runtime makes of it at level '{self.settings.level}' is wrong: {verdict.reason}"
            lower = LEVELS[: LEVELS.index(self.settings.level)][-1:]
            remedy = f"try --ort-level {lower[0]}" if lower else "leave --ort-level out"
            remedy += ", or allow more with --tolerance"
            raise ValidationError(reason, path=result.source.name, remedy=remedy)
        report = result.report
        report.add_verdict(verdict, report.faults, [])
        report.notes, report.warnings = (list(dict.fromkeys(told)) for told in (report.notes, report.warnings))

    def _figures(self, result: Result, graph: Graph, output: Path) -> dict[str, Any]:
        import onnxruntime

        provider, level = short_name(self.settings.provider), self.settings.level
        if level in _TIED:
            warning = _TIED[level].format(provider=provider)
            result.report.warnings.append(f"{warning} (ONNX Runtime {onnxruntime.__version__})")
        ops = Counter(f"{n.domain}::{n.op}" for g in graph.model.all_graphs() for n in g if n.domain)
        weights = weights_of(output)
        return {
            "kind": "graph optimized by ONNX Runtime",
            "level": level,
            "provider": self.settings.provider,
            "onnxruntime": onnxruntime.__version__,
            "nodes": sum(len(g) for g in graph.model.all_graphs()),
            "vendor_operators": [f"{count} {name}" for name, count in sorted(ops.items())],
            "file_bytes": output.stat().st_size,
            "weights_bytes": weights.stat().st_size if weights.exists() else None,
        }


def _spare_the_input(result: Result, output: Path, has_weights: bool) -> None:
    """Raise UsageError where the output would take the place of the input's external data."""
    external = ExternalFile(output, result.model.model)
    external.active |= has_weights
    external.check()


def _steps(graph: Graph) -> list[Step]:
    return [
        Step(node.label(), node.op, tuple(v.name for v in node.inputs), tuple(v.name for v in node.outputs))
        for scope in graph.model.all_graphs()
        for node in scope
    ]


def weights_of(path: Path) -> Path:
    """Where the external data of a model that is saved to `path` lies."""
    return path.with_name(f"{path.name}.data")


def make(
    source: Source, settings: Settings, threads: int, custom_ops: Sequence[Path], folder: Path, aside: bool
) -> None:
    """In the worker: let ONNX Runtime write the graph that it makes of a model into `folder`, its weights into a file
    of their own where they are to go `aside`. Raises as `open_session`."""
    import onnxruntime

    from onnx_opt.runtime.session import open_session

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / _GRAPH)
    if aside:
        options.add_session_config_entry(_SIDE_FILE, _WEIGHTS)
        options.add_session_config_entry(_SIDE_SIZE, "1024")
    open_session(source, settings, threads=threads, custom_ops=custom_ops, options=options)


def settle(graph: Graph) -> None:
    """Let the graph not depend on chance: nodes stand in an order that follows from the outputs alone, those that ONNX
    Runtime numbers anew each time are numbered in that order. Drops operator sets without use too."""
    model = graph.model
    for scope in model.all_graphs():
        _begin_with_outputs(scope)
    toposort(graph)
    nodes = [node for scope in model.all_graphs() for node in scope]
    numbered = {_NUMBERED.sub("", node.name) for node in nodes if _NUMBERED.search(node.name)}
    taken = {node.name for node in nodes if _NUMBERED.sub("", node.name) not in numbered}
    counts: Counter[str] = Counter()
    for scope in model.all_graphs():
        for node in scope:
            if (base := _NUMBERED.sub("", node.name)) in numbered:
                scope.retype(node, node.op, _free(base, counts, taken), node.domain)
    used = {"", *(node.domain for node in nodes)}
    for domain in [domain for domain in model.opsets if domain not in used]:
        model.drop_opset(domain)


def _begin_with_outputs(graph: Graph) -> None:
    """Put first the nodes whose results are outputs; a sort by dependency then depends on these alone."""
    producers = (value.producer for value in graph.outputs)
    wanted = dict.fromkeys(node for node in producers if node is not None and node.graph is graph)
    graph.reorder([*wanted, *sorted((node for node in graph if node not in wanted), key=Node.label)])


def _free(base: str, counts: Counter[str], taken: set[str]) -> str:
    while True:
        counts[base] += 1
        if (name := f"{base}_{counts[base]}") not in taken:
            taken.add(name)
            return name
