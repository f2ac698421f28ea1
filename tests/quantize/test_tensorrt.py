"""What TensorRT's parser says of quantized models: the placement is one that it takes."""

import pytest

from engine_support import needs_builder
from onnx_opt.emit.tensorrt.ask import ask
from quantize_models import CNN, OPSET_21, WEIGHTS, model, quantized, weights

pytestmark = needs_builder

PRODUCTS = "g (float[N,64] x) => (float[N,16] y) { a = MatMul(x, w) r = Relu(a) y = Gemm<transB=1>(r, v) }"
MATRICES = {"w": weights(1, 64, 32), "v": weights(2, 16, 32)}


@pytest.mark.parametrize(
    ("text", "constants", "options"),
    [
        (CNN, WEIGHTS, "form=int8"),
        (OPSET_21 + CNN, WEIGHTS, "form=int8"),
        (OPSET_21 + CNN, WEIGHTS, "form=fp8"),
        (OPSET_21 + PRODUCTS, MATRICES, "form=int8"),
        (OPSET_21 + PRODUCTS, MATRICES, "form=fp8"),
        (OPSET_21 + PRODUCTS, MATRICES, "form=int4,block=32"),
    ],
)
def test_the_parser_takes_every_form(text, constants, options):
    found, result = quantized(model(text, **constants), options, target="tensorrt", tolerance=0.5)
    assert result.report.measured["quantize"]["weights"]
    assert ask(found.SerializeToString()) == []
