"""Rules that say what a target can't run with what it can, by the name of what the target lacks.

Each is an equality that holds for every runtime; which of them a compilation needs, the target says: `Target.lacks`
names operators, `Target.lacks_forms` what it rejects of operators that it has, `Target.dtypes` its types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onnx_opt.ir import Graph
from onnx_opt.rewrite import Rule
from onnx_opt.target import Target
from onnx_opt_rules.legalize import bits, definitions, double, forms, moved_bytes, products, quantization

Group = Mapping[str, tuple[Rule, ...]]

FLOATS = frozenset({"float64"})
"""Types for which there are rules."""

GROUPS: tuple[Group, ...] = (
    {
        **dict.fromkeys(definitions.DEFINED, (definitions.by_definition,)),
        "LayerNormalization with statistics": (definitions.layer_normalization_with_statistics,),
        "Attention without a fused kernel": (definitions.attention,),
    },
    # First what covers more, so that little is left for the rules behind it.
    {
        "BitwiseAnd": (bits.lowest_bits,),
        "MatMulInteger": (products.matmul_of_integers_to_float,),
        "ConvInteger": (products.conv_of_integers_to_float,),
        "asymmetric quantization": (quantization.dequantized_constant, quantization.signed_bytes),
    },
    {
        "MatMulInteger": (products.matmul_of_integers,),
        "ConvInteger": (products.conv_of_integers,),
        "QLinearMatMul": (products.quantized_matmul,),
        "QLinearConv": (products.quantized_conv,),
        "DynamicQuantizeLinear": (products.quantize_by_range,),
        "asymmetric quantization": (quantization.quantize_in_float, quantization.dequantize_in_float),
    },
    {
        "BitwiseAnd": (bits.by_digits,),
        "BitwiseOr": (bits.by_digits,),
        "BitwiseXor": (bits.by_digits,),
        "BitwiseNot": (bits.not_of_bits,),
        "BitShift": (bits.shift_of_bits,),
        "MatMul of a vector and a stack": (forms.vector_times_matrices,),
        "MatMul of integers": (forms.product_of_integers,),
        "MaxPool with gaps": (forms.dilated_max_pool,),
        "ReduceMax of bools": (forms.reduction_of_bools,),
        "Relu of integers": (forms.relu_of_integers,),
        "Slice without axes": (forms.slice_of_the_first_axes,),
    },
    {
        "float64": (double.computed_in_fp32, double.filled_in_fp32),
    },
    {
        "float64": (double.through_fp64,),
        "unsigned bytes between nodes": (
            moved_bytes.bytes_cast_before_they_move,
            moved_bytes.moved_before_cast_to_bytes,
            moved_bytes.shape_of_transposed_bytes,
            quantization.whole_numbers_there_and_back,
        ),
    },
)
"""Rules by what a target lacks; one group after the other is applied until nothing matches."""


def groups_for(target: Target, floats: frozenset[str] = FLOATS) -> Iterator[tuple[Rule, ...]]:
    """The rules that a target needs, group by group, for models with these of the `FLOATS`."""
    missing = target.lacks | target.lacks_forms | (floats - target.dtypes)
    for group in GROUPS:
        rules = tuple({rule.name: rule for name, rules in group.items() if name in missing for rule in rules}.values())
        if rules:
            yield rules


def floats_in(graph: Graph) -> frozenset[str]:
    """Those of the `FLOATS` that occur in a model."""
    values = (value for inner in graph.model.all_graphs() for node in inner for value in (*node.inputs, *node.outputs))
    return FLOATS if any(value.name and value.elem_type == double.DOUBLE for value in values) else frozenset()


def helps(name: str) -> bool:
    """Whether there are rules for what a target lacks."""
    return any(name in group for group in GROUPS)
