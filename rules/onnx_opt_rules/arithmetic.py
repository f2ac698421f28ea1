"""Arithmetic by the laws in the tables: with constants that settle or leave a result, and with equal operands.

A law that floating point keeps to the bit is applied as it stands; one that it does not keep needs the liberties that
its row names, and says so where they are not granted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnx_opt import types
from onnx_opt.ir import Graph, Node, Value
from onnx_opt.laws import Law, laws
from onnx_opt.rewrite import Granted, const, known, op, require, rule
from onnx_opt_rules.runtime_fusions import part_of_fusion
from onnx_opt_rules.tables.laws import ABSORBING, ASSOCIATIVE, CANCELLING, NEUTRAL

ANY_VERSION = 1 << 30
BROADCASTING = (7, ANY_VERSION)
"""Before operator set 7, operands were stretched by attributes."""
SMALL = 1024
"""Elements of a constant that is written into the model; a larger one is made when the model runs."""
NO_LAW = "no law speaks of such a constant"


def _names(table: dict[str, tuple[Law, ...]]) -> tuple[str, ...]:
    return tuple(sorted(name for names in table for name in names.split()))


@rule(op[_names(NEUTRAL)]("x", const("c")), opsets=BROADCASTING, shared=True)
def neutral_constant(x: Value, c: Any, root: Node, graph: Graph, fast: Granted) -> Any:
    """x + 0 is x where the sign of a zero does not matter, and so on."""
    fused = part_of_fusion(root)
    require(fused is None, fused or "")
    return _left_alone(x, c, root, graph, fast)


@rule(op[_names(NEUTRAL)]("x", op.ConstantOfShape("shape").named("fill")), opsets=(9, ANY_VERSION), shared=True)
def neutral_fill(x: Value, fill: Node, root: Node, graph: Graph, fast: Granted) -> Any:
    """The same of a tensor that is filled with a number when the model runs."""
    number = getattr(fill.attribute("value"), "values", fill.attribute("value"))
    return _left_alone(x, np.zeros(1, np.float32) if number is None else np.asarray(number), root, graph, fast)


def _left_alone(x: Value, constant: np.ndarray, root: Node, graph: Graph, fast: Granted) -> Value:
    law = _law_for(root, "neutral", x, constant)
    require(graph.model.facts.shapes.same(x.dims, root.outputs[0].dims), "the constant may widen the operand")
    fast.take(law.needs)
    return x


@rule(op[_names(ABSORBING)]("x", const("c")), opsets=BROADCASTING, shared=True)
def absorbing_constant(x: Value, c: Any, root: Node, graph: Graph, fast: Granted) -> Any:
    """x * 0 is 0, and so on: of integers and bools always, of floats where NaN and infinities don't occur."""
    law = _law_for(root, "absorbing", x, c)
    replacement = _filled(root, x, law.result, graph)
    fast.take(law.needs)
    return replacement


@rule(op[_names(CANCELLING)]("x", "x"), opsets=BROADCASTING, shared=True)
def equal_operands(x: Value, root: Node, graph: Graph, fast: Granted) -> Any:
    """x - x is 0 and x / x is 1 where NaN and infinities don't occur; comparisons of a value with itself are known."""
    found = next(laws(root.domain, root.op, "cancelling", x.elem_type), None)
    law = known(found, "no law speaks of operands of this type")
    replacement = _filled(root, x, law.result, graph)
    fast.take(law.needs)
    return replacement


@rule(op[_names(ASSOCIATIVE)](op[_names(ASSOCIATIVE)]("x", const("c")).named("inner"), const("d")), opsets=BROADCASTING)
def combine_constants(x: Value, c: Any, d: Any, inner: Node, root: Node, fast: Granted) -> Any:
    """(x + c) + d is x + (c + d): of integers to the bit, of floats where they may be rounded in another order."""
    require(inner.op == root.op, "two different operators")
    found = next(laws(root.domain, root.op, "associative", x.elem_type), None)
    law = known(found, "no law speaks of operands of this type")
    require(c.dtype == d.dtype and c.dtype.kind != "O", "the constants differ in type")
    combined = _combined(root.op, c, d)
    require(combined.size <= max(c.size, d.size), "the constants together are larger than each")
    for node in (inner, root):
        fused = part_of_fusion(node)
        require(fused is None, fused or "")
    fast.take(law.needs)
    return op[root.op](x, combined)


_UFUNCS: dict[str, Any] = {
    "Add": np.add, "Mul": np.multiply, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}  # fmt: skip


def _combined(name: str, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """What the operator makes of two constants: floats in double precision, rounded once, integers as they wrap."""
    if c.dtype.kind in "biu":
        return np.asarray(_UFUNCS[name](c, d))
    wide = _UFUNCS[name](c.astype(np.float64), d.astype(np.float64))
    result = np.asarray(wide.astype(c.dtype))
    finite = np.isfinite(c.astype(np.float64)).all() and np.isfinite(d.astype(np.float64)).all()
    require(finite and np.isfinite(result.astype(np.float64)).all(), "the constants together would not be finite")
    require(name != "Mul" or ((result != 0) | (wide == 0)).all(), "the constants together would vanish")
    return result


def _law_for(node: Node, trait: str, x: Value, constant: np.ndarray) -> Law:
    """What a table states of a node with this constant beside `x`."""
    require(x.constant is None, "both operands are constants: that is for folding")
    side = 1 if node.inputs[0] is x else 0
    stated = laws(node.domain, node.op, trait, x.elem_type)
    return known(next((law for law in stated if law.holds_for(constant, side)), None), NO_LAW)


def _filled(root: Node, x: Value, number: Any, graph: Graph) -> Any:
    """A tensor of the result's type and dims that holds `number` everywhere."""
    result = root.outputs[0]
    dtype = known(types.numpy_dtype(result.elem_type), "the type of the result is unknown")
    scalar = np.full(1, number).astype(dtype)
    dims = known(result.dims, "the rank of the result is unknown")
    if all(isinstance(dim, int) for dim in dims) and int(np.prod(dims, dtype=np.float64)) <= SMALL:
        return np.full(dims, scalar[0], dtype)
    require(graph.opset >= 9, "there is no ConstantOfShape before operator set 9")
    require(dtype.kind != "V" or graph.opset >= 20, "there is no ConstantOfShape of this type")
    require(graph.model.facts.shapes.same(x.dims, dims), "the constant may widen the operand")
    return op.ConstantOfShape(op.Shape(x), value=scalar)


RULES = [neutral_constant, neutral_fill, absorbing_constant, equal_operands, combine_constants]
