"""Asking the parser of TensorRT which nodes of a model it rejects, all of them.

The parser stops at the first node that it cannot import. That node is then cut out, what it computed becomes an input,
and the parser is asked again; what only follows from a node that was cut out is not held against the model.
"""

from __future__ import annotations

import atexit
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from onnx import ModelProto, ValueInfoProto

from onnx_opt.emit.rejection import Answer, Rejection, by_table, qualified
from onnx_opt.emit.tensorrt import dtypes, remedies
from onnx_opt.emit.tensorrt.messages import Fault, Parsed
from onnx_opt.emit.tensorrt.modules import require_builder
from onnx_opt.ir import Graph, load, to_bytes
from onnx_opt.ir.load import load_bytes
from onnx_opt.ir.values import Value
from onnx_opt.target import TENSORRT
from onnx_opt.types import TensorType
from onnx_opt.worker import Crashed, Worker

PARSE = "onnx_opt.emit.tensorrt.builder:parse"
CHANGED = "declare it so in the model, or put a Cast there"
NUMBERED = re.compile(r"#\d+")
MOST_SECONDS = 60.0
"""From then on the parser is not asked again about one model."""


def ask(model: str | Path | bytes | Graph, builder: str | None = None) -> list[Rejection]:
    """The nodes of a model that the parser rejects, in its order; none where it takes the model.

    Raises TargetError where no module is installed, ModelError where the model cannot be read.
    """
    return list(examine(model, builder).rejections)


def examine(model: str | Path | bytes | Graph, builder: str | None = None, after_passes: bool = False) -> Answer:
    """What the parser makes of a model. `builder` chooses the module, as `modules.BUILDERS` names it; `after_passes`
    says that our passes have been at the model, so that they are no remedy."""
    graph = model if isinstance(model, Graph) else load_bytes(model) if isinstance(model, bytes) else load(model)
    return _Interview(graph, require_builder(builder), after_passes).run()


class _Interview:
    """The rounds of questions about one model."""

    def __init__(self, graph: Graph, module: str, after_passes: bool) -> None:
        self.graph = graph
        self.module = module
        self.after_passes = after_passes
        self.path = graph.model.path
        self.proto = ModelProto.FromString(to_bytes(graph))
        self.operators: dict[str, str] = {}
        self.names = _number(self.proto, self.operators)
        self.types = {value.name: value for node in graph for value in node.outputs if value.name}
        self.found: list[tuple[tuple[int, ...], Rejection]] = []
        """With its place in the model: the parser names some of a whole model's nodes before others."""
        self.followers: set[str] = set()
        """Values that are not as the model has them, since a node before them was cut out."""

    def run(self) -> Answer:
        parsed = self._parse()
        whole = parsed
        end_at = monotonic() + MOST_SECONDS
        while monotonic() < end_at:
            if not parsed.faults:
                changed = tuple(changed_types(self.graph, parsed)) if parsed is whole else ()
                return self._answer(whole, True, changed)
            if not self._cut(parsed.faults):
                return self._answer(whole, not self.proto.graph.node)
            parsed = self._parse()
        return self._answer(whole, False)

    def _answer(self, whole: Parsed, complete: bool, changed: tuple[Rejection, ...] = ()) -> Answer:
        found = [rejection for _, rejection in sorted(self.found, key=lambda item: item[0])]
        asked = f"the parser of {self.module} {whole.version}".strip()
        return Answer(asked, (*found, *changed), whole.layers, complete)

    def _parse(self) -> Parsed:
        folder = str(self.path.absolute().parent) if self.path else None
        data = self.proto.SerializeToString()
        return parse(self.module, data, folder)

    def _cut(self, faults: tuple[Fault, ...]) -> bool:
        """Record the rejections and take their nodes out; whether the parser can be asked about the rest."""
        outer = {node.name: index for index, node in enumerate(self.proto.graph.node)}
        cut = set()
        for fault in {fault.name: fault for fault in faults}.values():  # it may say the same thing twice
            name, place = self.names.get(fault.name, (fault.name, fault.name))
            callers = (call.rpartition(" (")[0] for call in fault.stack)
            index = next((outer[each] for each in (place, *callers) if each in outer), None)
            if index is None and self.found:  # what is wrong with what is left of the model is not the model's
                return False
            if index is None or not self._follows(index):
                self.found.append((_number_of(place, fault.name), self._rejection(fault, name)))
            if index is None:
                return False
            cut.add(index)
        return self._remove(cut)

    def _label(self, name: str) -> str:
        """What users call the node that we gave this name."""
        return self.names[name][0] if name in self.names else name

    def _rejection(self, fault: Fault, name: str) -> Rejection:
        text = NUMBERED.sub(lambda found: self._label(found[0]), " ".join(fault.text.split()))
        operator = self.operators.get(fault.name, fault.operator)
        reason, remedy = remedies.explain(operator, text, self.after_passes)
        return Rejection(name, operator, reason, fault.function, remedy, fault.code, text)

    def _follows(self, index: int) -> bool:
        return any(name in self.followers for name in self.proto.graph.node[index].input)

    def _remove(self, cut: set[int]) -> bool:
        """Take nodes out of the outer graph: what they computed becomes inputs, what they read becomes outputs."""
        graph = self.proto.graph
        gone = {name for index in cut for name in graph.node[index].output if name}
        read = {name for index in cut for name in graph.node[index].input if name}
        kept = [node for index, node in enumerate(graph.node) if index not in cut]
        made = {name for node in kept for name in node.output}
        outputs = [value for value in graph.output if value.name not in gone]
        outputs += filter(None, map(self._port, sorted(read & made - {value.name for value in outputs})))
        for field, items in ((graph.node, kept), (graph.output, outputs)):
            del field[:]
            field.extend(items)
        needed = sorted(gone & set(_read(self.proto)))
        self.followers.update(needed)
        inputs = list(map(self._port, needed))
        graph.input.extend(value for value in inputs if value is not None)
        return bool(outputs) and None not in inputs

    def _port(self, name: str) -> ValueInfoProto | None:
        return dtypes.port(self.graph, self.types[name]) if name in self.types else None


def parse(module: str, model: str | bytes, folder: str | None) -> Parsed:
    """What the parser says, from a process of its own. Where that crashes, the node it was at is the one at fault."""
    try:
        parsed: Parsed = _parser().apply(PARSE, module, model, folder)
        return parsed
    except Crashed:
        return _crashed(module, model, folder)


def _crashed(module: str, model: str | bytes, folder: str | None) -> Parsed:
    """Parse once more, each node told before the parser looks at it."""
    last = ["", ""]

    def hear(kind: str, name: str, operator: str) -> None:
        last[:] = [name, operator]

    try:
        parsed: Parsed = _parser().apply(PARSE, module, model, folder, True, hear=hear)
        return parsed
    except Crashed as crash:
        fault = Fault(-1, last[0], last[1], "", "CRASH", f"the parser {crash}")
        return Parsed(module, "", (fault,))


_worker: Worker | None = None


def _parser() -> Worker:
    """The process that parses; started when first asked for, and again when it has ended."""
    global _worker
    if _worker is None or not _worker.alive:
        _worker = Worker()
    return _worker


@atexit.register
def _stop() -> None:
    if _worker is not None:
        _worker.kill()


def examine_by_table(graph: Graph) -> Answer:
    """What our tables say of a model where no parser can be asked: operators, and types of inputs and outputs."""
    answer = by_table(graph, TENSORRT)
    known = ((value, value.declared) for value in (*graph.inputs, *graph.outputs))
    changed = (
        _changed(value, kind.elem_type, "which is no type of an engine's inputs and outputs")
        for value, kind in known
        if isinstance(kind, TensorType) and kind.elem_type not in dtypes.NAMES
    )
    return replace(answer, rejections=(*answer.rejections, *changed))


def changed_types(graph: Graph, parsed: Parsed) -> Iterator[Rejection]:
    """Inputs and outputs that an engine would have in another type than the model: the parser changes it silently."""
    ports = {port.name: port.dtype for port in (*parsed.inputs, *parsed.outputs)}
    for value in (*graph.inputs, *graph.outputs):
        declared, made = value.declared, ports.get(value.name)
        if not isinstance(declared, TensorType) or made is None or dtypes.NAMES.get(declared.elem_type) == made:
            continue
        yield _changed(value, declared.elem_type, f"and would silently be {dtypes.spell(made)} in the engine")


def _changed(value: Value, elem_type: int, what: str) -> Rejection:
    node = value.producer
    reason = f"'{value.name}' is {dtypes.spell_onnx(elem_type)} in the model {what}"
    operator = qualified(node.domain, node.op) if node else ""
    return Rejection(node.label() if node else value.name, operator, reason, "", CHANGED, "TYPE")


# -- names ----------------------------------------------------------------------------------------------------------


def _number(proto: Any, operators: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Give each node of the model, those of its branches and functions included, a name that only it has.

    Returns for each such name what users call the node, which is by its first output where it has no name, and the
    name of the node of the outer graph that it is part of, empty for those of functions. `operators` takes
    the operator of each.
    """
    names: dict[str, tuple[str, str]] = {}
    work = [(proto.graph.node, True, ""), *((function.node, False, "") for function in proto.functions)]
    while work:
        nodes, is_outer, owner = work.pop()
        for node in nodes:
            name = f"#{len(names)}"
            label = node.name or next((output for output in node.output if output), node.op_type)
            place = name if is_outer else owner
            names[name] = (label, place)
            node.name, operators[name] = name, qualified(node.domain, node.op_type)
            work += [(inner.node, False, place) for inner in _branches(node)]
    return names


def _number_of(*names: str) -> tuple[int, ...]:
    """What nodes that `_number` named are sorted by."""
    return tuple(int(name[1:]) if NUMBERED.fullmatch(name) else 0 for name in names)


def _branches(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        yield from (graph for graph in (attribute.g, *attribute.graphs) if graph.node or graph.output)


def _read(proto: Any) -> Iterator[str]:
    """The names that nodes of the outer graph and of its branches read."""
    work = [proto.graph]
    while work:
        graph = work.pop()
        for node in graph.node:
            yield from node.input
            work += _branches(node)
        yield from (value.name for value in graph.output)
