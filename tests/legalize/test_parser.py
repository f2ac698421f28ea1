"""What TensorRT's parser refuses before `legalize`, it accepts after."""

import pytest

from engine_support import needs_builder
from onnx_opt.emit.tensorrt.ask import ask
from onnx_opt.ir import to_bytes
from onnx_text import parse, run

pytestmark = needs_builder

REFUSED = {
    "zero point": """g (float[2,3] x) => (float[2,3] y) <float s = {0.5}, uint8 z = {3}> {
        q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }""",
    "bias in int32": """g (float[2,3] x) => (float[2,3] y) <float s = {0.5}, int32[3] b = {1, 2, 3}> {
        d = DequantizeLinear (b, s) y = Add (x, d) }""",
    "dynamic quantization": """g (float[N,3] x) => (float[N,2] y) <int8[3,2] b = {1, 2, 3, 4, 5, 6}> {
        q, s, z = DynamicQuantizeLinear (x) p = MatMulInteger (q, b, z) f = Cast <to = 1> (p) y = Mul (f, s) }""",
    "convolution of integers": """g (uint8[N,1,4,4] x) => (int32[N,1,4,4] y) <uint8[1,1,1,1] w = {3}, uint8 z = {7}> {
        y = ConvInteger (x, w, z) }""",
    "quantized product": """g (uint8[N,3] a) => (uint8[N,2] y) <float s = {0.5}, uint8 z = {3},
        int8[3,2] b = {1, -2, 3, 4, -5, 6}, int8 n = {0}> { y = QLinearMatMul (a, s, z, b, s, n, s, z) }""",
    "capped attention": """<ir_version: 10, opset_import: ["" : 23]>
        g (float[2,2,3,4] q, float[2,2,5,4] k, float[2,2,5,4] v) => (float[2,2,3,4] y) {
        y = Attention <softcap = 2.0> (q, k, v) }""",
    "loss": "g (float[3,5] x, int64[3] t) => (float y) { y = SoftmaxCrossEntropyLoss (x, t) }",
    "statistics": """g (float[3,4] x, float[4] s) => (float[3,4] y, float[3,1] m) {
        y, m = LayerNormalization (x, s) }""",
    "vector": "g (float[3] a, float[2,3,4] b) => (float[2,4] y) { y = MatMul (a, b) }",
    "product of integers": "g (int32[2,3] a, int32[3,4] b) => (int32[2,4] y) { y = MatMul (a, b) }",
    "relu of integers": "g (int32[3] x) => (int32[3] y) { y = Relu (x) }",
    "slice": """g (float[4,5] x) => (float[2,5] y) <int64[1] s = {1}, int64[1] e = {3}> { y = Slice (x, s, e) }""",
    "pool with gaps": """g (float[1,2,9,9] x) => (float[1,2,7,7] y) {
        y = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (x) }""",
    "bits": """<ir_version: 8, opset_import: ["" : 18]>
        g (int32[3] a, int32[3] b) => (int32[3] y) { y = BitwiseXor (a, b) }""",
    "positions that nobody reads": """g (float[1,1,4,4] x) => (float[1,1,2,2] y) {
        y, i = MaxPool <kernel_shape = [3, 3]> (x) }""",
    "sequence": """g (float[2] a, float[3] b) => (float[5] y) {
        s = SequenceConstruct (a, b) y = ConcatFromSequence <axis = 0> (s) }""",
    "parts": """g (float[4,2] x) => (float[1,2] y) <int64 i = {2}> { s = SplitToSequence (x) y = SequenceAt (s, i) }""",
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_parser_accepts_what_it_refused(name):
    before = parse(REFUSED[name])
    assert ask(before.SerializeToString()), "the parser takes it as it is"
    graph, _ = run(before, "legalize", "tensorrt")
    assert not ask(to_bytes(graph))


def test_an_interface_in_fp64_would_become_fp32_silently():
    text = "g (double[N] x) => (double[N] y) { y = Exp (x) }"
    assert ask(parse(text).SerializeToString())
    graph, _ = run(text, "fp32-io,legalize,repeat(fold,cleanup)", "tensorrt")
    assert not ask(to_bytes(graph))
