"""Where QuantizeLinear and DequantizeLinear go: x' is x read through a pair of them."""

import numpy as np
import pytest

from quantize_models import described, model, quantized, weights

W, V = weights(1, 4, 4, 1, 1), weights(2, 4, 4, 1, 1)
HEADER = "g (float[1,4,8,8] x) => (float[1,4,N,M] y) "


def placed(body: str, target: str = "portable", options: str = "measure=false", **constants) -> str:
    constants = {"w": W, "v": V, **constants}
    constants = {name: array for name, array in constants.items() if f" {name})" in body or f" {name}," in body}
    found, _ = quantized(model(HEADER + "{" + body + "}", **constants), options, target=target, validate=False)
    return described(found)


def lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


CASES = {
    "the activation behind a layer stays in its kernel, the output of the model stays float": (
        "a = Conv(x, w) b = Relu(a) y = Conv(b, v)",
        """a = Conv(x', w')
           b = Relu(a)
           y = Conv(b', v')""",
    ),
    "what reads a value in FP32 goes on doing so": (
        "a = Conv(x, w) s = Softmax(x) y = Mul(a, s)",
        """a = Conv(x', w')
           s = Softmax(x)
           y = Mul(a, s)""",
    ),
    "the shortcut of a residual sum is quantized, the other branch is added up in its kernel": (
        "a = Conv(x, w) s = Add(a, x) r = Relu(s) y = Conv(r, v)",
        """a = Conv(x', w')
           s = Add(a, x')
           r = Relu(s)
           y = Conv(r', v')""",
    ),
    "of two layers the later one takes the sum": (
        "a = Conv(x, w) b = Conv(x, v) s = Add(a, b) y = Relu(s)",
        """a = Conv(x', w')
           b = Conv(x', v')
           s = Add(a', b)
           y = Relu(s)""",
    ),
    "a sum of what no layer computes stays float": (
        "e = Exp(x) s = Add(x, e) y = Conv(s, w)",
        """e = Exp(x)
           s = Add(x, e)
           y = Conv(s', w')""",
    ),
    "what only moves elements does so in integers": (
        "a = Conv(x, w) b = Relu(a) p = MaxPool<kernel_shape=[2,2]>(b) y = Conv(p, v)",
        """a = Conv(x', w')
           b = Relu(a)
           p = MaxPool(b')
           y = Conv(p', v')""",
    ),
    "unless somebody wants them in FP32": (
        "b = Exp(x) p = MaxPool<kernel_shape=[2,2]>(b) a = Conv(p, v) y = Mul(a, p)",
        """b = Exp(x)
           p = MaxPool(b)
           a = Conv(p', v')
           y = Mul(a, p)""",
    ),
    "a pool averages integers behind a layer": (
        "a = Conv(x, w) r = Relu(a) y = GlobalAveragePool(r)",
        """a = Conv(x', w')
           r = Relu(a)
           y = GlobalAveragePool(r')""",
    ),
    "and floats elsewhere": (
        "a = GlobalAveragePool(x) b = Exp(a) y = Conv(b, w)",
        """a = GlobalAveragePool(x)
           b = Exp(a)
           y = Conv(b', w')""",
    ),
}


@pytest.mark.parametrize(("body", "after"), CASES.values(), ids=CASES)
def test_placement(body, after):
    assert placed(body) == lines(after)


def test_one_scale_for_what_is_joined():
    body = "a = Exp(x) c = Concat<axis=1>(a, x) y = Conv(c, k)"
    found, _ = quantized(model(HEADER + "{" + body + "}", k=weights(3, 4, 8, 1, 1)), "measure=false", validate=False)
    assert described(found) == lines("a = Exp(x)\nc = Concat(a', x')\ny = Conv(c', k')")
    scales = {node.input[1] for node in found.graph.node if node.op_type == "QuantizeLinear"}
    assert len(scales) == 1


def test_kernels_of_the_processor_also_give_integers():
    body = "a = Conv(x, w) s = Add(a, x) r = Relu(s) t = Conv(r, v) u = Relu(t) y = Exp(u)"
    assert placed(body, "ort-cpu") == lines(
        """a = Conv(x', w')
           s = Add(a', x')
           r = Relu(s)
           t = Conv(r', v')
           u = Relu(t)
           y = Exp(u')"""
    )


def test_activations_that_do_more_than_cutting_off_stand_by_themselves_there():
    body = "a = Conv(x, w) b = LeakyRelu(a) c = Conv(b, v) y = Exp(c)"
    assert placed(body, "ort-cpu") == "a = Conv(x', w')\nb = LeakyRelu(a')\nc = Conv(b', v')\ny = Exp(c')"
    assert placed(body) == "a = Conv(x', w')\nb = LeakyRelu(a)\nc = Conv(b', v')\ny = Exp(c)"


def test_a_layer_that_gives_an_output_of_the_model_has_no_integer_kernel_there():
    assert placed("a = Conv(x, w) y = Conv(a, v)", "ort-cpu") == "a = Conv(x', w')\ny = Conv(a', v)"
    assert placed("y = MatMul(x, m)", "ort-cpu", m=weights(3, 8, 4)) == "y = MatMul(x', m')"


def test_the_user_keeps_nodes_in_fp32():
    body = "a = Conv(x, w) y = Conv(a, v)"
    found, result = quantized(model(HEADER + "{" + body + "}", w=W, v=V), "measure=false,keep=[a]", validate=False)
    assert described(found) == "a = Conv(x, w)\ny = Conv(a', v')"
    assert any("it is to be kept (a)" in line for line in result.explain("a"))


@pytest.mark.parametrize(("target", "bias"), [("portable", "b"), ("ort-cpu", "b'")])
def test_weights_that_are_integers_already_are_read_as_they_are(target, bias):
    stored = {"s": np.array(0.1, np.float32), "w_int8": (10 * W).astype(np.int8), "b": weights(3, 4)}
    proto = model(HEADER + "{ d = DequantizeLinear(w_int8, s) a = Conv(x, d, b) y = Softmax(a) }", **stored)
    found, _ = quantized(proto, "measure=false", validate=False, target=target)
    assert described(found).startswith(f"a = Conv(x', w', {bias})\n")
    assert [tensor.name for tensor in found.graph.initializer][:2] == ["s", "w_int8"]


DECLINED = {
    "weights that are computed": ("e = Exp(x) y = Conv(x, e)", "its weights are only known when the model runs"),
    "weights of NaN": ("y = Conv(x, w)", "infinite or NaN"),
    "a factor": ("f = Flatten(x) y = Gemm<alpha=2.0>(f, w)", "alpha or beta"),
}


@pytest.mark.parametrize("name", DECLINED)
def test_what_is_left_alone_has_a_reason(name):
    body, reason = DECLINED[name]
    constant = {"weights of NaN": W * float("nan"), "a factor": weights(4, 256, 4)}.get(name)
    shape = "float[N,M] y" if "Gemm" in body else "float[A,B,C,D] y"
    source = "g (float[4,4,8,8] x) => (" + shape + ") {" + body + "}"
    proto = model(source, **({} if constant is None else {"w": constant}))
    found, result = quantized(proto, "measure=false", validate=False)
    assert found == proto
    assert any(reason in text for text in result.journal.reasons()), result.journal.reasons()
