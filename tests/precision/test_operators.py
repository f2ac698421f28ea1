"""Every operator and every operator set: what onnx's own examples become is valid and loads."""

from __future__ import annotations

import onnx
import onnx.checker
import pytest
from onnx import ModelProto, TensorProto

from onnx_opt.ir import to_bytes
from onnx_opt.ir.load import load_bytes
from onnx_opt.passes import PassContext
from onnx_opt.precision import lower
from onnx_opt.target import find_target
from onnx_text import parse

ort = pytest.importorskip("onnxruntime")
ort.set_default_logger_severity(4)
PARTS = 8


@pytest.fixture(scope="module")
def examples() -> list[tuple[str, bytes]]:
    from onnx.backend.test.case.node import collect_testcases

    return [(case.name, case.model.SerializeToString()) for case in collect_testcases(None)]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("keep_io", [True, False])
def test_examples(examples, part, keep_io):
    """A quarter of the examples each: with the interface in FP32 those of the even parts, else the odd ones."""
    for name, data in examples[2 * part + keep_io :: 2 * PARTS][::2]:
        elem_type = TensorProto.BFLOAT16 if part % 4 == 3 else TensorProto.FLOAT16
        result = lowered(data, elem_type, keep_io)
        if result != data and valid(data):
            onnx.checker.check_model(ModelProto.FromString(result), full_check=True)
            if elem_type == TensorProto.FLOAT16 and loads(data):
                assert loads(result), name


def lowered(data: bytes, elem_type: int, keep_io: bool = True) -> bytes:
    graph = load_bytes(data, None)
    lower(graph, PassContext(), elem_type, keep_io=keep_io)
    return to_bytes(graph)


def valid(data: bytes) -> bool:
    try:
        onnx.checker.check_model(ModelProto.FromString(data), full_check=True)
    except Exception:
        return False
    return True


def loads(data: bytes) -> bool:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    return True


TYPED_BY_ATTRIBUTE = {
    "RandomNormal <shape = [2, 2]> ()": 1,  # ONNX Runtime has no kernel that gives half precision
    "RandomUniformLike (x)": 1,
    "EyeLike <dtype = 1> (x)": 1,
    "ConstantOfShape (s)": 10,
    "ConstantOfShape <value = float[1] {2}> (s)": 10,
    "Bernoulli (x)": 1,
    "CastLike (s2, x)": 10,
}


@pytest.mark.parametrize("call", TYPED_BY_ATTRIBUTE)
def test_types_that_are_attributes(call):
    model = parse(f"""g (float[2,2] x, int64[2,2] s2) => (float[2,2] y) <int64[2] s = {{2, 2}}> {{
        a = {call} b = MatMul (a, x) y = Tanh (b)
    }}""")
    result = ModelProto.FromString(lowered(model.SerializeToString(), TensorProto.FLOAT16))
    onnx.checker.check_model(result, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(result, strict_mode=True)
    types = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    assert types["a"] == TYPED_BY_ATTRIBUTE[call]
    assert loads(result.SerializeToString())


@pytest.mark.parametrize("call", ["RandomNormal <shape = [2, 2]> ()", "RandomUniformLike (x)", "EyeLike (x)"])
def test_where_the_target_has_them_types_that_are_attributes_change(call):
    model = parse(f"g (float[2,2] x) => (float[2,2] y) {{ a = {call} b = MatMul (a, x) y = Tanh (b) }}")
    graph = load_bytes(model.SerializeToString(), None)
    done = lower(graph, PassContext(target=find_target("ort-cuda")), TensorProto.FLOAT16)
    result = ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(result, full_check=True)
    assert not done.kept and len(done.casts) == 2


@pytest.mark.parametrize("version", range(7, 27))
def test_every_operator_set(version):
    model = onnx.parser.parse_model(f"""<ir_version: {4 if version < 11 else 10}, opset_import: ["" : {version}]>
    g (float[1,2,4,4] x) => (float[1,8] y)
    <float[2,2,1,1] w = {{1, 2, 3, 4}}, float[2] one = {{1, 2}}, float[8,8] k = {{{", ".join("0.1" for _ in range(64))}}}> {{
        a = Conv (x, w) b = BatchNormalization (a, one, one, one, one) c = Relu (b)
        d = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c) e = Flatten (d) f = MatMul (e, k) y = Softmax (f)
    }}""")
    data = model.SerializeToString()
    result = lowered(data, TensorProto.FLOAT16)
    onnx.checker.check_model(ModelProto.FromString(result), full_check=True)
    assert loads(data) and loads(result)
    assert {t.data_type for t in ModelProto.FromString(result).graph.initializer} == {TensorProto.FLOAT16}
