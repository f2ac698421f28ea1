"""Where fuzzing starts from: small models that between them hold every kind of field, and pipeline texts."""

from __future__ import annotations

import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper, parser
from onnx.onnx_pb import FunctionProto

HEADER = '<ir_version: 10, opset_import: ["": 18, "local": 1]>\n'

TEXTS = {
    "shapes": """g (float[N, 3, S] x) => (float[N, M] y)
        <int64[1] minus = {-1}, int64 zero = {0}, int64[2] both = {0, 2}>
        { s = Shape(x) n = Gather(s, zero) u = Unsqueeze(n, minus) p = Concat <axis = 0> (u, minus) r = Reshape(x, p)
          a = Slice(s, minus, minus) t = Gather(s, both) e = Expand(r, p) c = Cast <to = 1> (e) y = Identity(c) }""",
    "network": """g (float[1, 3, 8, 8] x) => (float[1, 4, 4, 4] y)
        <float[4, 3, 1, 1] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, float[4] b = {1, 2, 3, 4}, int64[8] p = {0,0,0,0,0,0,0,0}>
        { q = Pad(x, p) c = Conv <kernel_shape = [1, 1], pads = [0, 0, 0, 0]> (q, w) n = BatchNormalization(c, b, b, b, b)
          m = MaxPool <kernel_shape = [2, 2], strides = [2, 2], auto_pad = "VALID"> (n) r = Relu(m)
          t = Transpose <perm = [0, 2, 3, 1]> (r) y = Transpose <perm = [0, 3, 1, 2]> (t) }""",
    "generators": """g (float[2] x) => (float[K] y, int64[L] z, float[2, 3] o)
        <int64[2] d = {2, 3}, int64 l = {5}, int64 s = {0}, int64 t = {1}, int64[1] k = {2}, float[2] v = {0, 1}, int64[2] i = {0, 1}>
        { a = ConstantOfShape <value = float[1] {2}> (d) b = Tile(v, k) y = Concat <axis = 0> (b, x) z = Range(s, l, t)
          h = OneHot(i, l, v) f = EyeLike(a) j = Split <axis = 0, num_outputs = 2> (d) o = Mul(a, f)
          w = HannWindow(l) q = Trilu(a) g2 = Squeeze(k) c = CumSum(v, s) }""",
    "branches": """g (bool c, float[N] x) => (float[M] y)
        { y = If (c) <then_branch = a () => (float[P] r) { r = Relu(x) },
                      else_branch = b () => (float[Q] r) { q = Neg(x) r = If (c) <
                          then_branch = d () => (s) { s = Abs(q) }, else_branch = e () => (s) { s = Identity(x) }> }> }""",
    "loop": """g (int64 n, float[N] x) => (float[N] y, float[T, N] z)
        <bool go = {1}>
        { y, z = Loop (n, go, x) <body = b (int64 i, bool c, float[N] v) => (bool d, float[N] w, float[N] u)
            { d = Identity(c) w = Add(v, x) u = Neg(w) }> }""",
    "scan": """g (float[2] s, float[T, 2] x) => (float[2] y, float[T, 2] z)
        { y, z = Scan <num_scan_inputs = 1, body = b (float[2] a, float[2] e) => (float[2] o, float[2] p)
            { o = Add(a, e) p = Identity(o) }> (s, x) }""",
    "constants": """g () => (float[3] a, int64[2] b, float c, int64 d, float[2] f)
        { a = Constant <value = float[3] {1, 2, 3}> () b = Constant <value_ints = [1, 2]> ()
          c = Constant <value_float = 1.5> () d = Constant <value_int = 7> ()
          e = Constant <value_string = "text"> () f = Constant <value_floats = [1.0, 2.0]> () }""",
    "types": """g (seq(float[N]) s, optional(float[2]) o, float16[2] h, double[1] w) => (float[N] y, double[1] z)
        <double[1] w = {2}, int8[2] i = {1, 2}, string[2] t = {"a", "b"}, bool[1] v = {1}>
        { n = SequenceLength(s) y = SequenceAt(s, n) e = OptionalGetElement(o) c = Cast <to = 11> (h) z = Add(w, w)
          j = DequantizeLinear(i, k) k = Constant <value_float = 0.5> () }""",
}  # fmt: skip

PIPELINES = (
    "fold",
    "fold,repeat(cleanup,fuse-conv-bn-relu){max=5}",
    'strip-custom-ops{ops=["a::B=input:1",c::D]},fold{max_growth=64KiB}',
    "'cleanup'{keep-duplicates=true} , layout",
    "repeat(repeat(fold){max=2},cleanup)",
    'missing.py:name{a=[1,[2.5,none]],b="\\n\\""}',
)


def models() -> dict[str, bytes]:
    """The models, by name."""
    found = {name: parser.parse_model(HEADER + text).SerializeToString() for name, text in TEXTS.items()}
    found["function"] = _function().SerializeToString()
    found["tensors"] = _tensors().SerializeToString()
    return found


def _function() -> onnx.ModelProto:
    """Local functions that call each other, one with an attribute of its caller."""
    model = parser.parse_model(HEADER + "g (float[N] x) => (float[N] y) { y = local.outer <alpha = 0.5> (x) }")
    inner = helper.make_node("LeakyRelu", ["a"], ["t"])
    inner.attribute.append(AttributeProto(name="alpha", type=AttributeProto.FLOAT, ref_attr_name="alpha"))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    call = helper.make_node("inner", ["t"], ["b"], domain="local")
    model.functions.append(helper.make_function("local", "outer", ["a"], ["b"], [inner, call], opsets, ["alpha"]))
    model.functions.append(
        FunctionProto(name="inner", domain="local", input=["a"], output=["b"], opset_import=opsets, doc_string="d")
    )
    model.functions[1].node.append(helper.make_node("Neg", ["a"], ["b"]))
    return model


def _tensors() -> onnx.ModelProto:
    """Initializers in every encoding, and what else a model may carry along."""
    model = parser.parse_model(HEADER + "g (float[2] x) => (float[2] y) { y = Add(x, raw) }")
    graph = model.graph
    graph.initializer.append(helper.make_tensor("raw", TensorProto.FLOAT, [2], b"\0" * 8, raw=True))
    graph.initializer.append(helper.make_tensor("listed", TensorProto.FLOAT, [2], [1.0, 2.0]))
    graph.initializer.append(helper.make_tensor("packed", TensorProto.INT4, [3], [1, 2, 3]))
    graph.initializer.append(helper.make_tensor("half", TensorProto.BFLOAT16, [1], [1.0]))
    graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [1], [b"a"]))
    graph.initializer.append(helper.make_tensor("complex", TensorProto.COMPLEX64, [1], [1 + 1j]))
    outside = TensorProto(name="outside", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", "4")):
        outside.external_data.add(key=key, value=value)
    values = numpy_helper.from_array(numpy_helper.to_array(graph.initializer[0]), "sparse")
    indices = helper.make_tensor("", TensorProto.INT64, [2], [0, 5])
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3, 2]))
    graph.quantization_annotation.add(tensor_name="raw").quant_parameter_tensor_names.add(key="SCALE", value="listed")
    graph.value_info.append(helper.make_tensor_value_info("raw", TensorProto.FLOAT, [2]))
    model.metadata_props.add(key="k", value="v")
    model.training_info.add().algorithm.node.append(helper.make_node("Add", ["x", "raw"], ["o"]))
    other = onnx.ModelProto()
    other.CopyFrom(model)
    return other
