"""Equal things once: nodes that compute the same from the same, and initializers with the same bits."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor

from onnx_opt import traits
from onnx_opt.ir import Constant, Graph, Node, attributes
from onnx_opt.journal import Key
from onnx_opt.passes import PassContext

NODES, CONTENTS, INITIALIZERS = "merge-duplicate", "merge-equal-shape", "merge-initializer"
_LARGE = 1 << 20  # bytes from which a thread of its own pays


def merge_nodes(graph: Graph, context: PassContext) -> None:
    """Let one node stand for all pure ones with the same operator, operands and attributes in its graph, and one value
    for all small integer tensors that provably hold the same numbers, known or symbolic."""
    for inner in graph.model.all_graphs():
        _merge_in(inner, context)
    graph.model.settle()


def _merge_in(graph: Graph, context: PassContext) -> None:
    seen: dict[Hashable, list[Node]] = defaultdict(list)
    contents: dict[Hashable, Node] = {}
    for node in graph:
        if node.bodies or not node.inputs or not traits.is_pure(node) or node.has_attribute_refs:
            continue
        operands = tuple(value if value.name else None for value in node.inputs)
        alike = seen[node.op, node.domain, node.overload, operands, len(node.outputs)]
        twin = next((other for other in alike if _attributes(other) == _attributes(node)), None)
        if twin is None:
            alike.append(node)
            _merge_content(graph, node, contents, context)
        elif _covers(twin, node) and context.admit(NODES, node):
            _merge_into(graph, twin, node, NODES, context)


def _attributes(node: Node) -> Hashable:
    """The attributes of a node in a form that is equal only for equal ones; their order does not matter."""
    if node.source is not None and (node._attrs is None or not node._attrs.changed):
        buffer = node.graph.model.buffer  # type: ignore[union-attr]
        return frozenset(bytes(buffer[span.start : span.end]) for span in node.source_attributes())
    return frozenset(attributes.encode(name, value) for name, value in node.attrs.items())


def _covers(twin: Node, node: Node) -> bool:
    """Whether `twin` has every result that is read of `node`."""
    return all(mine.name or not theirs.uses for mine, theirs in zip(twin.outputs, node.outputs, strict=True))


def _merge_into(graph: Graph, twin: Node, node: Node, rule: str, context: PassContext) -> None:
    results = [(new, old) for new, old in zip(twin.outputs, node.outputs, strict=True) if old.name and old.uses]
    for new, old in results:
        graph.replace_value(old, new)
    context.applied(rule, [node.label(), twin.label()], node.origin, [old.name for _, old in results])


def _merge_content(graph: Graph, node: Node, contents: dict[Hashable, Node], context: PassContext) -> None:
    """Merge with an earlier node whose result holds the same symbolic numbers, such as the batch size."""
    if len(node.outputs) != 1:
        return
    value = node.outputs[0]
    content = value.content
    if content is None or content.size == 0 or all(isinstance(item, int) for item in content.flat):
        return
    key = (value.elem_type, content.shape, tuple(content.flat))
    twin = contents.setdefault(key, node)
    if twin is not node and not value.is_graph_output and context.admit(CONTENTS, node):
        _merge_into(graph, twin, node, CONTENTS, context)


def merge_initializers(graph: Graph, context: PassContext) -> None:
    """Let one initializer stand for all of its graph with the same element type, shape and bits."""
    for inner in graph.model.all_graphs():
        groups: dict[Hashable, list[Constant]] = defaultdict(list)
        for constant in inner.constants:
            if constant.uses and not (constant.overridable or constant.pinned or constant.sparse):
                groups[constant.elem_type, constant.dims, constant.nbytes].append(constant)
        alike = [group for group in groups.values() if len(group) > 1]
        _hash([constant for group in alike for constant in group], context.jobs)
        for group in alike:
            _merge_group(inner, group, context)
    graph.model.settle()


def _hash(constants: list[Constant], jobs: int) -> None:
    """Hash large weights side by side; each remembers its digest."""
    large = [constant for constant in constants if constant.nbytes >= _LARGE]
    if len(large) > 1 and jobs != 1:
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            list(pool.map(Constant.digest, large))


def _merge_group(graph: Graph, group: list[Constant], context: PassContext) -> None:
    first: dict[bytes, Constant] = {}
    for constant in group:
        twin = first.setdefault(constant.digest(), constant)
        if twin is constant or constant.is_graph_output:
            continue
        if context.journal.admit_key(Key(context.pass_name, INITIALIZERS, constant.name)):
            graph.replace_uses(constant, twin)
            context.applied(INITIALIZERS, [], None, [constant.name])
