"""Transposes that merge, vanish, become a Reshape, or go into what reads them: for every rank and permutation.

None of these rules transposes more bytes than it found.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt import types
from onnx_opt.ir import Graph, Node, Value
from onnx_opt.layout.perms import compose, inverse, is_identity, moves_nothing
from onnx_opt.layout.views import shape_operand
from onnx_opt.rewrite import anyof, domain, known, op, opt, require, rest, rule
from onnx_opt.target import CONTRIB, Target
from onnx_opt_rules.runtime_fusions import INTEGERS, in_integers

ANY_VERSION = 1 << 30
NOT_A_SWAP = "the Transpose does not swap the last two dims alone"


def permutation(perm: Any, rank: int | None) -> tuple[int, ...]:
    """The permutation of a Transpose of `rank` dims; without the attribute, it reverses them."""
    if not perm:
        return tuple(range(known(rank, "the rank of the operand is unknown")))[::-1]
    require(sorted(perm) == list(range(len(perm))), "the attribute is no permutation")
    require(rank is None or len(perm) == rank, "the permutation does not fit the operand")
    return tuple(perm)


def require_swap(perm: Any, x: Value) -> None:
    """Decline unless a Transpose of `x` swaps the last two dims and leaves the others."""
    found = permutation(perm, x.rank)
    rank = len(found)
    require(rank >= 2 and found == (*range(rank - 2), rank - 1, rank - 2), NOT_A_SWAP)


# -- with another Transpose, or alone ----------------------------------------------------------------------------------


@rule(op.Transpose(op.Transpose("x", perm="p").named("inner"), perm="q"), shared=True, exact=True)
def merge_transposes(x: Value, p: Any, q: Any, inner: Node) -> Any:
    """Two transposes in a row are one, or none."""
    rank = len(p or q or ()) or x.rank
    first, then = permutation(p, rank), permutation(q, rank)
    perm = compose(first, then)
    if is_identity(perm):
        return x
    if x.dims is not None and len(inner.outputs[0].uses) > 1:
        is_free = moves_nothing(then, [x.dims[axis] for axis in first])
        require(not is_free or moves_nothing(perm, x.dims), "the second one only moves dims of size 1")
    return op.Transpose(x, perm=perm)


@rule(op.Transpose("x", perm="p"), shared=True, exact=True, opsets=(5, ANY_VERSION))
def transpose_to_reshape(x: Value, p: Any) -> Any:
    """A Transpose that only moves dims of size 1 is a Reshape."""
    dims = known(x.dims, "the rank of the operand is unknown")
    perm = permutation(p, len(dims))
    require(moves_nothing(perm, dims), "dims of more than one element change their order")
    if is_identity(perm):
        return x
    shape = known(shape_operand(dims, [dims[axis] for axis in perm]), "several dims are not known")
    return op.Reshape(x, np.array(shape, np.int64))


# -- into matrix products ----------------------------------------------------------------------------------------------


@rule(op.Gemm(op.Transpose("a", perm="p"), "b", opt("c")).named("gemm"), shared=True)
def transpose_into_gemm_a(a: Value, b: Value, c: Value | None, p: Any, gemm: Node) -> Any:
    """Gemm transposes its first operand by a flag."""
    require_swap(p, a)
    return _gemm(gemm, a, b, c, "transA")


@rule(op.Gemm("a", op.Transpose("b", perm="p"), opt("c")).named("gemm"), shared=True)
def transpose_into_gemm_b(a: Value, b: Value, c: Value | None, p: Any, gemm: Node) -> Any:
    """Gemm transposes its second operand by a flag."""
    require_swap(p, b)
    return _gemm(gemm, a, b, c, "transB")


def _gemm(gemm: Node, a: Value, b: Value, c: Value | None, flag: str) -> Any:
    attrs = {**gemm.attrs, flag: int(not gemm.attribute(flag, 0))}
    return op.Gemm(a, b, c, **attrs) if c is not None else op.Gemm(a, b, **attrs)


@rule(
    anyof(op.MatMul(op.Transpose("x", perm="p").named("left"), "y"), op.MatMul("x", op.Transpose("y", perm="p"))),
    opsets=(11, ANY_VERSION),
)
def transposed_matrix_product(x: Value, y: Value, p: Any, left: Node | None) -> Any:
    """A product of two matrices, one of them transposed, is a Gemm with a flag."""
    require(x.rank == 2 and y.rank == 2, "Gemm takes matrices only")
    require(types.is_float(x.elem_type), "Gemm of integers is slow or missing")
    require_swap(p, x if left is not None else y)
    return op.Gemm(x, y, transA=1) if left is not None else op.Gemm(x, y, transB=1)


FUSED = domain(CONTRIB).FusedMatMul


@rule(
    anyof(
        op.MatMul(op.Transpose("x", perm="p").named("left"), "y").named("product"),
        op.MatMul("x", op.Transpose("y", perm="p")).named("product"),
        FUSED(op.Transpose("x", perm="p").named("left"), "y").named("product"),
        FUSED("x", op.Transpose("y", perm="p")).named("product"),
    )
)
def transpose_into_fused_matmul(
    x: Value, y: Value, p: Any, left: Node | None, product: Node, target: Target, graph: Graph
) -> Any:
    """ONNX Runtime's own product of matrices transposes either operand by a flag."""
    require(target.supports("FusedMatMul", CONTRIB), f"{target.name} has no FusedMatMul")
    require(types.is_float(x.elem_type) and x.elem_type != TensorProto.BFLOAT16, "FusedMatMul has no such type")
    require(min(x.rank or 0, y.rank or 0) >= 2, "FusedMatMul takes no notice of its flags beside a vector")
    require(not any(product.attribute(f"transBatch{side}", 0) for side in "AB"), "its batch dims are moved already")
    require(not in_integers(x, y), INTEGERS)
    require_swap(p, x if left is not None else y)
    empty = x.rank != y.rank and not all(graph.model.facts.shapes.at_least(dim, 1) for dim in (x.dims or ())[:-2])
    require(left is None or not empty, "FusedMatMul refuses a batch that may be empty beside a matrix")
    flag = "transA" if left is not None else "transB"
    return FUSED(x, y, **{**product.attrs, flag: int(not product.attribute(flag, 0))})


# -- into Einsum and Shape ---------------------------------------------------------------------------------------------


def _terms(equation: str) -> tuple[list[str], str]:
    """The letters of the operands and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    require(arrow and "." not in equation, "the equation has an ellipsis or no result")
    return left.split(","), right


TRANSPOSED = op.Transpose("x", perm="p").named("transpose")


@rule(
    anyof(
        op.Einsum(TRANSPOSED, equation="equation"),
        op.Einsum(TRANSPOSED, "y", equation="equation"),
        op.Einsum("y", TRANSPOSED, equation="equation"),
    ),
    shared=True,
)
def transpose_into_einsum(x: Value, p: Any, transpose: Node, equation: Any, root: Node) -> Any:
    """An Einsum reads a transposed operand by naming its dims in another order."""
    letters, result = _terms(equation)
    operands = list(root.inputs)
    index = next(i for i, value in enumerate(operands) if value.producer is transpose)
    perm = permutation(p, x.rank)
    require(len(perm) == len(letters[index]), "the equation does not fit its operand")
    operands[index] = x
    letters[index] = "".join(letters[index][place] for place in inverse(perm))
    return op.Einsum(*operands, equation=f"{','.join(letters)}->{result}")


@rule(op.Transpose(op.Einsum(rest("operands"), equation="equation"), perm="p"))
def transpose_of_einsum(operands: list[Value], equation: Any, p: Any) -> Any:
    """An Einsum gives its result in any order."""
    letters, result = _terms(equation)
    perm = permutation(p, len(result))
    return op.Einsum(*operands, equation=f"{','.join(letters)}->{''.join(result[axis] for axis in perm)}")


@rule(op.Einsum("x", equation="equation"), exact=True)
def einsum_to_transpose(x: Value, equation: Any) -> Any:
    """An Einsum of one operand that only reorders dims is a Transpose."""
    (letters, *others), result = _terms(equation)
    require(not others and len(set(letters)) == len(letters) and sorted(letters) == sorted(result), "it computes")
    return op.Transpose(x, perm=[letters.index(letter) for letter in result])


@rule(op.Shape(op.Transpose("x", perm="p")), shared=True, exact=True)
def shape_of_transpose(x: Value, p: Any, root: Node) -> Any:
    """The shape of a transposed value is the shape of the value, in another order."""
    transposed = root.inputs[0]
    readers = list(transposed.users)
    require(not transposed.is_graph_output, f"'{transposed.name}' is a graph output")
    require(all(user.op == "Shape" and not user.domain for user in readers), "the Transpose has other readers")
    perm = permutation(p, x.rank)
    start, end = root.attribute("start", 0), root.attribute("end", len(perm))
    return op.Gather(op.Shape(x), np.array(perm[slice(start, end)], np.int64), axis=0)


MERGE = [merge_transposes]
"""What makes one Transpose of several. The layout pass counts on it."""
ABSORB = [
    transpose_into_gemm_a, transpose_into_gemm_b, transposed_matrix_product, transpose_into_einsum,
    transpose_of_einsum, einsum_to_transpose, shape_of_transpose,
]  # fmt: skip
RULES = [*MERGE, *ABSORB, transpose_into_fused_matmul, transpose_to_reshape]
