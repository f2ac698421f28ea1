"""Sessions: every type goes in and comes out, and what cannot run says why."""

from __future__ import annotations

import time

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnx_opt.errors import ModelError, UsageError
from onnx_opt.validate.engine import pack, unpack
from onnx_opt.validate.run import CannotLoad, Rejected, Runtime, Session
from onnx_opt.validate.source import Source

OPSET_21 = '<ir_version: 10, opset_import: ["": 21]>\n'


@pytest.mark.parametrize("name", ["float", "double", "float16", "bfloat16", "float8e4m3fn", "int8", "uint64", "bool"])
def test_types_pass_unchanged(model, name):
    text = OPSET_21 + f"g ({name}[2, N] x) => ({name}[2, N] y) {{ y = Identity(x) }}"
    with Session(Source.of(model(text))) as session:
        dtype = session.signature.inputs[0].type.dtype
        x = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
        (y,) = session.run({"x": x})
    assert y.dtype == dtype
    assert np.array_equal(x.view(np.uint8), y.view(np.uint8))


@pytest.mark.parametrize(("name", "code", "values"), [("int4", 22, [1, -8, 7, 0, -1]), ("uint4", 21, [1, 15, 7, 0, 8])])
def test_types_of_less_than_a_byte(model, name, code, values):
    casts = f"wide = Cast <to = 3> (x) y = Cast <to = {code}> (wide)"
    text = OPSET_21 + f"g ({name}[N] x) => (int8[N] wide, {name}[N] y) {{ {casts} }}"
    with Session(Source.of(model(text))) as session:
        x = np.array(values).astype(getattr(ml_dtypes, name))
        wide, y = session.run({"x": x})
    assert wide.tolist() == values
    assert y.dtype == x.dtype
    assert y.tolist() == x.tolist()


def test_packing_is_undone_by_unpacking():
    x = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    packed = pack(x, 4)
    assert packed.shape == x.shape
    assert packed.reshape(-1)[:3].tolist() == [0x21, 0x43, 0x65]
    assert unpack(packed.reshape(-1)[:3], x.shape, 4).tolist() == x.tolist()


def test_strings_sequences_and_optionals(model):
    with Session(Source.of(model(OPSET_21 + "g (string[N] x) => (string[N] y) { y = Identity(x) }"))) as session:
        assert session.run({"x": np.array(["a", "ü"], object)})[0].tolist() == ["a", "ü"]
    text = OPSET_21 + "g (seq(float[N]) x) => (seq(float[N]) y) { y = Identity(x) }"
    with Session(Source.of(model(text))) as session:
        assert [a.tolist() for a in session.run({"x": [np.ones(2, "f"), np.ones(1, "f")]})[0]] == [[1, 1], [1]]
    text = OPSET_21 + "g (optional(float[N]) x) => (bool y) { y = OptionalHasElement(x) }"
    with Session(Source.of(model(text))) as session:
        assert not session.run({"x": None})[0]
        assert session.run({"x": np.ones(2, "f")})[0]


def test_a_refused_feed_gives_one_clean_line(model):
    with Session(Source.of(model("g (float[N] a, float[M] b) => (float[K] y) { y = Add(a, b) }"))) as session:
        with pytest.raises(Rejected, match=r"^Add node.*2 by 3$") as caught:
            session.run({"a": np.ones(2, "f"), "b": np.ones(3, "f")})
        assert "onnxruntime" not in str(caught.value)


def test_a_missing_operator_is_named(model):
    custom = '<ir_version: 8, opset_import: ["": 17, "acme": 1]> g (float[N] x) => (float[N] y) { y = acme.Foo(x) }'
    with pytest.raises(CannotLoad, match="has no operator acme::Foo") as caught:
        Session(Source.of(model(custom)))
    assert caught.value.operator == ("acme", "Foo")
    with pytest.raises(CannotLoad, match="no kernel for Max on these types"):
        Session(Source.of(model("g (int16[N] x) => (int16[N] y) { y = Max(x, x) }")))


def test_versions_that_are_too_new_are_named(model):
    relu = "g (float[N] x) => (float[N] y) { y = Relu(x) }"
    with pytest.raises(CannotLoad, match="stops at IR version") as caught:
        Session(Source.of(model('<ir_version: 99, opset_import: ["": 17]>\n' + relu)))
    assert caught.value.limit is not None
    with pytest.raises(CannotLoad, match="stops at opset") as caught:
        Session(Source.of(model('<ir_version: 8, opset_import: ["": 99]>\n' + relu)))
    assert caught.value.limit is not None
    assert caught.value.is_lack


def test_what_is_no_model():
    with pytest.raises(CannotLoad) as caught:
        Session(Source.of(b"garbage"))
    assert not caught.value.is_lack
    with pytest.raises(ModelError, match="no such file"):
        Source.of("/nowhere/model.onnx")


def test_what_is_no_library_of_custom_operators(model, tmp_path):
    library = tmp_path / "ops.so"
    library.write_bytes(b"not a library")
    with pytest.raises(UsageError, match="not a custom operator library"):
        Session(Source.of(model("g (float[N] x) => (float[N] y) { y = Relu(x) }")), Runtime(custom_ops=(library,)))


def test_external_data_beside_the_file_and_beside_bytes(model, tmp_path):
    w = np.arange(3000, dtype=np.float32)
    proto = onnx.ModelProto.FromString(model("g (float[1] x) => (float[3000] y) { y = Add(x, w) }", w=w))
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    for source in (Source.of(path), Source.of(path.read_bytes(), folder=tmp_path)):
        with Session(source) as session:
            assert np.array_equal(session.run({"x": np.zeros(1, "f")})[0], w)


def test_a_skeleton_leaves_large_weights_in_the_file_and_still_runs(model, tmp_path):
    w = np.arange(3000, dtype=np.float32)
    path = tmp_path / "model.onnx"
    path.write_bytes(model("g (float[1] x) => (float[3000] y) { y = Add(x, w) }", w=w))
    source = Source.of(path)
    skeleton = source.skeleton()
    assert skeleton.ByteSize() < 500
    assert np.array_equal(source.array(skeleton.graph.initializer[0]), w)
    with Session(source.with_proto(skeleton)) as session:
        assert np.array_equal(session.run({"x": np.zeros(1, "f")})[0], w)


def test_an_endless_loop_is_stopped(model):
    text = """g (float[1] x) => (float[1] y) {
        forever = Constant <value = int64 {9223372036854775807}> ()
        yes = Constant <value = bool {1}> ()
        y = Loop (forever, yes, x) <body = b (int64 i, bool c, float[1] v) => (bool d, float[1] w) {
            d = Identity(c)
            w = Identity(v)
        }>
    }"""
    started = time.perf_counter()
    with Session(Source.of(model(text)), Runtime(limit=0.2)) as session, pytest.raises(Rejected):
        session.run({"x": np.zeros(1, "f")})
    assert time.perf_counter() - started < 20


def test_constants_and_computed_values_multiply_to_the_same_bits(model):
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((300, 300), np.float32), rng.standard_normal((7, 300), np.float32)
    text = "g (float[N, 300] x{}) => (float[N, 300] y) {{ y = MatMul(x, w) }}"
    with Session(Source.of(model(text.format(""), w=w))) as session:
        constant = session.run({"x": x})[0]
    with Session(Source.of(model(text.format(", float[300, 300] w")))) as session:
        computed = session.run({"x": x, "w": w})[0]
    assert np.array_equal(constant, computed)


def test_numpy_helper_reads_what_the_session_returns_for_bfloat16(model):
    values = np.array([1.5, -2.25]).astype(ml_dtypes.bfloat16)
    with Session(Source.of(model(OPSET_21 + "g (bfloat16[N] x) => (bfloat16[N] y) { y = Identity(x) }"))) as session:
        (y,) = session.run({"x": values})
    assert numpy_helper.to_array(numpy_helper.from_array(y)).tolist() == [1.5, -2.25]
