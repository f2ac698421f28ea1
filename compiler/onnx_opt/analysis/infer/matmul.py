"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import TensorProto

from onnx_opt.analysis.infer.elementwise import broadcast
from onnx_opt.analysis.infer.registry import MICROSOFT, NodeView, Unknown, infer
from onnx_opt.types import Type

FLOAT, INT32 = int(TensorProto.FLOAT), int(TensorProto.INT32)


@infer("MatMul")
def matmul(n: NodeView) -> Type:
    """[..., M, K] x [..., K, N] -> [..., M, N], as numpy.matmul."""
    return _matmul(n, n.elem(0), n.known_dims(0), n.known_dims(1))


@infer("MatMulInteger", kind=INT32)
def matmul_integer(n: NodeView) -> Type:
    """A product of 8-bit integers, accumulated in 32 bits."""
    return _matmul(n, INT32, n.known_dims(0), n.known_dims(1))


@infer("MatMulIntegerToFloat", domain=MICROSOFT, elem=2)
def matmul_integer_to_float(n: NodeView) -> Type:
    """A product of 8-bit integers, scaled."""
    return _matmul(n, n.elem(2), n.known_dims(0), n.known_dims(1))


@infer("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(n: NodeView) -> Type:
    """A product of data that is quantized on the way and of quantized weights."""
    return _matmul(n, n.elem(0), n.known_dims(0), n.known_dims(1))


@infer("QLinearMatMul", elem=7)
@infer("QLinearMatMul", domain=MICROSOFT, elem=7)
def qlinear_matmul(n: NodeView) -> Type:
    """A product of quantized data; the zero point of the result gives its type."""
    return _matmul(n, n.elem(7), n.known_dims(0), n.known_dims(3))


@infer("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(n: NodeView) -> Type:
    """A product of operands that are transposed on the way."""
    if n.attr("transBatchA", 0) or n.attr("transBatchB", 0):
        raise Unknown
    a = _transposed(n.known_dims(0), bool(n.attr("transA", 0)))
    b = _transposed(n.known_dims(1), bool(n.attr("transB", 0)))
    return _matmul(n, n.elem(0), a, b)


def _transposed(dims: tuple[Any, ...], swap: bool) -> tuple[Any, ...]:
    return (*dims[:-2], dims[-1], dims[-2]) if swap and len(dims) > 1 else dims


def _matmul(n: NodeView, elem_type: int, a: Sequence[Any], b: Sequence[Any]) -> Type:
    if not a or not b:
        raise Unknown
    batch = broadcast(n.shapes, a[:-2], b[:-2])
    rows = a[-2:-1] if len(a) > 1 else ()
    columns = b[-1:] if len(b) > 1 else ()
    return n.result(elem_type, (*(batch or ()), *rows, *columns))


@infer("Gemm")
@infer("FusedGemm", domain=MICROSOFT)
def gemm(n: NodeView) -> Type:
    """[M, K] x [K, N] + C -> [M, N]."""
    return _gemm(n, n.elem(0), n.dims(0), n.dims(1))


def _gemm(n: NodeView, elem_type: int, a: Sequence[Any] | None, b: Sequence[Any] | None) -> Type:
    rows = a[1 if n.attr("transA", 0) else 0] if a is not None and len(a) == 2 else n.fresh()
    columns = b[0 if n.attr("transB", 0) else 1] if b is not None and len(b) == 2 else n.fresh()
    return n.result(elem_type, (rows, columns))


@infer("QGemm", domain=MICROSOFT, elem=-1)
def qgemm(n: NodeView) -> Type:
    """A product of quantized matrices, quantized again where a zero point says how, else in float."""
    elem_type = n.elem(8) if n.present(8) else n.elem(1) if not n.present(7) else 0
    return _gemm(n, elem_type, n.dims(0), n.dims(3))


@infer("MatMulNBits", domain=MICROSOFT)
def matmul_nbits(n: NodeView) -> Type:
    """[..., K] x weights packed from [N, K] -> [..., N]."""
    data = n.known_dims(0)
    if not data or not n.attr("N"):
        raise Unknown
    return n.result(n.elem(0), (*data[:-1], int(n.attr("N"))))


@infer("Einsum")
def einsum(n: NodeView) -> Type:
    """A sum over products that an equation in index letters describes."""
    equation = n.text("equation", "").replace(" ", "")
    operands, arrow, result = equation.partition("->")
    terms = operands.split(",")
    if len(terms) != len(n.types) or "..." in equation:
        raise Unknown
    sizes: dict[str, Any] = {}
    for index, term in enumerate(terms):
        dims = n.known_dims(index)
        if len(dims) != len(term) or not term.isalpha():
            raise Unknown
        for letter, dim in zip(term, dims, strict=True):
            sizes[letter] = n.shapes.broadcast(sizes[letter], dim) if letter in sizes else dim
    if not arrow:
        letters = operands.replace(",", "")
        result = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    if not set(result) <= sizes.keys():
        raise Unknown
    return n.result(n.elem(0), [sizes[letter] for letter in result])
