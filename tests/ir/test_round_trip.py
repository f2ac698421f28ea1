"""Nothing that ONNX can express is lost between load and save."""

import os
import warnings

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from onnx_opt import wire
from onnx_opt.errors import ModelError
from onnx_opt.ir import Constant, load, save, to_bytes
from onnx_text import parse


def backend_models():
    """Every model of the onnx package's backend node tests, and the model files that it carries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        for case in collect_testcases(None):
            if case.model is not None:
                yield case.name, case.model.SerializeToString()
    data = os.path.join(os.path.dirname(onnx.backend.__file__), "test", "data")
    for folder, _, files in os.walk(data):
        for file in files:
            if file.endswith(".onnx"):
                with open(os.path.join(folder, file), "rb") as model:
                    yield file, model.read()


def test_every_backend_model_comes_back_byte_for_byte():
    count = 0
    for name, data in backend_models():
        assert to_bytes(load(data)) == data, name
        count += 1
    assert count > 1500


def test_every_backend_model_written_anew_says_the_same():
    """The exporter takes no clean shortcut: every node and graph counts as changed."""
    for name, data in backend_models():
        graph = load(data)
        for inner in graph.model.all_graphs():
            inner.touch()
            for node in inner:
                node.rewired = True
                inner.touch_node(node)
        assert onnx.ModelProto.FromString(to_bytes(graph)) == onnx.ModelProto.FromString(data), name


def test_one_rewrite_changes_one_place():
    model = parse("""g (float[N] x) => (float[N] y) {
        a = Relu (x)
        b = Neg (a)
        y = Abs (b)
    }""")
    model.graph.node[0].doc_string = "kept"
    model.graph.node[1].doc_string = "kept too"
    model.metadata_props.add(key="author", value="us")
    graph = load(model.SerializeToString())
    neg = list(graph)[1]
    graph.set_input(neg, 0, graph.inputs[0])
    model.graph.node[1].input[0] = "x"
    assert onnx.ModelProto.FromString(to_bytes(graph)) == model


def test_every_element_type_is_read_and_written():
    arrays = {}
    for name, kind in TensorProto.DataType.items():
        if kind in (TensorProto.UNDEFINED, TensorProto.STRING):
            continue
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        arrays[name] = np.array([0, 1, 1]).astype(dtype)
    arrays["STRING"] = np.array(["a", "", "b"], object)
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    model = helper.make_model(helper.make_graph([], "g", [], [], tensors))
    graph = load(model)
    for constant in list(graph.constants):
        assert helper.tensor_dtype_to_np_dtype(constant.elem_type) == constant.values.dtype or constant.name == "STRING"
        assert str(constant.values.tolist()) == str(arrays[constant.name].tolist()), constant.name
        constant.values = constant.values[:2]
    for tensor in onnx.ModelProto.FromString(to_bytes(graph)).graph.initializer:
        assert tensor.data_type == TensorProto.DataType.Value(tensor.name)
        assert str(numpy_helper.to_array(tensor).tolist()) == str(arrays[tensor.name][:2].tolist()), tensor.name


def test_overridable_initializer_is_an_input_and_a_constant():
    graph = load(parse("g (float[1] x, float[1] w) => (float[1] y) <float[1] w = {2}> { y = Add (x, w) }"))
    weight = graph.inputs[1]
    assert isinstance(weight, Constant)
    assert weight.overridable
    assert weight.constant is None


def test_before_ir_4_initializers_are_inputs_and_constant():
    model = parse(
        '<ir_version: 3, opset_import: ["" : 8]> g (float[1] x, float[1] w) => (float[1] y) <float[1] w = {2}> { y = Add (x, w) }'
    )
    graph = load(model)
    assert graph.inputs[1].constant == [2]
    node = next(iter(graph))
    graph.set_input(node, 1, graph.add_constant(np.ones(1, np.float32), "one"))
    graph.detach_constant(next(iter(graph.constants)))
    result = onnx.ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(result)
    assert [value.name for value in result.graph.input] == ["x", "one"]


def test_before_ir_4_initializers_of_a_branch_are_written_once():
    model = parse("""<ir_version: 3, opset_import: ["" : 8]> g (bool c, float[1] x) => (float[1] y) { y = If (c) <
        then_branch = t () => (float[1] r) <float[1] w = {2}> { r = Add (x, w) },
        else_branch = e () => (float[1] s) { s = Neg (x) }> }""")
    graph = load(model)
    add = next(node for node in graph.walk() if node.op == "Add")
    add.graph.set_op(add, "Mul")
    branch = onnx.ModelProto.FromString(to_bytes(graph)).graph.node[0].attribute[0].g
    assert [node.op_type for node in branch.node] == ["Mul"]
    assert [tensor.name for tensor in branch.initializer] == ["w"]


def test_external_data(tmp_path):
    model = parse("g (float[N,4] x) => (float[N,300] y) { m = MatMul (x, w)  y = Add (m, b) }")
    weights = {"w": np.full((4, 300), 1, np.float32), "b": np.full(300, 2, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    source = tmp_path / "a" / "m.onnx"
    source.parent.mkdir()
    onnx.save(model, source, save_as_external_data=True, location="weights.bin", size_threshold=0)
    graph = load(source)
    moved = tmp_path / "b" / "m.onnx"
    moved.parent.mkdir()
    save(graph, source.with_name("copy.onnx"))
    assert source.with_name("copy.onnx").read_bytes() == source.read_bytes()
    save(graph, moved)
    assert sorted(path.name for path in moved.parent.iterdir()) == ["m.onnx", "m.onnx.data"]
    onnx.checker.check_model(moved, full_check=True)
    graph.add_constant(np.ones(1000, np.float32), "new")
    save(graph, moved)
    result = onnx.load(moved)
    assert {t.name: numpy_helper.to_array(t).sum() for t in result.graph.initializer} == {
        "w": 1200,
        "b": 600,
        "new": 1000,
    }
    assert sorted(path.name for path in moved.parent.iterdir()) == ["m.onnx", "m.onnx.data"]


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "missing.bin"])
def test_external_data_stays_in_the_folder(tmp_path, location):
    (tmp_path / "weights.bin").write_bytes(b"\0" * 64)
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    path = tmp_path / "folder" / "m.onnx"
    path.parent.mkdir()
    path.write_bytes(helper.make_model(helper.make_graph([], "g", [], [], [tensor])).SerializeToString())
    with pytest.raises(ModelError, match="external data"):
        _ = next(iter(load(path).constants)).values


def test_subgraphs_see_outer_values_and_nest_deeper_than_protobuf_parses():
    depth = 150
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["o0"])], "inner", [], []).SerializeToString()
    for level in range(1, depth + 1):
        then_branch = wire.encode_field(6, body) + AttributeProto(name="then_branch", type=5).SerializeToString()
        node = NodeProto(op_type="If", input=["c"], output=[f"o{level}"]).SerializeToString()
        body = wire.encode_field(1, node + wire.encode_field(5, then_branch))
    for name, kind in (("x", TensorProto.FLOAT), ("c", TensorProto.BOOL)):
        body += wire.encode_field(11, helper.make_tensor_value_info(name, kind, []).SerializeToString())
    data = helper.make_model(onnx.GraphProto()).SerializeToString()
    data = b"".join(data[tag:end] for field, tag, _, end in wire.scan(data, 0, len(data)) if field != 7)
    data += wire.encode_field(7, body)
    graph = load(data)
    assert to_bytes(graph) == data
    assert len(graph.inputs[1].uses) == depth
    assert len(graph.inputs[0].uses) == 1
    innermost = next(node for node in graph.walk() if node.op == "Relu")
    innermost.graph.set_op(innermost, "Abs")
    changed = to_bytes(graph)
    assert len(changed) == len(data) - 1  # "Abs" for "Relu"; all lengths around it keep their size
    assert b"Abs" in changed


def test_truncated_models_are_refused():
    data = parse("g (float[N] x) => (float[N] y) <float[1] w = {2}> { y = Add (x, w) }").SerializeToString()
    for end in range(len(data)):
        try:
            load(data[:end])
        except ModelError as error:
            assert "\n" not in str(error)


def test_flipped_bits_never_escape_as_other_errors():
    data = parse(
        "g (float[N] x) => (float[N] y) <float[1] w = {2}> { z = Add (x, w) y = Relu (z) }"
    ).SerializeToString()
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            graph = load(bytes(damaged))
            to_bytes(graph)
            for constant in graph.constants:
                _ = constant.values
        except ModelError:
            pass
