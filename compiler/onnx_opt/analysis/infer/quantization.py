"""Quantization, and the operators on quantized data that are no convolutions or products."""

from __future__ import annotations

from onnx import TensorProto

from onnx_opt.analysis.infer.elementwise import broadcast
from onnx_opt.analysis.infer.registry import MICROSOFT, NodeView, axis_of, infer
from onnx_opt.types import TensorType, Type

FLOAT, UINT8 = int(TensorProto.FLOAT), int(TensorProto.UINT8)


@infer("QuantizeLinear", elem=-1)
@infer("QuantizeLinear", domain=MICROSOFT, elem=-1)
def quantize(n: NodeView) -> Type:
    """The element type of the zero point, else `output_dtype`, else uint8."""
    elem_type = n.elem(2) if n.present(2) else int(n.attr("output_dtype", 0)) or UINT8
    return TensorType(elem_type, n.dims(0))


@infer("DequantizeLinear", elem=-1)
@infer("DequantizeLinear", domain=MICROSOFT, elem=-1)
def dequantize(n: NodeView) -> Type:
    """The element type of the scale (float before version 19), else `output_dtype`."""
    return TensorType(int(n.attr("output_dtype", 0)) or n.elem(1), n.dims(0))


@infer("DynamicQuantizeLinear", kind=UINT8)
def dynamic_quantize(n: NodeView) -> list[Type | None]:
    """The quantized data, its scale and its zero point."""
    return [TensorType(UINT8, n.dims(0)), TensorType(FLOAT, ()), TensorType(UINT8, ())]


@infer("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def qlinear_arithmetic(n: NodeView) -> Type:
    """Two quantized operands that broadcast."""
    return TensorType(n.elem(0), broadcast(n.shapes, n.dims(0), n.dims(3)))


@infer("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax", domain=MICROSOFT)
def qlinear_unary(n: NodeView) -> Type:
    """One quantized operand."""
    return n.tensor(0)


@infer("QLinearConcat", domain=MICROSOFT, elem=2)
def qlinear_concat(n: NodeView) -> Type:
    """Quantized operands (each with scale and zero point, from the third on) joined along `axis`."""
    parts = [n.known_dims(index) for index in range(2, len(n.types), 3)]
    axis = axis_of(int(n.attr("axis", 0)), len(parts[0]))
    total = parts[0][axis]
    for part in parts[1:]:
        total = n.shapes.add(total, part[axis])
    return n.result(n.elem(2), (*parts[0][:axis], total, *parts[0][axis + 1 :]))
