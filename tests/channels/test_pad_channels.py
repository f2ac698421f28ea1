"""The `pad-channels` pass: before and after, and what it leaves alone."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from channel_models import expect_equal, outputs, padded, rows
from layout_models import Net, count, kinds
from onnx_opt.ir import load, to_bytes
from onnx_opt.journal import Journal
from onnx_opt.passes import PassContext
from onnx_opt.pipeline import Pipeline
from onnx_opt.validate import Reference, Verdict, prove
from onnx_opt.validate.special import SPECIAL_VALUES
from onnx_text import expect, expect_unchanged, parse, reasons, run

WHOLE = np.random.default_rng(0)


def whole(*dims: int) -> np.ndarray:
    return WHOLE.integers(-2, 3, dims).astype(np.float32)


def judged(model: onnx.ModelProto, padded: bytes) -> Verdict:
    """How the padded model does where the values of the original are finite."""
    return prove(Reference(model.SerializeToString(), absent=frozenset(SPECIAL_VALUES)), padded)


def two_convs(middle, opset: int = 17, channels: int = 3):
    """Conv, what `middle` adds, Conv; the channels between them are free."""
    net = Net(opset)
    x = net.input("x", ["N", 2, 8, 8])
    x = net.op("Conv", x, whole(channels, 2, 1, 1), whole(channels))
    net.output(net.op("Conv", middle(net, x), whole(4, channels, 1, 1)))
    return net.model()


def free(context, layer: int = -1) -> bool:
    """Whether the channels between the two Convs were padded."""
    return bool(list(rows(context).values())[layer][1])


# -- before and after --------------------------------------------------------------------------------------------------


def test_weights_and_biases_are_padded_and_the_output_is_cut() -> None:
    expect(
        """
        g (float[N,4,H,W] x) => (float[N,3,H,W] y)
        <float[2,4,1,1] v = {1,2,3,4,5,6,7,8}, float[2] b = {1,2}, float[3,2,1,1] w = {1,2,3,4,5,6}>
        { a = Conv(x, v, b)  c = Relu(a)  y = Conv(c, w) }
        """,
        """
        g (float[N,4,H,W] x) => (float[N,3,H,W] y)
        <float[4,4,1,1] v = {1,2,3,4,5,6,7,8,0,0,0,0,0,0,0,0}, float[4] b = {1,2,0,0},
         float[4,4,1,1] w = {1,2,0,0, 3,4,0,0, 5,6,0,0, 0,0,0,0}, int64[1] s = {0}, int64[1] e = {3}, int64[1] axes = {1}>
        { a = Conv(x, v, b)  c = Relu(a)  d = Conv(c, w)  y = Slice(d, s, e, axes) }
        """,
        "pad-channels{multiple=4}",
    )


def test_depthwise_groups_grow_with_their_channels() -> None:
    expect(
        """
        g (float[N,2,8,8] x) => (float[N,2,8,8] y)
        <float[3,2,1,1] v = {1,2,3,4,5,6}, float[3,1,1,1] d = {1,2,3}, float[2,3,1,1] w = {1,2,3,4,5,6}>
        { a = Conv(x, v)  b = Conv<group = 3>(a, d)  y = Conv(b, w) }
        """,
        """
        g (float[N,2,8,8] x) => (float[N,2,8,8] y)
        <float[4,2,1,1] v = {1,2,3,4,5,6,0,0}, float[4,1,1,1] d = {1,2,3,0}, float[2,4,1,1] w = {1,2,3,0,4,5,6,0}>
        { a = Conv(x, v)  b = Conv<group = 4>(a, d)  y = Conv(b, w) }
        """,
        "pad-channels{multiple=2}",
    )


def test_each_group_of_a_grouped_convolution_is_padded() -> None:
    expect(
        """
        g (float[N,2,8,8] x) => (float[N,2,8,8] y)
        <float[2,2,1,1] v = {1,2,3,4}, float[2,1,1,1] d = {5,6}, float[2,2,1,1] w = {1,2,3,4}>
        { a = Conv(x, v)  b = Concat<axis = 1>(a, a)  c = Conv<group = 2>(b, e)  y = Conv(c, w) }
        """.replace("float[2,1,1,1] d = {5,6}", "float[2,2,1,1] e = {5,6,7,8}"),
        """
        g (float[N,2,8,8] x) => (float[N,2,8,8] y)
        <float[4,2,1,1] v = {1,2,3,4,0,0,0,0}, float[8,4,1,1] e = {5,6,0,0, 0,0,0,0, 0,0,0,0, 0,0,0,0,
         7,8,0,0, 0,0,0,0, 0,0,0,0, 0,0,0,0}, float[4,8,1,1] w = {1,0,0,0,2,0,0,0, 3,0,0,0,4,0,0,0,
         0,0,0,0,0,0,0,0, 0,0,0,0,0,0,0,0}, int64[1] s = {0}, int64[1] k = {2}, int64[1] axes = {1}>
        { a = Conv(x, v)  b = Concat<axis = 1>(a, a)  c = Conv<group = 2>(b, e)  p = Conv(c, w)
          y = Slice(p, s, k, axes) }
        """,
        "pad-channels{multiple=4}",
    )


def test_rows_behind_flatten_are_channels_times_pixels() -> None:
    net = Net()
    x = net.op("Conv", net.input("x", ["N", 8, 2, 2]), whole(3, 8, 1, 1), whole(3))
    net.output(net.op("Gemm", net.op("Flatten", net.op("Relu", x)), whole(8, 12), whole(8), transB=1))
    after, _ = padded(net.model())
    assert {tuple(t.dims) for t in after.graph.initializer} == {(8, 8, 1, 1), (8,), (8, 32)}
    expect_equal(net.model(), after)


def test_a_concatenation_leaves_holes_that_weights_fill_with_zeros() -> None:
    net = Net()
    x = net.input("x", ["N", 8, 8, 8])
    parts = [net.op("Conv", x, whole(wide, 8, 1, 1)) for wide in (3, 5, 8)]
    net.output(net.op("Conv", net.op("Concat", *parts, axis=1), whole(8, 16, 1, 1)))
    after, _ = padded(net.model())
    last = numpy_helper.to_array(after.graph.initializer[-1])
    assert last.shape == (8, 24, 1, 1)
    assert not last[:, [3, 4, 5, 6, 7, 13, 14, 15]].any()
    expect_equal(net.model(), after)


def test_a_residual_sum_of_a_concatenation_cuts_the_convolution_beside_it() -> None:
    net = Net()
    x = net.input("x", ["N", 8, 8, 8])
    joined = net.op("Concat", *(net.op("Conv", x, whole(wide, 8, 1, 1)) for wide in (3, 6)), axis=1)
    whole_one = net.op("Conv", x, whole(9, 8, 1, 1))
    net.output(net.op("Conv", net.op("Add", joined, whole_one), whole(8, 9, 1, 1)))
    after, _ = padded(net.model())
    assert (16, 8, 1, 1) in {tuple(t.dims) for t in after.graph.initializer}
    expect_equal(net.model(), after)


def test_a_channel_shuffle_is_one_gather() -> None:
    def shuffle(net: Net, x: str) -> str:
        wide = net.op("Reshape", x, np.array([-1, 2, 5, 8, 8]))
        return net.op("Reshape", net.op("Transpose", wide, perm=[0, 2, 1, 3, 4]), np.array([-1, 10, 8, 8]))

    model = two_convs(shuffle, channels=10)
    after, _ = padded(model, "multiple=8")
    assert kinds(after) == ["Conv", "Gather", "Conv", "Slice"]
    expect_equal(model, after)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode: str) -> None:
    net = Net()
    x = net.op("Conv", net.input("x", ["N", 8, 4, 4]), whole(12, 8, 1, 1), whole(12))
    net.output(net.op("Conv", net.op("DepthToSpace", x, blocksize=2, mode=mode), whole(8, 3, 3, 3)))
    after, context = padded(net.model())
    assert rows(context)["n0"][1] == "8 -> 32"
    expect_equal(net.model(), after)


def test_squeeze_and_excite() -> None:
    def excite(net: Net, x: str) -> str:
        gate = net.op("Conv", net.op("GlobalMaxPool", x), whole(5, 3, 1, 1), whole(5))
        return net.op("Mul", x, net.op("Sigmoid", net.op("Conv", net.op("Relu", gate), whole(3, 5, 1, 1))))

    model = two_convs(excite)
    after, context = padded(model)
    assert all(row[1] for row in rows(context).values())
    assert judged(model, after.SerializeToString()).status == "proven"


def test_a_shared_weight_is_padded_once_where_it_can_be() -> None:
    net = Net()
    w = net.constant(whole(3, 3, 1, 1))
    x = net.op("Conv", net.input("x", ["N", 8, 8, 8]), whole(3, 8, 1, 1))
    for _ in range(3):
        x = net.op("Conv", x, w)
    net.output(net.op("Conv", x, whole(8, 3, 1, 1)))
    after, _ = padded(net.model())
    assert [tuple(t.dims) for t in after.graph.initializer].count((8, 8, 1, 1)) == 3  # first, shared, last
    expect_equal(net.model(), after)


def test_parameters_of_batch_normalization_and_prelu() -> None:
    def middle(net: Net, x: str) -> str:
        variance = np.full(3, 1 - 1e-5, np.float32)
        y = net.op("BatchNormalization", x, whole(3), whole(3), whole(3), variance)
        return net.op("PRelu", y, whole(3, 1, 1))

    model = two_convs(middle)
    after, context = padded(model)
    assert free(context)
    assert judged(model, after.SerializeToString()).status == "proven"


def test_quantized_weights_stay_quantized() -> None:
    net = Net()
    x = net.input("x", ["N", 8, 8, 8])

    def quantized(y: str, scale: float, zero: int) -> str:
        numbers = np.float32(scale), np.uint8(zero)
        return net.op("DequantizeLinear", net.op("QuantizeLinear", y, *numbers), *numbers)

    def weight(*dims: int) -> str:
        scales = np.full(dims[0], 0.5, np.float32)
        values = net.random.integers(-128, 128, dims).astype(np.int8)
        return net.op("DequantizeLinear", values, scales, np.zeros(dims[0], np.int8), axis=0)

    y = net.op("Relu", net.op("Conv", quantized(x, 0.5, 128), weight(3, 8, 3, 3), whole(3)))
    y = net.op("Conv", quantized(y, 2.0, 3), weight(5, 3, 3, 3))
    net.output(quantized(y, 4.0, 100))
    after, context = padded(net.model(), "multiple=16")
    assert {tuple(t.dims) for t in after.graph.initializer if t.data_type == TensorProto.INT8} >= {(16,), (16, 8, 3, 3)}
    assert all(row[1] for row in rows(context).values())
    feeds = {"x": whole(2, 8, 8, 8)}
    np.testing.assert_array_equal(outputs(net.model(), feeds)[0], outputs(after, feeds)[0])


def test_a_computed_shape_keeps_its_meaning() -> None:
    """Whoever asks for the shape of a padded value is told the sizes that it had."""
    net = Net()
    x = net.input("x", ["N", 8, "H", "W"])
    y = net.op("Conv", x, whole(3, 8, 1, 1))
    net.output(net.op("Conv", net.op("Relu", y), whole(8, 3, 1, 1)))
    net.output(net.op("Shape", y), TensorProto.INT64)
    after, context = padded(net.model())
    assert free(context)
    assert outputs(after, {"x": whole(2, 8, 4, 5)})[1].tolist() == [2, 3, 4, 5]


def test_attention_heads_are_padded_each() -> None:
    """The products of queries and keys are sums over channels of zeros then."""
    net = Net()
    x = net.input("x", ["N", "S", 16])

    def heads() -> str:
        y = net.op("Reshape", net.op("MatMul", x, whole(16, 15)), np.array([0, 0, 3, 5]))
        return net.op("Transpose", y, perm=[0, 2, 1, 3])

    scores = net.op("MatMul", heads(), net.op("Transpose", heads(), perm=[0, 1, 3, 2]))
    mixed = net.op("Transpose", net.op("MatMul", net.op("Softmax", scores), heads()), perm=[0, 2, 1, 3])
    net.output(net.op("MatMul", net.op("Reshape", mixed, np.array([0, 0, 15])), whole(15, 16)))
    model = net.model()
    after, context = padded(model)
    assert rows(context)["n0"][1] == "16 -> 24"
    assert judged(model, after.SerializeToString()).status == "proven"


def test_fused_convolutions_of_a_runtime() -> None:
    """What ONNX Runtime's own operators add and activate is padded with them."""
    text = """
        <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[N,4,8,8] x) => (float[N,4,8,8] y)
        <float[3,4,1,1] v = {1,2,3,4,5,6,7,8,9,10,11,12}, float[3] b = {1,2,3}, float[4,3,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12}>
        {
            a = com.microsoft.FusedConv<ACTIVATION>(x, v, b)
            c = com.microsoft.FusedConv<activation = "Relu">(x, v, b, a)
            y = Conv(c, w)
        }
    """
    leaky = 'activation = "LeakyRelu", activation_params = [0.1]'
    for activation in (leaky, *(f'activation = "{kind}"' for kind in ("Relu", "Sigmoid", "Tanh"))):
        model = parse(text.replace("ACTIVATION", activation))
        graph, context = run(model, "pad-channels{multiple=4}", "ort-cpu")
        assert {constant.dims for constant in graph.constants} == {(4, 4, 1, 1), (4,)}
        assert len(rows(context)) == 3
        verdict = judged(model, to_bytes(graph))
        assert verdict.status == "proven", verdict.reason


def test_a_wide_stride_is_taken_out_where_the_target_gains() -> None:
    before = """
        g (float[N,4,H,W] x) => (float[N,4,P,Q] y)
        <float[4,4,1,1] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}>
        { y = Conv<strides = [2, 2]>(x, w) }
    """
    after = before.replace("> \n", ">").replace(
        "{ y = Conv<strides = [2, 2]>(x, w) }", "{ e = Slice(x, s, l, a, t)  y = Conv(e, w) }"
    )
    more = "int64[2] s = {0,0}, int64[2] l = {9223372036854775807,9223372036854775807}, int64[2] a = {2,3}, int64[2] t = {2,2}"
    after = after.replace("16}>", f"16}}, {more}>")
    expect(before, after, "pad-channels", target="tensorrt")
    expect_unchanged(before, "pad-channels", "not known to gain", target="ort-cuda")


def test_constants_are_padded_for_each_node_that_reads_them() -> None:
    """One image, given as a constant, goes through two convolutions."""
    net = Net()
    image = net.constant(whole(1, 3, 8, 8))
    first = net.op("Conv", image, whole(5, 3, 3, 3))
    second = net.op("ConvTranspose", net.op("Conv", image, whole(6, 1, 3, 3), group=3), whole(6, 1, 3, 3), group=6)
    x = net.op("Conv", net.input("x", ["N", 8, 8, 8]), whole(6, 8, 1, 1))
    net.output(net.op("Add", x, second))
    net.output(net.op("Expand", first, np.array([6, 6])))
    after, context = padded(net.model())
    assert sum(bool(row[1]) for row in rows(context).values()) == 4
    expect_equal(net.model(), after)


def test_results_of_unknown_rank_stop_channels() -> None:
    """onnx and this compiler infer nothing for windows that do not fit."""
    net = Net()
    y = net.op("Conv", net.input("x", ["N", 8, 1, 4]), whole(3, 8, 1, 1))
    net.output(net.op("Relu", y))
    net.nodes.append(onnx.helper.make_node("LpPool", [y], ["pooled"], kernel_shape=[2, 2]))
    net.outputs.append(onnx.helper.make_tensor_value_info("pooled", TensorProto.FLOAT, None))
    graph = onnx.helper.make_graph(net.nodes, "g", net.inputs, net.outputs, net.initializers)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    graph_after, _ = run(model, "pad-channels{multiple=8}")
    assert {constant.dims for constant in graph_after.constants} == {(3, 8, 1, 1)}


def test_inputs_are_padded_on_request() -> None:
    net = Net()
    net.output(net.op("Conv", net.input("x", ["N", 3, 8, 8]), whole(8, 3, 3, 3)))
    assert kinds(padded(net.model(), "multiple=8")[0]) == ["Conv"]
    after, context = padded(net.model(), "multiple=8,inputs=true")
    assert kinds(after) == ["Pad", "Conv"]
    assert rows(context)["n0"] == ["3 -> 8", "4 -> 8", *rows(context)["n0"][2:4], ""]
    assert [d.dim_value for d in after.graph.input[0].type.tensor_type.shape.dim][1:] == [3, 8, 8]
    expect_equal(net.model(), after)


def test_an_output_that_is_read_inside_too_is_cut_for_the_outside_only() -> None:
    net = Net()
    y = net.op("Relu", net.op("Conv", net.input("x", ["N", 8, 8, 8]), whole(5, 8, 1, 1)))
    net.output(y)
    net.output(net.op("Conv", y, whole(8, 5, 1, 1)))
    after, _ = padded(net.model())
    assert kinds(after) == ["Conv", "Relu", "Conv", "Slice"]
    assert [value.name for value in after.graph.output] == [value.name for value in net.model().graph.output]
    expect_equal(net.model(), after)


def test_padding_twice_changes_nothing() -> None:
    model = two_convs(lambda net, x: net.op("Relu", x))
    once, _ = padded(model, "multiple=8")
    again, context = padded(once, "multiple=8")
    assert not any(row[1] for row in rows(context).values())
    assert again == once


def test_inner_graphs_are_padded_too() -> None:
    after, context = run(
        """
        g (bool c, float[N,4,8,8] x) => (float[N,4,8,8] y)
        <float[2,4,1,1] v = {1,2,3,4,5,6,7,8}, float[4,2,1,1] w = {1,2,3,4,5,6,7,8}>
        {
            y = If(c) <
                then_branch = t () => (float[N,4,8,8] p) { a = Conv(x, v)  b = Relu(a)  p = Conv(b, w) },
                else_branch = e () => (float[N,4,8,8] q) { q = Relu(x) }
            >
        }
        """,
        "pad-channels{multiple=4}",
    )
    assert {c.dims for scope in after.model.all_graphs() for c in scope.constants} == {(4, 4, 1, 1)}
    assert not reasons(context) or all("stride" in text or "channels" in text for text in reasons(context))


# -- what padding would hold -------------------------------------------------------------------------------------------

# The operator between two Convs, and why its padding can't be taken in; '' where it can.
TRAPS = [
    ("Log of zeros", lambda net, x: net.op("Log", net.op("Abs", x)), "finite"),
    ("Log of one more than zeros", lambda net, x: net.op("Log", net.op("Add", x, np.float32(1))), ""),
    ("a quotient of zeros", lambda net, x: net.op("Div", x, x), "finite"),
    ("a reciprocal of zeros", lambda net, x: net.op("Reciprocal", x), "finite"),
    ("a reciprocal of Exp of zeros", lambda net, x: net.op("Reciprocal", net.op("Exp", x)), ""),
    ("a constant divided by zeros", lambda net, x: net.op("Div", np.float32(1), x), "finite"),
    ("zeros divided by channels", lambda net, x: net.op("Div", x, 1 + np.abs(whole(3, 1, 1))), ""),
    ("Exp that overflows", lambda net, x: net.op("Exp", net.op("Add", x, np.float32(100))), "finite"),
    ("Exp that does not", lambda net, x: net.op("Exp", net.op("Add", x, np.float32(50))), ""),
    ("a power that overflows", lambda net, x: net.op("Pow", net.op("Add", x, np.float32(1e20)), np.float32(2)), "finite"),
    ("a logarithm of a root", lambda net, x: net.op("Log", net.op("Sqrt", x)), "finite"),
    ("a root below zero", lambda net, x: net.op("Sqrt", net.op("Sub", x, np.float32(1))), "finite"),
    ("Sigmoid gives one half", lambda net, x: net.op("Sigmoid", x), ""),
    ("normalized without epsilon", lambda net, x: net.op("InstanceNormalization", x, whole(3), whole(3), epsilon=0.0), "deviation"),
    ("normalized", lambda net, x: net.op("InstanceNormalization", x, whole(3), whole(3)), ""),
    ("infinite borders", lambda net, x: net.op("Pad", x, np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32("-inf")), "finite"),
    ("normalized over a dim that was channels", lambda net, x: net.transpose(net.op("InstanceNormalization", net.transpose(x, [0, 2, 1, 3]), whole(8), whole(8)), [0, 2, 1, 3]), "normalizes over"),
    ("Softmax", lambda net, x: net.op("Softmax", x, axis=1), "sums over them"),
    ("LayerNormalization", lambda net, x: net.op("LayerNormalization", x, whole(3, 8, 8), axis=1), "normalizes over them"),
    ("a mean over channels", lambda net, x: net.op("Sub", x, net.op("ReduceMean", x, axes=[1])), "reduces them"),
    ("a mean over pixels", lambda net, x: net.op("Sub", x, net.op("ReduceMean", x, axes=[2, 3])), ""),
    ("a gate in front of all channels", lambda net, x: net.op("Mul", x, net.op("Sigmoid", net.op("ReduceMax", x, axes=[0], keepdims=1))), ""),
    ("added to what broadcasts", lambda net, x: net.op("Add", x, net.op("Conv", x, whole(1, 3, 1, 1))), "finite"),
    ("windows with indices", lambda net, x: net.op("MaxPool", x, outputs=2, kernel_shape=[1, 1])[0], "count channels"),
]  # fmt: skip


@pytest.mark.parametrize(("middle", "reason"), [pytest.param(*trap[1:], id=trap[0]) for trap in TRAPS])
def test_what_padding_holds(middle, reason: str) -> None:
    model = two_convs(middle)
    after, context = padded(model, "multiple=8")
    if reason:
        assert reason in " ".join(reasons(context)), reasons(context)
    first = rows(context)["n0"]
    assert bool(first[1]) == (not reason), (first, reasons(context))
    assert judged(model, after.SerializeToString()).status != "failed"


def test_infinity_in_a_padded_channel_would_show() -> None:
    """The trap is real: padding with Log behind it, taken in by weights of zero, gives NaN."""
    model = two_convs(lambda net, x: net.op("Log", net.op("Abs", x)))
    wide = two_convs(lambda net, x: net.op("Log", net.op("Abs", x)))
    first, bias, last = wide.graph.initializer
    for tensor, shape in ((first, (8, 2, 1, 1)), (bias, (8,)), (last, (4, 8, 1, 1))):
        array = numpy_helper.to_array(tensor)
        more = np.zeros(shape, np.float32)
        more[tuple(slice(size) for size in array.shape)] = array
        tensor.CopyFrom(numpy_helper.from_array(more, tensor.name))
    del wide.graph.value_info[:]
    feeds = {"x": np.full((1, 2, 8, 8), 0.3, np.float32)}
    assert np.isfinite(outputs(model, feeds)[0]).any()
    assert np.isnan(outputs(wide, feeds)[0]).all()


# -- what is left, with its reason -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "weights", "attributes", "reason"),
    [
        ("float[N,3,8,8] x", "float[8,3,1,1] w", "", "input of the model"),
        ("float[N,3,8,8] x, float[8,3,1,1] w", "", "", "input of the model"),
        ("double[N,3,8,8] x", "double[8,3,1,1] w", "", "dtype"),
        ("float[N,C,8,8] x, float[8,C,1,1] w", "", "", "only known when the model runs"),
        ("float[N,8,8,8] x", "float[8,8,1,1] w", "<strides = [2, 2]>", "stride"),
        ("float[N,8,8,8] x", "float[8,1,1,1] w", "<group = 8>", "depthwise"),
    ],
)
def test_left_alone(inputs: str, weights: str, attributes: str, reason: str) -> None:
    dims = [int(dim) for dim in weights.partition("[")[2].partition("]")[0].split(",") if dim]
    held = f"<{weights} = {{{','.join(['1'] * math.prod(dims))}}}>" if weights else ""
    output = f"{inputs.partition('[')[0]}[N,8,P,Q] y"
    text = f"g ({inputs}) => ({output}) {held} {{ y = Conv{attributes}(x, w) }}"
    expect_unchanged(text, "pad-channels{multiple=8}", reason)


def test_without_a_multiple_the_target_says_for_which_dtypes() -> None:
    model = two_convs(lambda net, x: net.op("Relu", x))
    for target, is_padded in (("portable", False), ("ort-cpu", False)):
        _, context = padded(model, "", target=target)
        assert free(context) is is_padded
        assert any("no matrix kernels for float32" in text for text in reasons(context))


def test_an_overridable_weight_is_no_constant() -> None:
    model = two_convs(lambda net, x: net.op("Relu", x))
    model.graph.input.append(parse("g (float[3,2,1,1] c0) => (float[3,2,1,1] c0) {}").graph.input[0])
    after, context = padded(model)
    assert after.graph.initializer[0] == model.graph.initializer[0]
    assert any("a caller may feed" in text for text in reasons(context))


def test_a_custom_operator_stops_channels() -> None:
    model = parse("""
        <ir_version: 8, opset_import: ["" : 17, "my" : 1]>
        g (float[N,8,8,8] x) => (float[N,8,8,8] y)
        <float[1,8,1,1] v = {1,2,3,4,5,6,7,8}, float[8,1,1,1] w = {1,2,3,4,5,6,7,8}>
        { a = Conv(x, v)  b = my.Foo(a)  y = Conv(b, w) }
    """)
    graph, context = run(model, "pad-channels{multiple=8}")
    assert any("Foo" in text and "operands" in text for text in reasons(context)), reasons(context)
    assert {constant.dims for constant in graph.constants} == {(1, 8, 1, 1), (8, 1, 1, 1)}


def test_what_a_subgraph_reads_keeps_its_size() -> None:
    model = parse("""
        g (bool c, float[N,8,8,8] x) => (float[N,1,8,8] y)
        <float[1,8,1,1] v = {1,2,3,4,5,6,7,8}>
        {
            a = Conv(x, v)
            y = If(c) <
                then_branch = t () => (float[N,1,8,8] p) { p = Relu(a) },
                else_branch = e () => (float[N,1,8,8] q) { q = Neg(a) }
            >
        }
    """)
    _, context = run(model, "pad-channels{multiple=8}")
    assert any("read inside of If" in text for text in reasons(context))


@pytest.mark.parametrize("op", ["Add", "Mean", "MatMul"])
def test_a_dim_of_unknown_size_may_be_broadcast(op: str) -> None:
    """With N = 1 it goes beside any number of channels, with N = 3 only beside 3."""
    net = Net()
    y = net.op("Conv", net.input("x", [1, 8, 4, 4]), whole(3, 8, 1, 1))
    net.output(net.op(op, y, net.input("z", [1, "N", 4, 4])))
    after, context = padded(net.model())
    assert not free(context), rows(context)
    for size in (1, 3):
        feeds = {"x": whole(1, 8, 4, 4), "z": whole(1, size, 4, 4)}
        np.testing.assert_array_equal(outputs(net.model(), feeds)[0], outputs(after, feeds)[0])


# -- profit ------------------------------------------------------------------------------------------------------------


def test_a_target_leaves_what_does_not_pay() -> None:
    model = two_convs(lambda net, x: net.op("Relu", x), channels=5)
    _, context = padded(model, "", target="tensorrt")
    assert any("does not pay" in text for text in reasons(context))


def test_a_target_pads_what_pays() -> None:
    net = Net()
    x = net.input("x", [16, 64, 64, 64])
    x = net.op("Relu", net.op("Conv", x, whole(511, 64, 3, 3)))
    net.output(net.op("Conv", x, whole(64, 511, 3, 3)))
    after, context = padded(net.model(), "", target="tensorrt")
    assert all(row[1] for row in rows(context).values())
    assert count(after, "Slice") == 0


def test_no_more_overhead_than_asked_for() -> None:
    net = Net()
    x = net.input("x", ["N", 64, 8, 8])
    slim = net.op("Conv", net.op("Conv", x, whole(1, 64, 1, 1)), whole(64, 1, 1, 1))
    net.output(net.op("Conv", net.op("Conv", slim, whole(63, 64, 1, 1)), whole(64, 63, 1, 1)))
    _, context = padded(net.model(), "multiple=8,max-overhead=5")
    assert [bool(row[1]) for row in rows(context).values()] == [False, False, True, True]
    assert any("more than 5%" in text for text in reasons(context))


# -- language models ---------------------------------------------------------------------------------------------------


def language_model(tied: bool):
    """Embedding, a layer, the vocabulary."""
    net = Net()
    table = net.constant(whole(37, 10))
    x = net.op("Gather", table, net.input("tokens", ["N", "S"], TensorProto.INT64))
    x = net.op("Relu", net.op("MatMul", x, whole(10, 21)))
    x = net.op("Reshape", net.op("MatMul", x, whole(21, 10)), np.array([-1, 10]))
    net.output(net.op("Gemm", x, table if tied else whole(37, 10), transB=1))
    return net.model()


def test_embedding_and_vocabulary() -> None:
    model = language_model(tied=False)
    after, context = padded(model)
    sizes = [tuple(tensor.dims) for tensor in after.graph.initializer if len(tensor.dims) == 2]
    assert sorted(sizes) == [(16, 24), (24, 16), (37, 16), (40, 16)]
    assert [row[1] for row in rows(context).values()] == ["16 -> 24", "24 -> 16", "16 -> 40"]
    tokens = {"tokens": np.array([[0, 36, -1, -37]])}
    np.testing.assert_array_equal(outputs(model, tokens)[0], outputs(after, tokens)[0])


def test_a_table_of_embeddings_that_is_the_vocabulary_too_stays_one() -> None:
    """Its rows are looked up by indices that may be negative, so they can't have padding; the columns can."""
    model = language_model(tied=True)
    after, context = padded(model)
    sizes = [tuple(tensor.dims) for tensor in after.graph.initializer if len(tensor.dims) == 2]
    assert sorted(sizes) == [(16, 24), (24, 16), (37, 16)]
    assert any("would be stored twice" in text for text in reasons(context))
    tokens = {"tokens": np.array([[0, 36, -1, -37]])}
    np.testing.assert_array_equal(outputs(model, tokens)[0], outputs(after, tokens)[0])


# -- one rewrite for each run of channels ------------------------------------------------------------------------------


def test_each_run_of_channels_can_be_taken_back_alone() -> None:
    net = Net()
    x = net.input("x", ["N", 8, 8, 8])
    x = net.op("Conv", x, whole(3, 8, 1, 1))
    x = net.op("Conv", x, whole(5, 3, 1, 1))
    net.output(net.op("Conv", x, whole(8, 5, 1, 1)))
    model = net.model()
    _, context = padded(model)
    keys = context.journal.keys
    assert len(keys) == len(context.journal.rewrites) == 2
    for excluded, sizes in ((keys[0], ["", "3 -> 8", "8 -> 8"]), (keys[1], ["8 -> 8", "8 -> 5", ""])):
        context = PassContext(journal=Journal(excluded=frozenset([excluded])))
        graph = load(model)
        Pipeline.parse("pad-channels{multiple=8}").run(graph, context)
        assert [row[1] for row in rows(context).values()] == sizes
        expect_equal(model, onnx.ModelProto.FromString(to_bytes(graph)))


def test_no_more_rewrites_than_asked_for() -> None:
    model = two_convs(lambda net, x: net.op("Relu", x))
    context = PassContext(journal=Journal(limit=0))
    graph = load(model)
    Pipeline.parse("pad-channels{multiple=8}").run(graph, context)
    assert to_bytes(graph) == model.SerializeToString()


def test_the_same_bytes_every_time() -> None:
    model = two_convs(lambda net, x: net.op("Relu", x))
    assert padded(model)[0].SerializeToString() == padded(model)[0].SerializeToString()
