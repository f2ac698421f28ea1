"""The nodes that run on matrix units, and what these ask for: a dtype, aligned channels, a stride within the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt import types
from onnx_opt.channels.segments import Layout
from onnx_opt.target import CONTRIB

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node
    from onnx_opt.target import Target

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "FusedConv"})
PRODUCTS = frozenset({"Gemm", "MatMul", "FusedGemm"})
INPUT_CHANNELS = 4
"""As many channels suffice in a model's input: kernels for first layers take them (vendor's guide)."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A Conv, ConvTranspose, Gemm or MatMul. `takes` are the channels that it sums over, `gives` those that it
    computes, both for one group (of a depthwise one: for all); None where they are not followed."""

    node: Node
    takes: Layout | None
    gives: Layout | None


@dataclass(frozen=True)
class Product:
    """The sizes of a layer's matrix products: `k` channels are summed over, `n` computed, in each of `groups`. Dims
    that are only known when the model runs are None."""

    k: int | None
    n: int | None
    groups: int = 1

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is computed from one channel: there is no matrix product then."""
        return self.groups > 1 and self.k == 1

    @property
    def channels(self) -> tuple[int | None, int | None]:
        """(taken, given) by one group, or by a depthwise layer in all."""
        return (self.groups, self.groups * (self.n or 1)) if self.is_depthwise else (self.k, self.n)


def is_layer(node: Node) -> bool:
    """Whether a node is a Conv or a product."""
    domain = CONTRIB if node.op.startswith("Fused") else ""
    return node.domain == domain and node.op in CONVOLUTIONS | PRODUCTS


def layers_in(graph: Graph) -> Iterator[Node]:
    """The Convs and products of a graph."""
    return filter(is_layer, graph)


def product_of(node: Node) -> Product:
    """The sizes of a layer as the model has it."""
    a, b = node.inputs[0].dims, node.inputs[1].dims
    if node.op in CONVOLUTIONS:
        groups = int(node.attribute("group", 1))
        if b is None or len(b) < 2:
            return Product(None, None, groups)
        outer, inner = (_size(dim) for dim in b[:2])
        if outer is not None:
            outer //= groups
        return Product(outer, inner, groups) if node.op == "ConvTranspose" else Product(inner, outer, groups)
    if not a or not b:
        return Product(None, None)
    if node.op in ("Gemm", "FusedGemm"):
        return Product(
            _size(a[0 if node.attribute("transA", 0) else 1]), _size(b[0 if node.attribute("transB", 0) else 1])
        )
    return Product(_size(a[-1]), _size(b[-1]) if len(b) > 1 else 1)


def _size(dim: Any) -> int | None:
    return dim if isinstance(dim, int) else None


def arithmetic(node: Node) -> str:
    """The dtype that a layer computes in: of its operands, or the 8-bit type that both are dequantized from."""
    kinds = [_stored_type(node, index) for index in (0, 1)]
    if all(kind is not None and types.element_bits(kind) == 8 for kind in kinds):
        return "int8"
    dtype = types.numpy_dtype(node.inputs[0].elem_type)
    return "unknown" if dtype is None else str(np.dtype(dtype).name)


def _stored_type(node: Node, index: int) -> int | None:
    producer = node.inputs[index].producer
    if producer is None or producer.op != "DequantizeLinear":
        return None
    return producer.inputs[0].elem_type


def multiple_for(node: Node, target: Target, multiple: int | None = None) -> int:
    """What channels of a layer should be multiples of; 0 where its dtype does not run on matrix units."""
    dtype = arithmetic(node)
    if multiple is not None:
        return multiple if dtype in MATRIX_DTYPES else 0
    return target.alignment.get(dtype, 0)


MATRIX_DTYPES = frozenset({"float32", "float16", "bfloat16", "int8"})


def unfit(node: Node, target: Target, multiple: int | None = None) -> str:
    """Why a layer can't run on matrix units however its channels are padded; '' where it can."""
    product = product_of(node)
    if not multiple_for(node, target, multiple):
        return f"dtype: {target.name} has no matrix kernels for {arithmetic(node)}"
    if product.is_depthwise:
        return "groups: depthwise, there is no matrix product"
    if product.k is None or product.n is None:
        return "dynamic: its channels are only known when the model runs"
    if node.op in ("Conv", "FusedConv") and (wide := _wide_stride(node)):
        return wide
    return ""


def _wide_stride(node: Node) -> str:
    kernel = node.attribute("kernel_shape") or [dim for dim in (node.inputs[1].dims or ())[2:] if isinstance(dim, int)]
    strides = node.attribute("strides") or [1] * len(kernel)
    if any(stride > size for stride, size in zip(strides, kernel, strict=False)):
        return f"stride: {'x'.join(map(str, strides))} is larger than the kernel {'x'.join(map(str, kernel))}"
    return ""


def misaligned(node: Node, k: int, n: int, multiple: int) -> str:
    """Which of a layer's channels are no multiples; '' where all are."""
    at_input = (
        node.op in ("Conv", "FusedConv")
        and k == INPUT_CHANNELS
        and node.inputs[0].dims is not None
        and _reads_input(node)
    )
    wrong = [f"{k} in"] if k % multiple and not at_input else []
    if n % multiple:
        wrong.append(f"{n} out")
    groups = product_of(node).groups
    each = " in each group" if groups > 1 else ""
    return f"channels: {' and '.join(wrong)}{each}, no multiple of {multiple}" if wrong else ""


def _reads_input(node: Node) -> bool:
    value = node.inputs[0]
    return value.is_graph_input or (value.producer is not None and value.producer.op == "Pad")


def ineligible(node: Node, target: Target, multiple: int | None = None) -> str:
    """Why a layer, as it is, does not run on matrix units at full speed; '' where it does."""
    product = product_of(node)
    why = unfit(node, target, multiple)
    if why or product.k is None or product.n is None:
        return why
    return misaligned(node, product.k, product.n, multiple_for(node, target, multiple))


def rows_of(node: Node, count: int) -> int:
    """How many rows the matrix product of a layer has, where its result has `count` elements."""
    product = product_of(node)
    return max(count // max((product.n or 1) * product.groups, 1), 1)


def taps(node: Node) -> int:
    """How many products a channel of the result takes for each channel that is summed over: the size of the kernel."""
    dims = node.inputs[1].dims or ()
    return prod(dim for dim in dims[2:] if isinstance(dim, int)) if node.op in CONVOLUTIONS else 1
