"""The printable form of a graph: what --print-after shows and tests compare.

It is the official ONNX text syntax as far as that goes (`onnx.parser` reads small graphs back); facts that the analyses
proved stand behind each node as a comment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt.errors import printable
from onnx_opt.ir import Constant, Graph, Node, Value

_SHOWN = 8
"""Elements of a constant that are printed; of larger ones, the type."""


def format_graph(graph: Graph) -> str:
    """`graph` as text, with its subgraphs and, for a main graph, the local functions."""
    lines = list(_graph_lines(graph, ""))
    if graph is graph.model.graph:
        for function in graph.model.functions:
            lines += ["", f"// function {function.domain}.{function.name}", *_graph_lines(function, "")]
    return "\n".join(map(printable, lines))


def _graph_lines(graph: Graph, indent: str) -> Iterator[str]:
    inputs = ", ".join(_typed(value) for value in graph.inputs)
    outputs = ", ".join(_typed(value) for value in graph.outputs)
    yield f"{indent}{graph.name or 'graph'} ({inputs}) => ({outputs})"
    large = [c for c in graph.constants if not _is_small(c)]
    if large:
        yield f"{indent}<{', '.join(_typed(c) for c in large)}>"
    yield indent + "{"
    stack = [(iter(graph), indent + "  ")]
    while stack:
        nodes, margin = stack[-1]
        node = next(nodes, None)
        if node is None:
            stack.pop()
            yield margin[:-2] + "}"
            continue
        yield margin + _node_text(node)
        for name, _, body in reversed(node.bodies):
            yield f"{margin}  // {name}: {body.name} ({', '.join(v.name for v in body.inputs)}) => " + (
                f"({', '.join(v.name for v in body.outputs)}) {{"
            )
            stack.append((iter(body), margin + "    "))


def _node_text(node: Node) -> str:
    results = ", ".join(value.name or "" for value in node.outputs)
    bodies = {name for name, _, _ in node.bodies}
    attrs = ", ".join(f"{name}={_attribute(value)}" for name, value in node.attrs.items() if name not in bodies)
    operands = ", ".join(map(_operand, node.inputs))
    operator = f"{node.domain}.{node.op}" if node.domain else node.op
    types = ", ".join(spell_value(value) for value in node.outputs if value.name)
    return f"{results} = {operator}{f' <{attrs}>' if attrs else ''}({operands})  // {types}"


def _operand(value: Value) -> str:
    if not isinstance(value, Constant) or not _is_small(value):
        return value.name
    return f"{{{', '.join(map(str, value.values.ravel().tolist()))}}}"


def _is_small(constant: Constant) -> bool:
    return not constant.overridable and not constant.is_graph_output and _count(constant.dims) <= _SHOWN


def _count(dims: tuple[int, ...]) -> int:
    count = 1
    for dim in dims:
        count *= dim
    return count


def _typed(value: Value) -> str:
    return f"{spell_value(value)} {value.name}"


def spell_value(value: Value) -> str:
    """The proven type of a value: float[batch,3,224,224]."""
    kind = value.elem_type
    name = TensorProto.DataType.Name(kind).lower() if kind else "?"
    dims = value.dims
    return f"{name}[{'?' if dims is None else ','.join(str(dim).replace(' ', '') for dim in dims)}]"


def _attribute(value: Any) -> str:
    if isinstance(value, Constant):
        value = value.values
    if isinstance(value, np.ndarray):
        inner = ", ".join(map(str, value.ravel().tolist())) if value.size <= _SHOWN else "..."
        return f"{value.dtype}[{','.join(map(str, value.shape))}] {{{inner}}}"
    if isinstance(value, str):
        return f'"{value}"'
    return str(value)
