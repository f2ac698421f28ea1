"""`quantize` from end to end: weights, scales, options, what is measured, what is refused."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

import onnx_opt
from onnx_opt.errors import TargetError, UsageError
from onnx_opt.ir import to_bytes
from onnx_opt.pipeline import Pipeline
from quantize_models import CNN, OPSET_21, WEIGHTS, described, feeds, initializer, model, quantized, weights


def cnn() -> onnx.ModelProto:
    return model(CNN, **WEIGHTS)


def types_of(proto: onnx.ModelProto) -> set[int]:
    return {tensor.data_type for tensor in proto.graph.initializer}


@pytest.mark.parametrize(
    "text",
    [
        "quantize",
        "quantize{form=fp8}",
        "quantize{form=int4,block=32}",
        "quantize{data='a b.npz',method=percentile,percentile=99.9,samples=8,keep=[Gemm,/head/*],metric=top1}",
    ],
)
def test_pipeline_text_comes_back(text):
    pipeline = Pipeline.parse(text)
    assert Pipeline.parse(str(pipeline)) == pipeline
    (found,) = pipeline.passes()
    assert found.quantizes_to in ("int8", "fp8", "int4") and not pipeline.lowers_to


def test_it_comes_before_half_precision_and_behind_padding():
    from onnx_opt.passes import registry
    from onnx_opt.pipeline import compose

    passes = registry().passes
    names = [p.name for p in compose(2, [passes["fp16"](), passes["quantize"](), passes["pad-channels"]()]).passes()]
    assert names.index("pad-channels") < names.index("quantize") < names.index("fp16")


def test_a_network_is_proven_and_its_weights_are_integers():
    found, result = quantized(cnn(), tolerance=0.3)
    assert result.report.status == "proven"
    assert not {"w1", "w2", "w3"} & {tensor.name for tensor in found.graph.initializer}
    assert described(found).splitlines() == [
        "a = Conv(x', w1', b1)",
        "r = Relu(a)",
        "p = MaxPool(r')",
        "c = Conv(p', w2')",
        "s = Add(c, p')",
        "t = Relu(s)",
        "m = GlobalAveragePool(t')",
        "f = Flatten(m')",
        "y = Gemm(f', w3', b3)",
    ]


def test_each_output_channel_has_a_scale():
    found, _ = quantized(cnn())
    stored, scales = initializer(found, "w1_int8"), initializer(found, "w1_scale")
    largest = np.abs(WEIGHTS["w1"]).max(axis=(1, 2, 3))
    assert stored.dtype == np.int8 and np.array_equal(scales, (largest / 127).astype(np.float32))
    assert np.abs(WEIGHTS["w1"] - stored * scales.reshape(-1, 1, 1, 1)).max() <= scales.max() / 2 * (1 + 1e-6)


def test_the_report_has_both_errors_and_the_bytes():
    _, result = quantized(cnn(), tolerance=0.3)
    measured = result.report.measured["quantize"]
    assert 0 < measured["calibration_error"] < 0.1 and 0 < measured["error"] < 0.1
    assert (measured["samples"], measured["held_out"]) == (6, 2)
    assert measured["weight_bytes_before"] == 4 * (8 * 27 + 8 * 72 + 80)
    assert measured["weight_bytes_after"] == 8 * 27 + 8 * 72 + 80 + 4 * (8 + 8 + 10)
    assert measured["total_executions"] <= measured["limit"]
    table = result.report.tables["quantization"]
    assert table.rows[0][:3] == ["a", "Conv", "int8"]


def test_data_come_from_a_file_and_one_in_four_is_held_out(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.stack([feed["x"] for feed in feeds(cnn(), 9)]))
    result = onnx_opt.optimize(cnn(), f"quantize{{data='{tmp_path / 'data.npz'}',samples=8}}")
    measured = result.report.measured["quantize"]
    assert (measured["samples"], measured["held_out"]) == (6, 2)


def test_the_proof_takes_the_held_out_samples(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.stack([feed["x"] for feed in feeds(cnn(), 16)]))
    result = onnx_opt.optimize(cnn(), f"quantize{{data='{tmp_path / 'data.npz'}'}}")
    assert result.report.status == "proven" and "on 4 inputs" in result.report.proof["reason"]


def test_without_data_it_says_that_the_scales_mean_little():
    result = onnx_opt.optimize(cnn(), "quantize")
    assert any("the scales come from random inputs and mean little" in text for text in result.report.warnings)


def test_a_model_that_runs_on_nothing_that_was_tried_stays_as_it_is():
    text = """g (float[4,4] x) => (float[A,B,C] y) {
        a = MatMul(x, w) b = Abs(x) c = Add(b, big) i = Cast<to=7>(c) y = Gather(a, i)
    }"""
    proto = model(text, w=weights(1, 4, 4), big=np.array(1000.0, np.float32))
    result = onnx_opt.optimize(proto, "quantize", validate=False)
    assert to_bytes(result.model) == proto.SerializeToString()
    assert any("the original runs on none of" in text for text in result.report.warnings)


def test_the_same_bytes_every_time():
    one, other = (to_bytes(onnx_opt.optimize(cnn(), "quantize", data=feeds(cnn())).model) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("tolerance", [0.02, 0.005])
def test_the_users_tolerance_decides_what_stays(tolerance):
    _, result = quantized(cnn(), tolerance=tolerance)
    measured = result.report.measured["quantize"]
    assert measured["refused"] or (measured["by_search"] and measured["error"] <= tolerance)
    assert result.report.status == "proven"


def test_a_sensitive_layer_is_found_and_kept():
    """One huge channel leaves the others of its tensor no resolution: the layer that reads it is what stays."""
    text = "g (float[1,4,4,4] x) => (float[1,4,4,4] y) { a = Conv(x, w) s = Mul(a, k) b = Conv(s, v) y = Tanh(b) }"
    big = np.array([1, 1, 1, 3000], np.float32).reshape(1, 4, 1, 1)
    second = weights(2, 4, 4, 1, 1)
    second[:, 3] = 0
    proto = model(text, w=weights(1, 4, 4, 1, 1), k=big, v=second)
    found, result = quantized(proto)
    assert described(found).splitlines()[::2] == ["a = Conv(x', w')", "b = Conv(s, v)"]
    row = next(row for row in result.report.tables["quantization"].rows if row[0] == "b")
    assert row[2] == "as it was" and "by itself, and with it the error is too large" in row[4]


def test_inputs_that_the_result_is_wrong_on_have_a_say():
    """One large sample, the ranges of which are cut: nothing that was held out shows that."""
    layers = [f"c{n} = Conv(r{n}, w{n}) r{n + 1} = Relu(c{n})" for n in range(8)]
    text = "g (float[1,4,6,6] r0) => (float[1,4,6,6] r8) {" + " ".join(layers) + "}"
    proto = model(text, **{f"w{n}": weights(n, 4, 4, 1, 1) + 0.2 for n in range(8)})
    data = feeds(proto)
    data[0] = {"r0": 20 * data[0]["r0"]}
    _, result = quantized(proto, "method=percentile,percentile=95.0", data=data, tolerance=0.2)
    assert result.report.status == "proven" and not result.report.faults
    assert result.report.measured["quantize"]["held_out"] == 3 and result.report.measured["quantize"]["refused"]


def test_nothing_good_enough_leaves_the_model_as_it_was():
    proto = cnn()
    result = onnx_opt.optimize(proto, "quantize", data=feeds(proto), tolerance=1e-7)
    assert to_bytes(result.model) == proto.SerializeToString()
    assert any("the model stays as it is: no set of nodes that was tried" in text for text in result.report.warnings)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_methods_that_cut_ranges(method):
    found, result = quantized(cnn(), f"method={method},percentile=99.0", tolerance=0.5)
    plain, _ = quantized(cnn(), tolerance=0.5)
    assert result.report.status == "proven"
    assert initializer(found, "r_scale") < initializer(plain, "r_scale")


def test_what_is_quantized_stays_as_it_is():
    found, _ = quantized(cnn(), tolerance=0.3)
    again, result = quantized(found, data=feeds(cnn()))
    assert described(again) == described(found)
    assert any("quantized already" in text for text in result.journal.reasons())


def test_shared_weights_are_stored_once():
    text = "g (float[1,4,4,4] x) => (float[1,4,4,4] y) { a = Conv(x, w) y = Conv(a, w) }"
    found, _ = quantized(model(text, w=weights(1, 4, 4, 1, 1)), "measure=false", validate=False)
    assert described(found) == "a = Conv(x', w')\ny = Conv(a', w')"
    assert sum(node.op_type == "DequantizeLinear" for node in found.graph.node) == 3


def test_weights_in_constant_nodes_leave_the_file_too():
    text = "g (float[1,2] x) => (float[1,2] y) { w = Constant<value = float[2,2] {1, 2, 3, 4}>() y = MatMul(x, w) }"
    found, _ = quantized(model(text), "measure=false", validate=False)
    assert described(found) == "y = MatMul(x', w')" and "Constant" not in {node.op_type for node in found.graph.node}


def test_layers_of_local_functions_are_quantized_where_they_are_called():
    text = """<ir_version: 8, opset_import: ["" : 17, "f" : 1]>
        g (float[1,4,4,4] x) => (float[1,4,4,4] y) { a = f.block(x, w) y = f.block(a, v) }
        <domain: "f", opset_import: ["" : 17]> block (x, w) => (y) { c = Conv(x, w) y = Relu(c) }"""
    proto = model(text, w=weights(1, 4, 4, 1, 1), v=weights(2, 4, 4, 1, 1))
    found, result = quantized(proto, tolerance=0.5)
    assert result.report.status == "proven"
    assert [line.partition(" = ")[2] for line in described(found).splitlines()][::2] == [
        "Conv(x', w')",
        "Conv(a/y', v')",
    ]


def test_weights_that_a_caller_may_override_are_left_alone():
    text = "g (float[1,4,4,4] x, float[4,4,1,1] w) => (float[1,4,4,4] y) { y = Conv(x, w) }"
    proto = model(text, w=weights(1, 4, 4, 1, 1))
    data = [{"x": feed["x"]} for feed in feeds(proto)]
    found, result = quantized(proto, data=data)
    assert described(found) == "y = Conv(x, w)"
    assert any("only known when the model runs" in text for text in result.journal.reasons())


def test_a_graph_without_layers_costs_no_run():
    proto = model("g (float[4] x) => (float[4] y) { y = Relu(x) }")
    result = onnx_opt.optimize(proto, "quantize", validate=False)
    assert result.report.measured["quantize"]["total_executions"] == 0


def test_weights_of_a_layer_that_is_kept_stay_beside_the_integers():
    text = "g (float[1,4,4,4] x) => (float[1,4,4,4] y) { a = Conv(x, w) y = Conv(a, w) }"
    found, _ = quantized(model(text, w=weights(1, 4, 4, 1, 1)), "measure=false,keep=[a]", validate=False)
    assert described(found) == "a = Conv(x, w)\ny = Conv(a', w')"


def test_layers_in_subgraphs_are_left_alone_and_captures_stay_float():
    text = """g (float[1,4,4,4] x, bool c) => (float[1,4,4,4] y) {
        a = Conv(x, w)
        i = If (c) <then_branch = t () => (float[1,4,4,4] u) { u = Conv(a, w) }, else_branch = e () => (float[1,4,4,4] v) { v = Neg(a) }>
        y = Conv(i, w)
    }"""
    proto = model(text, w=weights(1, 4, 4, 1, 1) / 4)
    data = [feed | {"c": np.array(n % 2 == 0)} for n, feed in enumerate(feeds(model(text)))]
    data = [{"x": feed["x"].reshape(1, 4, 4, 4), "c": feed["c"]} for feed in data]
    found, result = quantized(proto, data=data)
    assert result.report.status == "proven"
    assert described(found).splitlines() == ["a = Conv(x', w')", "i = If(c)", "y = Conv(i', w')"]
    assert any("it is in a subgraph" in text for text in result.journal.reasons())


def test_older_operator_sets_are_told_how_to_become_newer():
    text = '<ir_version: 7, opset_import: ["" : 12]> g (float[1,4,4,4] x) => (float[1,4,4,4] y) { y = Conv(x, w) }'
    proto = model(text, w=weights(1, 4, 4, 1, 1))
    found, result = quantized(proto)
    assert found == proto
    assert any("operator set 12 is older than 13" in text for text in result.report.warnings)


def test_a_form_that_the_target_lacks():
    with pytest.raises(TargetError, match="ort-cpu does not compute in fp8"):
        onnx_opt.optimize(cnn(), "quantize{form=fp8}", target="ort-cpu")


def test_data_that_do_not_fit():
    with pytest.raises(UsageError):
        onnx_opt.optimize(cnn(), "quantize", data=[{"z": np.zeros(3, np.float32)}])


def test_the_processor_gets_unsigned_activations_and_an_integer_bias():
    found, result = quantized(cnn(), target="ort-cpu")
    assert result.report.status == "proven"
    assert 0 < result.report.proof["half"]["integer_kernels"] <= 0.1
    assert initializer(found, "b1_int32").dtype == np.int32
    assert initializer(found, "x_zero_point").dtype == np.uint8 and initializer(found, "x_zero_point") > 0
    assert initializer(found, "r_zero_point") == 0


def test_onnxruntime_makes_integer_kernels_of_it(tmp_path):
    found, _ = quantized(cnn(), target="ort-cpu", tolerance=0.5)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(found.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ops = [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node]
    assert ops.count("QLinearConv") == 2 and "Conv" not in ops and "QLinearAdd" in ops


def test_padded_channels_and_half_precision_around_it():
    found, result = quantized(cnn(), passes="pad-channels{multiple=16},quantize{OPTIONS},fp16", tolerance=0.1)
    assert result.report.status == "proven"
    assert types_of(found) >= {TensorProto.INT8, TensorProto.FLOAT16}
    assert initializer(found, "w1_1_int8").shape[0] == 16


def test_eight_bit_floats():
    found, result = quantized(model(OPSET_21 + CNN, **WEIGHTS), "form=fp8")
    assert result.report.status == "proven"
    assert TensorProto.FLOAT8E4M3FN in types_of(found) and TensorProto.INT8 not in types_of(found)


def test_weights_in_four_bits_share_scales_in_blocks():
    text = OPSET_21 + "g (float[N,40] x) => (float[N,6] y) { a = MatMul(x, w) r = Relu(a) y = Gemm<transB=1>(r, v) }"
    matrices = {"w": weights(1, 40, 8), "v": weights(2, 6, 8)}
    found, result = quantized(model(text, **matrices), "form=int4,block=16", tolerance=0.5)
    assert result.report.status == "proven"
    assert described(found) == "a = MatMul(x, w')\nr = Relu(a)\ny = Gemm(r, v')"
    assert types_of(found) == {TensorProto.INT4, TensorProto.FLOAT}
    assert initializer(found, "w_scale").shape == (3, 8)  # 16 + 16 + 8 rows
    whole = numpy_helper.to_array(next(t for t in found.graph.initializer if t.name == "w_int4")).astype(np.float32)
    back = whole * np.repeat(initializer(found, "w_scale"), 16, axis=0)[:40]
    assert np.abs(back - matrices["w"]).max() <= initializer(found, "w_scale").max() / 2 * (1 + 1e-6)
