"""Unsigned bytes that are moved, for runtimes that have them at inputs and outputs of a model alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt.ir import Node, Value
from onnx_opt.rewrite import known, op, require, rest, rule
from onnx_opt_rules.legalize.quantization import require_plain

MOVES = (
    "Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "GatherElements",
    "GatherND", "Expand", "Tile", "DepthToSpace", "SpaceToDepth",
)  # fmt: skip
"""Operators whose result holds elements of the first operand and nothing else, of whatever type it is."""
WANTED = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT64})
"""Types that all of them take in every version."""


@rule(op.Cast(op[MOVES]("x", rest("operands")).named("move")).named("cast"), shared=True)
def bytes_cast_before_they_move(x: Value, operands: list[Value], move: Node, cast: Node) -> Any:
    """Unsigned bytes are cast before they are moved: cast(move(x)) = move(cast(x)), element by element."""
    if x.elem_type != TensorProto.UINT8:
        return None
    require_plain(cast)
    wanted = cast.outputs[0].elem_type
    require(wanted in WANTED, "operators that move elements may not take the wanted type")
    others = (operand if operand.name else None for operand in operands)
    return op[move.op](op.Cast(x, to=wanted), *others, **dict(move.attrs))


@rule(op[MOVES](op.Cast("x").named("cast"), rest("operands")).named("move"))
def moved_before_cast_to_bytes(x: Value, operands: list[Value], cast: Node, move: Node) -> Any:
    """What becomes unsigned bytes is moved before that: move(cast(x)) = cast(move(x)), element by element."""
    if cast.outputs[0].elem_type != TensorProto.UINT8:
        return None
    require_plain(cast)
    is_block = move.op in ("DepthToSpace", "SpaceToDepth")
    taken = (TensorProto.FLOAT,) if is_block else WANTED
    require(x.elem_type in taken, "runtimes may not move elements of the type that is cast")
    others = (operand if operand.name else None for operand in operands)
    return op.Cast(op[move.op](x, *others, **dict(move.attrs)), to=TensorProto.UINT8)


@rule(op.Shape(op.Transpose("x", perm="perm")).named("shape"), exact=True, shared=True)
def shape_of_transposed_bytes(x: Value, perm: list[int] | None, shape: Node) -> Any:
    """The shape of transposed unsigned bytes is that of the bytes, in another order."""
    if x.elem_type != TensorProto.UINT8:
        return None
    axes = known(perm, "the dims are reversed, however many there are")
    part = axes[slice(shape.attribute("start", 0), shape.attribute("end"))]  # both clamp alike
    return op.Gather(op.Shape(x), np.array(part, np.int64), axis=0)
