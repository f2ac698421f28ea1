"""The `layout` pass on networks as TensorFlow and channels-last PyTorch export them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnx_opt
from layout_models import Net, count, kinds, optimized, transposed_bytes
from onnx_text import expect, expect_unchanged, parse, reasons, run

NCHW, NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
SIZES = {"static": [1, 16, 16, 3], "batch": ["N", 16, 16, 3], "spatial": ["N", "H", "W", 3]}


def conv(net: Net, x: str, inputs: int, outputs: int, **attrs) -> str:
    """A convolution on NHWC values: between two Transposes, as tf2onnx writes it, with its bias behind them."""
    made = net.op("Conv", net.transpose(x, NCHW), net.weights(outputs, inputs, 3, 3), pads=[1, 1, 1, 1], **attrs)
    return net.op("Add", net.transpose(made, NHWC), net.weights(outputs))


def batch_norm(net: Net, x: str, channels: int) -> str:
    return net.op("Add", net.op("Mul", x, net.weights(channels)), net.weights(channels))


def residual(net: Net, x: str, channels: int) -> str:
    y = net.op("Relu", batch_norm(net, conv(net, x, channels, channels), channels))
    y = batch_norm(net, conv(net, y, channels, channels), channels)
    return net.op("Relu", net.op("Add", x, y))


def squeeze_and_excite(net: Net, x: str, channels: int) -> str:
    pooled = net.op("ReduceMean", x, axes=[1, 2], keepdims=0)
    shaped = net.op("Reshape", pooled, np.array([-1, 1, 1, channels], np.int64))
    return net.op("Mul", x, net.op("Sigmoid", net.transpose(gate_conv(net, shaped, channels), NHWC)))


def gate_conv(net: Net, x: str, channels: int) -> str:
    return net.op("Conv", net.transpose(x, NCHW), net.weights(channels, channels, 1, 1))


@pytest.mark.parametrize("dims", SIZES.values(), ids=SIZES)
def test_residual_network(dims):
    net = Net()
    y = conv(net, net.input("x", dims), 3, 8)
    for _ in range(3):
        y = residual(net, y, 8)
    net.output(net.op("Softmax", net.op("ReduceMean", y, axes=[1, 2], keepdims=0)))
    model = net.model()
    assert count(model, "Transpose") == 14
    result, _ = optimized(model)
    assert count(result, "Transpose") == 1
    assert transposed_bytes(result) < transposed_bytes(model) / 10


@pytest.mark.parametrize("dims", SIZES.values(), ids=SIZES)
def test_scales_fold_once_the_transposes_between_are_gone(dims):
    net = Net()
    y = residual(net, conv(net, net.input("x", dims), 3, 8), 8)
    net.output(y)
    result, _ = optimized(net.model(), "repeat(fuse-conv-bn-relu,layout,fold,cleanup)")
    assert count(result, "Transpose") == 2
    assert count(result, "Mul") == 0
    assert count(result, "Add") == 1, kinds(result)


def test_squeeze_and_excitation():
    net = Net()
    y = squeeze_and_excite(net, conv(net, net.input("x", ["N", 8, 8, 4]), 4, 4), 4)
    net.output(net.op("ReduceMax", conv(net, y, 4, 4), axes=[1, 2], keepdims=0))
    result, _ = optimized(net.model())
    assert count(result, "Transpose") == 1


def test_greedy_pushing_gets_stuck_where_three_branches_meet():
    # Each Add has one operand from a Conv and one from the chain: no single move of a Transpose gains anything.
    net = Net()
    x = net.input("x", ["N", 8, 8, 4])
    branches = [net.transpose(net.op("Conv", net.transpose(x, NCHW), net.weights(4, 4, 1, 1)), NHWC) for _ in range(3)]
    total = net.op("Concat", *branches, axis=-1)
    total = net.op("Pad", total, np.array([0, 1, 1, 0, 0, 1, 1, 0], np.int64))
    total = net.op("Slice", total, *(np.array([n], np.int64) for n in (1, 99, 3, 1)))
    net.output(net.op("Conv", net.transpose(total, NCHW), net.weights(2, 11, 1, 1)))
    result, _ = optimized(net.model())
    assert count(result, "Transpose") == 1


def test_heads_keep_their_transpose_and_say_why():
    net = Net()
    x = net.input("x", ["N", 8, 8, 4])
    heads = []
    for _ in range(2):
        y = conv(net, x, 4, 6)
        heads.append(net.op("Reshape", y, np.array([0, -1, 3], np.int64)))
    net.output(net.op("Concat", *heads, axis=1))
    result = onnx_opt.optimize(net.model(), passes="repeat(fuse-conv-bn-relu,layout,fold,cleanup)")
    assert result.report.status == "proven"
    proto = result.to_proto()
    assert count(proto, "Transpose") == 3
    assert count(proto, "Add") == 0
    reasons = result.explain("n2")  # the Transpose between the first Conv and its bias
    assert any("splits or merges dims" in line for line in reasons), reasons


def test_quantized_network_transposes_eight_bit_values():
    net = Net()
    x = net.input("x", ["N", 8, 8, 4])

    def quantized(value):
        pair = np.float32(0.05), np.int8(0)
        return net.op("DequantizeLinear", net.op("QuantizeLinear", value, *pair), *pair)

    scales = np.linspace(0.01, 0.02, 6, dtype=np.float32)
    weights = net.op("DequantizeLinear", np.ones((6, 4, 1, 1), np.int8), scales, np.zeros(6, np.int8), axis=0)
    y = net.transpose(net.op("Conv", net.transpose(quantized(x), NCHW), weights), NHWC)
    y = quantized(net.op("Relu", quantized(y)))
    net.output(net.op("ReduceMean", y, axes=[1, 2], keepdims=0))
    result, _ = optimized(net.model())
    assert count(result, "Transpose") == 1
    moved = next(node for node in result.graph.node if node.op_type == "Transpose")
    giver = next(node for node in result.graph.node if moved.input[0] in node.output)
    assert giver.op_type == "QuantizeLinear"


def test_values_needed_in_both_layouts_are_transposed_once():
    net = Net()
    y = net.op("Conv", net.transpose(net.input("x", ["N", 4, 4, 3]), NCHW), net.weights(8, 3, 1, 1))
    for _ in range(3):
        net.output(net.op("LayerNormalization", net.transpose(y, NHWC), np.ones(8, np.float32)))
    net.output(net.op("GlobalAveragePool", y))
    result, _ = optimized(net.model())
    assert count(result, "Transpose") == 2


@pytest.mark.parametrize(("op", "first"), [("Relu", "Relu"), ("Softmax", "Transpose")])
def test_softmax_stays_along_the_last_axis_where_that_costs_nothing(op, first):
    net = Net()
    y = net.op("Conv", net.transpose(net.input("x", ["N", 4, 4, 3]), NCHW), net.weights(8, 3, 1, 1))
    net.output(net.op("Exp", net.op(op, net.transpose(y, NHWC))))
    result, _ = optimized(net.model())
    assert kinds(result)[2] == first
    assert count(result, "Transpose") == 2


@pytest.mark.parametrize(("pipeline", "first"), [("layout", "Relu"), ("layout{prefer=nhwc}", "Transpose")])
def test_the_preferred_layout_decides_where_the_bytes_are_equal(pipeline, first):
    net = Net()
    y = net.op("Conv", net.transpose(net.input("x", ["N", 4, 4, 3]), NCHW), net.weights(8, 3, 1, 1))
    net.output(net.op("Exp", net.op("Relu", net.transpose(y, NHWC))))
    result, _ = optimized(net.model(), pipeline)
    assert kinds(result)[2] == first
    assert count(result, "Transpose") == 2


def test_graph_outputs_keep_their_names_and_layout():
    net = Net()
    x = net.input("x", ["N", 4, 4, 3])
    a = net.transpose(x, NCHW)
    b = net.op("Relu", a)
    c = net.transpose(b, NHWC)
    for value in (a, b, c, net.transpose(c, NCHW)):
        net.output(value)
    model = net.model()
    result, _ = optimized(model)
    assert [v.name for v in result.graph.output] == [v.name for v in model.graph.output]
    assert count(result, "Transpose") == 2


def test_attention_shapes_of_unknown_size():
    net = Net()
    x = net.input("x", ["N", "L", 32])
    heads = net.transpose(net.op("Reshape", x, np.array([0, 0, 4, 8], np.int64)), [0, 2, 1, 3])
    y = net.transpose(net.op("Gelu" if net.opset > 19 else "Tanh", heads), [0, 2, 1, 3])
    net.output(net.op("Reshape", y, np.array([0, 0, 32], np.int64)))
    result, _ = optimized(net.model())
    assert count(result, "Transpose") == 0


def test_volumes_and_sequences():
    for dims, there, back in (
        (["N", 4, 4, 4, 2], [0, 4, 1, 2, 3], [0, 2, 3, 4, 1]),
        (["N", 4, 2], [0, 2, 1], [0, 2, 1]),
    ):
        net = Net()
        weights = net.weights(2, 2, *[1] * (len(dims) - 2))
        x = net.transpose(net.op("Conv", net.transpose(net.input("x", dims), there), weights), back)
        x = net.op("Relu", net.op("Add", x, net.weights(2)))
        net.output(net.op("Conv", net.transpose(x, there), weights))
        result, _ = optimized(net.model())
        assert count(result, "Transpose") == 1


def test_subgraphs_read_what_they_read_before():
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 4, 3])
    c = helper.make_tensor_value_info("c", TensorProto.BOOL, [])

    def branch(op):
        inner = [helper.make_node(op, ["r"], [f"{op}_y"])]
        dims = ["N", 3, 4, 4]
        return helper.make_graph(inner, op, [], [helper.make_tensor_value_info(f"{op}_y", TensorProto.FLOAT, dims)])

    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=NCHW),
        helper.make_node("Relu", ["t"], ["r"]),
        helper.make_node("Transpose", ["r"], ["y"], perm=NHWC),
        helper.make_node("If", ["c"], ["z"], then_branch=branch("Exp"), else_branch=branch("Neg")),
    ]
    shapes = {"y": ["N", 4, 4, 3], "z": ["N", 3, 4, 4]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in shapes.items()]
    graph = helper.make_graph(nodes, "g", [x, c], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    result, _ = optimized(model)
    assert count(result, "Transpose") == 1  # the branches still read NCHW, y no longer needs a Transpose


def test_a_region_within_a_branch():
    text = """g (float[N,2,3] x, bool b) => (float[N,2,3] y) {
        y = If (b) <
            then_branch = t () => (float[N,2,3] p) {
                a = Transpose <perm = [0, 2, 1]> (x)
                r = Relu (a)
                p = Transpose <perm = [0, 2, 1]> (r)
            },
            else_branch = e () => (float[N,2,3] q) { q = Exp (x) }
        >
    }"""
    result, _ = optimized(parse(text))
    branch = result.graph.node[0].attribute[0].g
    assert [node.op_type for node in branch.node] == ["Relu"]


def test_a_region_within_a_local_function():
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
    g (float[2,3,4] x) => (float[2,3,4] y) { y = own.f <slope = 0.5> (x) }
    <opset_import: ["" : 17], domain: "own"> f <slope> (a) => (b) {
        dims = Constant <value_ints = [2, 3, 4]> ()
        r = Reshape (a, dims)
        t = Transpose <perm = [0, 2, 1]> (r)
        one = Constant <value_floats = [1.0, 2.0, 3.0]> ()
        u = Add (t, one)
        v = Transpose <perm = [0, 2, 1]> (u)
        w = Transpose <perm = [0, 2, 1]> (v)
        l = LeakyRelu <alpha: float = @slope> (w)
        b = Transpose <perm = [0, 2, 1]> (l)
    }"""
    result, _ = optimized(parse(text))
    body = [node.op_type for node in result.functions[0].node if node.op_type != "Constant"]
    # LeakyRelu has an attribute of the call and stays as it is: one pair of Transposes around it remains.
    assert body == ["Reshape", "Transpose", "Add", "LeakyRelu", "Transpose"]


def test_unknown_ranks_are_left_alone():
    net = Net()
    net.inputs.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, None))
    net.output(net.transpose(net.op("Relu", "x"), [0, 2, 1]))
    graph, context = run(net.model(), "layout")
    assert [node.op for node in graph] == ["Relu", "Transpose"]
    assert any("rank of the operand is unknown" in reason for reason in reasons(context))


def test_random_operators_stay_where_they_are():
    net = Net()
    a = net.transpose(net.input("x", [2, 3, 4]), [0, 2, 1])
    noise = net.op("RandomNormalLike", a, seed=1.0)
    net.output(net.transpose(noise, [0, 2, 1]))
    graph, _ = run(net.model(), "layout")
    assert [node.op for node in graph] == ["Transpose", "RandomNormalLike", "Transpose"]


def test_a_wrong_rewrite_is_found_by_its_region(monkeypatch):
    # A region is one rewrite: validation can leave it out and keep the others.
    net = Net()
    for name in ("a", "b"):
        x = net.transpose(net.input(name, [2, 3, 4]), [0, 2, 1])
        net.output(net.transpose(net.op("Relu", x), [0, 2, 1]))
    model = net.model()
    from onnx_opt.ir import load
    from onnx_opt.journal import Journal
    from onnx_opt.passes import PassContext
    from onnx_opt.pipeline import Pipeline

    full = Journal()
    Pipeline.parse("layout").run(load(model), PassContext(journal=full))
    assert len(full.keys) == 2
    limited = PassContext(journal=Journal(excluded=frozenset({full.keys[0]})))
    graph = load(model)
    Pipeline.parse("layout").run(graph, limited)
    assert sum(node.op == "Transpose" for node in graph) == 2


def test_transposes_of_dims_of_one_become_reshapes():
    expect(
        "g (float[N,1,5] x) => (float[1,N,5] y) { r = Relu (x) y = Transpose <perm = [1, 0, 2]> (r) }",
        """g (float[N,1,5] x) => (float[1,N,5] y) <int64[3] s = {1, -1, 5}>
        { r = Relu (x) y = Reshape (r, s) }""",
        "layout",
    )


def test_a_dim_may_be_one_by_its_bounds():
    # A length of at most 64 is one window of 64.
    net = Net()
    pooled = net.op("AveragePool", net.input("x", ["N", 4, "L"]), kernel_shape=[64], strides=[64], ceil_mode=1)
    net.output(net.transpose(net.op("Relu", pooled), [0, 2, 1]))
    result = onnx_opt.optimize(net.model(), passes="layout", dims={"L": (1, 64)})
    assert result.report.status == "proven"
    assert kinds(result.to_proto()) == ["AveragePool", "Relu", "Reshape"]


def test_transposes_go_into_gemm():
    expect(
        """g (float[3,4] a, float[5,3] b) => (float[4,5] y) {
            s = Transpose <perm = [1, 0]> (a)
            t = Transpose (b)
            y = Gemm (s, t)
        }""",
        "g (float[3,4] a, float[5,3] b) => (float[4,5] y) { y = Gemm <transA = 1, transB = 1> (a, b) }",
        "layout",
    )


BETWEEN_HEADS = """g (float[N,5,3,4] a, float[N,5,2,4] b) => (float[N,5,3,2] y) {
    t = Transpose <perm = [0, 1, 3, 2]> (b)
    y = MatMul (a, t)
}"""


def test_products_of_onnx_runtime_take_transposes_in():
    fused = BETWEEN_HEADS.replace("t = Transpose <perm = [0, 1, 3, 2]> (b)", "")
    fused = fused.replace("MatMul (a, t)", "com.microsoft.FusedMatMul <transB = 1> (a, b)")
    header = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
    expect(BETWEEN_HEADS, header + fused, "layout", target="ort-cpu")
    expect_unchanged(BETWEEN_HEADS, "layout", "portable has no FusedMatMul")


def widening(batch, width: int) -> onnx.ModelProto:
    """A product that gives a row `width` features, which a convolution along the rows wants first."""
    net = Net()
    wide = net.op("Add", net.op("MatMul", net.input("x", [batch, 64, 4]), net.weights(4, width)), net.weights(width))
    net.output(net.op("Conv", net.transpose(net.op("Relu", wide), [0, 2, 1]), net.weights(2, width, 3)))
    return net.model()


def test_factors_change_places_where_fewer_bytes_are_transposed_then():
    result, _ = optimized(widening(2, 32))
    assert kinds(result) == ["Transpose", "MatMul", "Add", "Relu", "Conv"]
    weights = {tensor.name: list(tensor.dims) for tensor in result.graph.initializer}
    assert weights[result.graph.node[1].input[0]] == [32, 4]
    assert weights[result.graph.node[2].input[1]] == [32, 1]


@pytest.mark.parametrize(("batch", "width"), [(2, 4), ("N", 32)], ids=["no gain", "a batch that may be empty"])
def test_factors_stay_where_they_are(batch, width):
    result, context = optimized(widening(batch, width))
    assert kinds(result) == ["MatMul", "Add", "Relu", "Transpose", "Conv"]
    assert batch == 2 or any("the batch may be empty" in reason for reason in context.journal.reasons())


def test_products_of_transposed_operands():
    expect(
        """g (float[5,3,4] a) => (float[5,2,4] y) <float[3,2] w = {1, 2, 3, 4, 5, 6}> {
            t = Transpose <perm = [0, 2, 1]> (a)
            m = MatMul (t, w)
            y = Transpose <perm = [0, 2, 1]> (m)
        }""",
        """g (float[5,3,4] a) => (float[5,2,4] y) <float[2,3] w = {1, 3, 5, 2, 4, 6}> { y = MatMul (w, a) }""",
        "layout",
    )


def test_einsum_takes_transposes_in_and_may_be_one():
    expect(
        """g (float[2,3,4] x, float[4,5] w) => (float[5,2,3] y) {
            t = Transpose <perm = [1, 0, 2]> (x)
            e = Einsum <equation = "ijk,kl->ijl"> (t, w)
            f = Einsum <equation = "abc->cba"> (e)
            y = Relu (f)
        }""",
        """g (float[2,3,4] x, float[4,5] w) => (float[5,2,3] y) {
            e = Einsum <equation = "jik,kl->lji"> (x, w)
            y = Relu (e)
        }""",
        "layout",
    )


def test_layout_leaves_a_channels_first_model_alone():
    net = Net()
    x = net.op("Conv", net.input("x", ["N", 3, 8, 8]), net.weights(4, 3, 3, 3))
    net.output(net.op("Relu", x))
    model = net.model()
    result, context = optimized(model, "layout")
    assert result == onnx.ModelProto.FromString(model.SerializeToString())
    assert not context.journal.rewrites


def test_the_report_says_how_many_bytes_are_transposed():
    net = Net()
    net.output(conv(net, net.input("x", ["N", 8, 8, 4]), 4, 4))
    result = onnx_opt.optimize(net.model(), passes="cleanup", validate=False)
    before = result.report.to_dict()["before"]
    assert (before["transposes"], before["transposed_bytes"]) == (2, 2 * 4 * 8 * 8 * 4)
