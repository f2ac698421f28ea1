"""The targets that are providers of ONNX Runtime: what each may be given."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper, parser

from onnx_opt.errors import TargetError
from onnx_opt.ir import load
from onnx_opt.passes import PassContext
from onnx_opt.rewrite import apply_rules
from onnx_opt.runtime.session import open_session
from onnx_opt.target import CONTRIB, TARGETS, find_target
from onnx_opt_rules.transposes import transpose_into_fused_matmul
from onnx_text import expect, expect_unchanged, reasons

PROVIDERS = {
    "ort-cpu": "CPUExecutionProvider",
    "ort-cuda": "CUDAExecutionProvider",
    "ort-dml": "DmlExecutionProvider",
    "ort-tensorrt": "TensorrtExecutionProvider",
}
OPERANDS = {
    "FusedConv": ([1, 2, 4, 4], [3, 2, 1, 1]),
    "FusedGemm": ([2, 3], [3, 4], [4]),
    "FusedMatMul": ([2, 3], [3, 4]),
    "BiasGelu": ([2, 4], [4]),
    "SkipLayerNormalization": ([1, 2, 4], [1, 2, 4], [4]),
}

CONV_RELU = """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 2, 5, 5] x) => (float[1, 3, 5, 5] y) <float[3, 2, 1, 1] w = {1, -2, 3, 0.5, 0.25, -1}>
{ c = Conv(x, w) y = Relu(c) }
"""
TRANSPOSED_PRODUCT = """
<ir_version: 8, opset_import: ["": 17]>
g (float[2, 3, 4] x, float[2, 3, 5] z) => (float[2, 4, 5] y) { t = Transpose<perm = [0, 2, 1]>(x) y = MatMul(t, z) }
"""


def test_each_is_a_provider() -> None:
    assert {name: TARGETS[name].provider for name in PROVIDERS} == PROVIDERS
    assert not TARGETS["portable"].provider and not TARGETS["tensorrt"].provider


@pytest.mark.parametrize("op", sorted(op for _, op in TARGETS["ort-cpu"].vendor))
def test_the_processor_has_every_operator_that_it_may_be_given(op: str) -> None:
    shapes = OPERANDS.get(op, ([2, 4],))
    names = [f"x{i}" for i in range(len(shapes))]
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, shapes, strict=True)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    activation = {"activation": "Relu"} if op == "FusedGemm" else {}
    node = helper.make_node(op, names, ["y"], domain=CONTRIB, **activation)
    graph = helper.make_graph([node], "g", inputs, [output])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    open_session(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def test_devices_have_fewer() -> None:
    assert not TARGETS["ort-cuda"].supports("FusedGemm", CONTRIB)
    assert TARGETS["ort-cuda"].supports("FusedConv", CONTRIB)
    assert not TARGETS["ort-dml"].supports("FusedConv", CONTRIB)
    assert TARGETS["ort-dml"].supports("FusedMatMul", CONTRIB)
    assert not TARGETS["ort-tensorrt"].vendor


def test_directml_fuses_conv_and_activation_by_itself() -> None:
    expect_unchanged(CONV_RELU, "fuse-conv-bn-relu", "ort-dml has no FusedConv; it fuses", target="ort-dml")
    expect_unchanged(CONV_RELU, "fuse-conv-bn-relu", "ort-tensorrt has no FusedConv", target="ort-tensorrt")


def test_an_engine_is_not_split_by_a_vendors_operator() -> None:
    expect_unchanged(TRANSPOSED_PRODUCT, "layout", target="ort-tensorrt")
    after = """
    <ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
    g (float[2, 3, 4] x, float[2, 3, 5] z) => (float[2, 4, 5] y) { y = com.microsoft.FusedMatMul<transA = 1>(x, z) }
    """
    expect(TRANSPOSED_PRODUCT, after, "layout", target="ort-dml")


def test_directml_stops_at_opset_20() -> None:
    text = '<ir_version: 10, opset_import: ["": 21]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    graph = load(parser.parse_model(text).SerializeToString())
    with pytest.raises(TargetError, match="ort-dml stops at opset 20, the model needs 21") as caught:
        find_target("ort-dml").check(graph)
    assert caught.value.exit_code == 3
    find_target("ort-tensorrt").check(graph)


def test_a_product_of_integers_is_left_to_be_found() -> None:
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    g (uint8[2, 4, 3] q, uint8[2, 4, 5] p) => (float[2, 3, 5] y) <float s = {0.5}, uint8 z = {0}>
    {
      a = DequantizeLinear(q, s, z)
      b = DequantizeLinear(p, s, z)
      t = Transpose<perm = [0, 2, 1]>(a)
      y = MatMul(t, b)
    }
    """
    graph = load(parser.parse_model(text).SerializeToString())
    context = PassContext(target=find_target("ort-cpu"))
    apply_rules(graph, context, [transpose_into_fused_matmul])
    assert [node.op for node in graph] == ["DequantizeLinear", "DequantizeLinear", "Transpose", "MatMul"]
    assert any("compute it in integers" in reason for reason in reasons(context))
