"""Every row of the layout table: the operator between two Transposes, for many permutations, static and dynamic."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, defs

import onnx_opt
from layout_models import Net, count, kinds, optimized, transposed_bytes
from onnx_opt import traits
from onnx_opt.ir import Node
from onnx_opt.layout.behaviour import TRAIT, Fixed, Refused, Slot, behaviour_of
from onnx_opt.layout.perms import inverse
from onnx_opt_rules.tables.layout import OF_OTHER_DOMAINS, ROWS

DIMS = [2, 3, 4, 5]
INT64 = np.int64


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, INT64)


def floats(*dims: int) -> np.ndarray:
    return np.linspace(0.5, 2, int(np.prod(dims)), dtype=np.float32).reshape(dims)


def permuted_dims(perm: tuple[int, ...]) -> list[int]:
    return [DIMS[axis] for axis in perm]


# Each takes the net, the transposed value and its dims, and returns a result of the same rank.
SAME_RANK: dict[str, tuple[int, Callable[[Net, str, list[int]], str]]] = {
    "Relu": (17, lambda net, a, dims: net.op("Relu", a)),
    "Clip": (17, lambda net, a, dims: net.op("Clip", a, np.float32(-1), np.float32(1))),
    "Cast": (17, lambda net, a, dims: net.op("Cast", net.op("Cast", a, to=TensorProto.DOUBLE), to=TensorProto.FLOAT)),
    "Add a vector": (17, lambda net, a, dims: net.op("Add", a, floats(dims[-1]))),
    "Mul by a column": (17, lambda net, a, dims: net.op("Mul", floats(dims[1], 1, 1), a)),
    "Sub a scalar": (17, lambda net, a, dims: net.op("Sub", a, np.float32(2))),
    "PRelu": (17, lambda net, a, dims: net.op("PRelu", a, floats(dims[1], 1, 1))),
    "Where": (17, lambda net, a, dims: net.op("Where", floats(dims[-2], 1) > 1, a, floats(*dims))),
    "Max of three": (17, lambda net, a, dims: net.op("Max", a, floats(1), floats(*dims))),
    "Concat": (17, lambda net, a, dims: net.op("Concat", a, floats(*dims), a, axis=-2)),
    "Softmax": (17, lambda net, a, dims: net.op("Softmax", a, axis=1)),
    "Softmax of old": (11, lambda net, a, dims: net.op("Softmax", a, axis=2)),
    "LogSoftmax": (17, lambda net, a, dims: net.op("LogSoftmax", a)),
    "CumSum": (17, lambda net, a, dims: net.op("CumSum", a, INT64(-1), reverse=1)),
    "Pad": (17, lambda net, a, dims: net.op("Pad", a, ints(0, 1, 2, 0, 1, 0, 0, 3), np.float32(1))),
    "Pad of old": (7, lambda net, a, dims: net.op("Pad", a, pads=[0, 1, 2, 0, 1, 0, 0, 3])),
    "Pad along axes": (18, lambda net, a, dims: net.op("Pad", a, ints(1, 2, 0, 3), np.float32(1), ints(-1, 1))),
    "Slice": (17, lambda net, a, dims: net.op("Slice", a, ints(1, -2), ints(9, 9), ints(-2, 0), ints(1, 1))),
    "Slice of all": (17, lambda net, a, dims: net.op("Slice", a, ints(0, 1, 0, 1), ints(1, 3, 2, 2))),
    "Slice of old": (7, lambda net, a, dims: net.op("Slice", a, axes=[1, 2], starts=[0, 1], ends=[2, 9])),
    "Expand": (17, lambda net, a, dims: net.op("Expand", net.op("ReduceMax", a, axes=[1]), ints(*dims))),
    "Tile": (17, lambda net, a, dims: net.op("Tile", a, ints(1, 2, 3, 1))),
    "Gather a list": (17, lambda net, a, dims: net.op("Gather", a, ints(1, 0, 1), axis=2)),
    "GatherElements": (17, lambda net, a, dims: net.op("GatherElements", a, np.zeros(dims, INT64), axis=1)),
    "ScatterElements": (
        17,
        lambda net, a, dims: net.op("ScatterElements", a, np.ones((1, 1, 1, 2), INT64), floats(1, 1, 1, 2), axis=3),
    ),
    "ReduceMean": (17, lambda net, a, dims: net.op("ReduceMean", a, axes=[1, -1])),
    "ReduceSum": (17, lambda net, a, dims: net.op("ReduceSum", a, ints(2))),
    "ReduceMax of all": (17, lambda net, a, dims: net.op("ReduceMax", a)),
    "ReduceMean of none": (18, lambda net, a, dims: net.op("ReduceMean", a, noop_with_empty_axes=1)),
    "ArgMax": (17, lambda net, a, dims: net.op("Cast", net.op("ArgMax", a, axis=1), to=TensorProto.FLOAT)),
    "LpNormalization": (17, lambda net, a, dims: net.op("LpNormalization", a, axis=1)),
    "Trilu": (17, lambda net, a, dims: net.op("Trilu", a)),
    "MatMul": (17, lambda net, a, dims: net.op("MatMul", a, floats(dims[-1], 3))),
    "MatMul of many": (17, lambda net, a, dims: net.op("MatMul", a, floats(dims[0], dims[1], dims[3], 2))),
    "LayerNormalization": (
        17,
        lambda net, a, dims: net.op("LayerNormalization", a, floats(*dims[2:]), floats(*dims[2:]), axis=2),
    ),
    "BatchNormalization": (
        17,
        lambda net, a, dims: net.op("BatchNormalization", a, *[floats(dims[1]) for _ in range(4)]),
    ),
    "InstanceNormalization": (17, lambda net, a, dims: net.op("InstanceNormalization", a, *[floats(dims[1])] * 2)),
    "GlobalAveragePool": (17, lambda net, a, dims: net.op("GlobalAveragePool", a)),
    "MaxPool": (17, lambda net, a, dims: net.op("MaxPool", a, kernel_shape=[1, 2], pads=[0, 1, 0, 0])),
    "MaxPool with indices": (17, lambda net, a, dims: net.op("MaxPool", a, kernel_shape=[1, 1], outputs=2)[0]),
    "AveragePool": (17, lambda net, a, dims: net.op("AveragePool", a, kernel_shape=[2, 1], strides=[1, 2])),
    "Conv": (
        17,
        lambda net, a, dims: net.op("Conv", a, floats(2, dims[1], 1, 2), pads=[0, 1, 2, 0], dilations=[2, 1]),
    ),
    "Conv of computed weights": (
        17,
        lambda net, a, dims: net.op("Conv", a, net.op("Exp", net.input("w", [2, dims[1], 1, 2]))),
    ),
    "ConvTranspose": (
        17,
        lambda net, a, dims: net.op(
            "ConvTranspose", a, floats(dims[1], 2, 3, 1), strides=[2, 1], output_padding=[1, 0], auto_pad="SAME_UPPER"
        ),
    ),
    "QLinearConv": (17, lambda net, a, dims: quantized_conv(net, a, dims[1])),
    "LRN": (17, lambda net, a, dims: net.op("LRN", a, size=3)),
    "CenterCropPad": (18, lambda net, a, dims: net.op("CenterCropPad", a, ints(2, 9), axes=[1, -1])),
    "CenterCropPad of all": (18, lambda net, a, dims: net.op("CenterCropPad", a, ints(4, 3, 2, 5))),
    "ReverseSequence": (
        17,
        lambda net, a, dims: net.op("ReverseSequence", a, np.full(dims[1], 2, INT64), batch_axis=1, time_axis=0),
    ),
    "Resize of 10": (10, lambda net, a, dims: net.op("Resize", a, np.array([1, 1, 2, 2], np.float32))),
    "Upsample": (9, lambda net, a, dims: net.op("Upsample", a, np.array([1, 1, 2, 2], np.float32))),
    "Upsample of old": (7, lambda net, a, dims: net.op("Upsample", a, scales=[1.0, 1.0, 2.0, 2.0])),
    "QLinearMatMul": (17, lambda net, a, dims: quantized_product(net, a, dims)),
    "Quantized per tensor": (17, lambda net, a, dims: quantized(net, a, floats(1)[0], {})),
    "Quantized by blocks": (21, lambda net, a, dims: quantized_blocks(net, a, dims)),
    "Quantized per axis": (17, lambda net, a, dims: quantized(net, a, floats(dims[1]), {"axis": 1})),
    "Unsqueeze and Squeeze": (17, lambda net, a, dims: net.op("Squeeze", net.op("Unsqueeze", a, ints(2)), ints(2))),
    "Squeeze of old": (11, lambda net, a, dims: net.op("Squeeze", net.op("Unsqueeze", a, axes=[0, 3]), axes=[0, 3])),
    "Reshape and back": (
        17,
        lambda net, a, dims: net.op("Reshape", net.op("Reshape", a, ints(dims[0], -1, dims[3])), ints(*dims)),
    ),
    "Split and Concat": (
        17,
        lambda net, a, dims: net.op(
            "Concat", *net.op("Split", a, ints(1, dims[1] - 1), outputs=2, axis=1)[::-1], axis=1
        ),
    ),
    "TopK": (17, lambda net, a, dims: net.op("TopK", a, ints(2), outputs=2, axis=1)[0]),
    "Compress": (17, lambda net, a, dims: net.op("Compress", a, np.array([False, True]), axis=1)),
    "Dropout": (17, lambda net, a, dims: net.op("Dropout", a)),
}


def quantized(net: Net, a: str, scale: Any, attrs: dict[str, Any]) -> str:
    scale = np.asarray(scale, np.float32) / 50
    return quantized_by(net, a, scale, np.zeros(scale.shape, np.int8), **attrs)


def quantized_conv(net: Net, a: str, channels: int) -> str:
    scale, zero = np.float32(0.02), np.int8(0)
    weights = np.arange(2 * channels * 2, dtype=np.int8).reshape(2, channels, 2, 1)
    made = net.op(
        "QLinearConv", net.op("QuantizeLinear", a, scale, zero), scale, zero, weights, scale, zero, scale, zero
    )
    return net.op("DequantizeLinear", made, scale, zero)


def quantized_product(net: Net, a: str, dims: list[int]) -> str:
    scale, zero = np.float32(0.02), np.int8(0)
    weights = np.arange(dims[3] * 2, dtype=np.int8).reshape(dims[3], 2)
    operands = (net.op("QuantizeLinear", a, scale, zero), scale, zero, weights, scale, zero, scale, zero)
    return net.op("DequantizeLinear", net.op("QLinearMatMul", *operands), scale, zero)


def quantized_blocks(net: Net, a: str, dims: list[int]) -> str:
    blocks = [*dims[:2], -(-dims[2] // 2), dims[3]]
    scale, zero = floats(*blocks) / 50, np.zeros(blocks, np.int8)
    return quantized_by(net, a, scale, zero, axis=2, block_size=2)


def quantized_by(net: Net, a: str, scale: Any, zero: Any, **attrs: Any) -> str:
    return net.op("DequantizeLinear", net.op("QuantizeLinear", a, scale, zero, **attrs), scale, zero, **attrs)


BOUND = {"MaxPool with indices"}
"""Operators that no permutation passes."""
PERMS = [(0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 1, 3), (0, 1, 3, 2), (1, 0, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (0, 3, 2, 1)]


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", SAME_RANK)
def test_between_transposes(name, dynamic):
    opset, build = SAME_RANK[name]
    passed = 0
    for perm in PERMS:
        net = Net(opset)
        x = net.input("x", ["N", *DIMS[1:3], "W"] if dynamic and not _needs_sizes(name) else DIMS)
        a = net.transpose(x, perm)
        b = build(net, a, permuted_dims(perm))
        net.output(net.transpose(b, inverse(perm)))
        model = net.model()
        result, _ = optimized(model)
        assert count(result, "Transpose") <= 2, perm
        assert transposed_bytes(result) <= transposed_bytes(model), perm
        passed += count(result, "Transpose") == 0
    assert (passed > 0) == (name not in BOUND), passed


@pytest.mark.parametrize(
    ("opset", "op", "operands", "attrs"),
    [
        (13, "MeanVarianceNormalization", [], {}),
        (13, "MeanVarianceNormalization", [], {"axes": [1, -1]}),
        (21, "GroupNormalization", [floats(3), floats(3)], {"num_groups": 1}),
    ],
)
def test_operators_that_onnx_cannot_infer(opset, op, operands, attrs):
    net = Net(opset)
    a = net.transpose(net.input("x", DIMS), [0, 1, 3, 2])
    net.output(net.transpose(net.op(op, a, *operands, **attrs), [0, 1, 3, 2]))
    result = onnx_opt.optimize(net.model(typed=False), passes="layout,cleanup")
    assert result.report.status == "proven"
    assert kinds(result.to_proto()) == [op]


def _needs_sizes(name: str) -> bool:
    """Whether the case itself holds constants of every size of its operand."""
    return name in {
        "Where",
        "Max of three",
        "Concat",
        "Expand",
        "GatherElements",
        "MatMul of many",
        "Reshape and back",
        "QLinearConv",
        "QLinearMatMul",
        "Quantized by blocks",
        "ReverseSequence",
    } or (
        name.startswith("Conv")
        or name in {"Add a vector", "MatMul", "LayerNormalization", "PRelu", "Mul by a column", "Quantized per axis"}
        or name.endswith("Normalization")
    )


DROPPING = {
    "Squeeze": lambda net, a: net.op("Squeeze", net.op("ReduceMax", a, axes=[1]), ints(1)),
    "ReduceMean": lambda net, a: net.op("ReduceMean", a, axes=[1], keepdims=0),
    "ReduceSum": lambda net, a: net.op("ReduceSum", a, ints(-3), keepdims=0),
    "ArgMin": lambda net, a: net.op("Cast", net.op("ArgMin", a, axis=1, keepdims=0), to=TensorProto.FLOAT),
    "Gather": lambda net, a: net.op("Gather", a, INT64(1), axis=1),
}


@pytest.mark.parametrize(("axis", "perm"), [(0, [1, 0, 2]), (0, [2, 1, 0]), (1, [0, 2, 1])])
def test_indices_are_transposed_instead_of_what_is_looked_up(axis, perm):
    net = Net()
    ids = net.input("ids", ["N", "L"], TensorProto.INT64)
    table = floats(5, 300) if axis == 0 else floats(300, 5)
    net.output(net.op("Exp", net.transpose(net.op("Gather", table, ids, axis=axis), perm)))
    result, _ = optimized(net.model())
    assert count(result, "Transpose") == 1
    assert (result.graph.node[0].op_type == "Transpose") == (perm != [2, 1, 0])


def test_an_axis_that_comes():
    net = Net()
    a = net.transpose(net.op("ArgMax", net.input("x", ["N", 3, 4, 5]), axis=-1), [0, 3, 1, 2])
    b = net.op("OneHot", net.op("Squeeze", a, ints(1)), INT64(5), floats(2), axis=1)
    net.output(net.transpose(net.op("Exp", b), [0, 2, 3, 1]))
    result, _ = optimized(net.model())
    assert count(result, "Transpose") == 0


@pytest.mark.parametrize("name", DROPPING)
def test_an_axis_that_goes(name):
    # The result has the remaining dims in the order of the Transpose: a smaller Transpose, or none, is left.
    for perm in PERMS:
        net = Net()
        a = net.transpose(net.input("x", ["N", 3, 4, "W"]), perm)
        net.output(net.op("Relu", DROPPING[name](net, a)))
        result, _ = optimized(net.model())
        remaining = [axis for axis in perm if axis != perm[1]]
        assert count(result, "Transpose") <= (0 if remaining == sorted(remaining) else 1), perm


@pytest.mark.parametrize(
    ("dims", "perm", "shape"),
    [
        (["N", 8, 4, 6], [0, 2, 3, 1], [0, -1, 8]),
        (["N", 8, 4, 6], [0, 3, 1, 2], [0, 6, 32]),
        ([2, 8, 4, 6], [0, 2, 3, 1], [2, 2, 2, 6, 8]),
        ([1, 8, 4, 6], [0, 2, 3, 1], [24, 8]),
    ],
)
def test_views_let_whole_groups_of_dims_pass(dims, perm, shape):
    net = Net()
    y = net.op("Reshape", net.transpose(net.input("x", dims), perm), ints(*shape))
    rank = len(shape)
    back = {3: [0, 2, 1], 5: [0, 4, 1, 2, 3], 2: [1, 0]}[rank]
    net.output(net.op("Relu", net.transpose(net.op("Sigmoid", y), back)))
    result, _ = optimized(net.model())
    assert count(result, "Transpose") == 0


def test_views_that_mix_dims_stay():
    net = Net()
    y = net.op("Reshape", net.transpose(net.input("x", [2, 8, 4, 6]), [0, 2, 3, 1]), ints(2, -1))
    net.output(net.op("Relu", y))
    result, context = optimized(net.model())
    assert count(result, "Transpose") == 1
    assert any("splits or merges dims" in reason for reason in context.journal.reasons())


def test_flatten_becomes_a_reshape_where_only_dims_of_one_move():
    net = Net()
    pooled = net.op("ReduceMean", net.input("x", ["N", 4, 4, 8]), axes=[1, 2])
    net.output(net.op("Flatten", net.transpose(pooled, [0, 3, 1, 2])))
    result, _ = optimized(net.model())
    assert count(result, "Transpose") == 0


def test_resize_moves_towards_channels_first_only():
    def model(perm, scales):
        net = Net()
        a = net.transpose(net.input("x", ["N", 3, 4, 5]), perm)
        b = net.op("Resize", a, np.zeros(0, np.float32), np.array(scales, np.float32))
        net.output(net.transpose(b, inverse(perm)))
        return net.model()

    result, _ = optimized(model([0, 2, 3, 1], [1, 2, 2, 1]))
    assert count(result, "Transpose") == 0
    result, _ = optimized(model([0, 3, 1, 2], [1, 1, 2, 2]))
    assert count(result, "Transpose") == 2


SCHEMAS = sorted({(schema.domain, schema.name) for schema in defs.get_all_schemas_with_history()})


@pytest.mark.parametrize(("domain", "op"), SCHEMAS)
def test_every_operator_of_the_standard_has_a_row(domain, op):
    has_row = traits.ask(domain, op, TRAIT) is not None
    if (domain, op) == ("", "Transpose"):
        assert not has_row, "what the solver is about has none"
    else:
        assert has_row != traits.is_elementwise(domain, op)


def test_every_row_names_an_operator_of_the_standard():
    assert {("", op) for ops in ROWS for op in ops.split()} <= set(SCHEMAS)
    others = {(domain, op) for domain, ops in OF_OTHER_DOMAINS for op in ops.split() if domain != "com.microsoft"}
    assert others <= set(SCHEMAS)


@pytest.mark.parametrize(("domain", "op"), [key for key in SCHEMAS if isinstance(traits.ask(*key, TRAIT), Fixed)])
def test_what_is_bound_to_its_layout_says_why(domain, op):
    node = Node(op, domain=domain)
    with pytest.raises(Refused, match=rf"\b{op}\b"):
        behaviour_of(node).place(node, Slot(0), (1, 0), lambda value: [])
