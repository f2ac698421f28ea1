"""What must hold of a model before anything is done with it: known opsets, defined values, no cycle, all files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt import schemas
from onnx_opt.errors import ModelError
from onnx_opt.ir import tensors

if TYPE_CHECKING:
    from onnx_opt.ir import Function, Graph, Node
    from onnx_opt.ir.model import Model
    from onnx_opt.ir.values import Value

FIRST_IR_WITH_OPSETS = 3


def check_model(model: Model) -> None:
    """Raise ModelError for what no compiler can work on; sort the nodes of a graph that is merely out of order."""
    try:
        check_opsets(model)
        if model.problem is not None:
            raise model.problem
        check_initializers(model)
        check_calls(model)
        for graph in (model.graph, *model.functions):
            _check_defined(graph)
            if not _is_sorted(graph):
                graph.toposort()
    except ModelError as error:
        error.locate(model.path)
        raise


def check_opsets(model: Model) -> None:
    """Every operator set of ONNX itself is one that the installed onnx package knows."""
    for scope in (model.graph, *model.functions):
        for domain, version in scope.opsets.items():
            newest = schemas.newest_version(domain)
            if newest and not 1 <= version <= newest:
                known = f"the installed onnx knows 1 to {newest}"
                raise ModelError(f"unknown opset {version} of {domain or 'ai.onnx'}: {known}", remedy="upgrade onnx")
    if "" in model.opsets or model.ir_version < FIRST_IR_WITH_OPSETS:
        return
    for node in model.graph.walk():
        if node.domain == "":
            raise ModelError(f"no opset is imported for operator {node.op}", node=node.label())


def check_initializers(model: Model) -> None:
    """The data of every initializer is there: as many bytes as its dims need, in a file beside the model or in it."""
    for graph in model.all_graphs():
        for constant in graph.constants:
            if constant.header is not None:
                tensors.check_data(constant.header, model.external_file)
    for node in model.external_nodes:
        for proto in node.source_tensors():
            tensors.check_data(tensors.header_of(proto), model.external_file)


def check_calls(model: Model) -> None:
    """No local function calls itself, by way of others or of subgraphs either."""
    done: set[Graph] = set()
    for start in model.functions:
        stack = [] if start in done else [(start, _callees(start))]
        open_ = {start}
        while stack:
            function, callees = stack[-1]
            callee = next(callees, None)
            if callee is None:
                stack.pop()
                open_.discard(function)
                done.add(function)
            elif callee in open_:
                raise ModelError(f"function '{callee.domain}::{callee.name}' calls itself")
            elif callee not in done:
                open_.add(callee)
                stack.append((callee, _callees(callee)))


def _callees(function: Function) -> Iterator[Function]:
    return (callee for node in function.walk() if (callee := function.model.function(node)) is not None)


@dataclass
class _Body:
    """Nodes that are being looked at: of the graph itself, or of the subgraphs of `owner`."""

    nodes: Iterator[Node]
    owner: Node | None = None


def _is_sorted(graph: Graph) -> bool:
    """Does every node, those in subgraphs included, come after the producers of what it reads?"""
    done: set[Node] = set()
    stack = [_Body(iter(graph))]
    while stack:
        node = next(stack[-1].nodes, None)
        if node is None:
            owner = stack.pop().owner
            if owner is not None:
                done.add(owner)
            continue
        if any(value.producer is not None and value.producer not in done for value in node.inputs):
            return False
        if node.bodies:
            stack.append(_Body((inner for _, _, body in node.bodies for inner in body), node))
        else:
            done.add(node)
    return True


def _check_defined(graph: Graph) -> None:
    """Raise ModelError for a value that nothing defines."""
    for inner in graph.nested():
        for node in inner:
            for value in node.inputs:
                if value.producer is None and not _is_defined(value):
                    raise ModelError(f"it reads '{value.name}', which nothing defines", node=node.label())
        for value in inner.outputs:
            if value.producer is None and not _is_defined(value):
                where = None if inner.owner is None else inner.owner.label()
                raise ModelError(f"nothing defines the output '{value.name}'", node=where)


def _is_defined(value: Value) -> bool:
    scope = value.graph
    return not value.name or scope is None or value in scope.input_set or value in scope.constants
