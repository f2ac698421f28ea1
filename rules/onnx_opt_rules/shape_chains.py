"""Shape arithmetic under dynamic dims: operands that only restate what the shapes say become constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_opt import shapes
from onnx_opt.ir import Graph, Node, Value
from onnx_opt.rewrite import anyof, const, known, op, require, rule


@rule(op.Reshape("x", "shape").named("node"), exact=True, shared=True, opsets=(5, 1 << 30))
def constant_reshape_shape(x: Value, shape: Value, node: Node, graph: Graph) -> Any:
    """Reshape to dims that it can take over from its operand (0) or infer (-1) needs no computed shape.

    -1 is only right where no other dim can be 0, for then it is not defined; a computed size must not be negative, for
    -1 and 0 mean something else.
    """
    require(shape.constant is None, "the shape is a constant already")
    content = known(shape.content, "the shape is not known symbolically")
    require(content.ndim == 1, "the shape is no list")
    wanted = list(content)
    dims = known(x.dims, "the rank of the operand is unknown")
    if node.attribute("allowzero"):
        require(all(isinstance(d, int) and d for d in wanted), "allowzero gives 0 another meaning")
    proofs = graph.model.facts.shapes
    inferred_already = -1 in wanted
    out: list[int] = []
    for axis, dim in enumerate(wanted):
        if isinstance(dim, int):
            out.append(dim)
        elif axis < len(dims) and proofs.equal(dim, dims[axis]):
            out.append(0)
        else:
            require(not inferred_already and -1 not in out, "two dims are neither constant nor those of the operand")
            require(proofs.at_least(dim, 0), f"{shapes.text(dim)} may be negative")
            out.append(-1)
    if -1 in out and not inferred_already:
        copied = [dims[axis] for axis, dim in enumerate(out) if dim == 0]
        require(all(proofs.at_least(dim, 1) for dim in copied), "a dim may be 0, then -1 is not defined")
    return op.Reshape(x, np.array(out, np.int64), allowzero=None if 0 in out else node.attrs.get("allowzero"))


POINTWISE = anyof(op["Add", "Sub", "Mul", "Div", "Gather"]("x", const("c")).named("inner"), op.Cast("x").named("inner"))


@rule(op.Shape(POINTWISE).named("node"), exact=True, shared=True)
def shape_before_pointwise(x: Value, inner: Node, node: Node, graph: Graph) -> Any:
    """Shape of what a pointwise operator makes is that of its operand: then nothing else reads the result."""
    before, after = known(x.dims, "the rank is unknown"), known(inner.outputs[0].dims, "the rank is unknown")
    proofs = graph.model.facts.shapes
    same = len(before) == len(after) and all(proofs.equal(a, b) for a, b in zip(before, after, strict=True))
    require(same, "the operand has another shape")
    return op.Shape(x, **node.attrs)


RULES = [constant_reshape_shape, shape_before_pointwise]
