"""Small files that ask for terabytes: folding declines before anything is allocated, and the node stays."""

from __future__ import annotations

import pytest
from onnx import AttributeProto, NodeProto

from .conftest import Trial, model_of

BOMBS = {
    "ConstantOfShape": "<int64[3] d = {65536, 65536, 65536}> { b = ConstantOfShape(d) y = ReduceMax(b) }",
    "ConstantOfShape that overflows": "<int64[2] d = {4611686018427387904, 16}> { b = ConstantOfShape(d) y = ReduceMax(b) }",
    "Expand": "<float[1] w = {1}, int64[2] d = {1048576, 1048576}> { b = Expand(w, d) y = ReduceMax(b) }",
    "Tile": "<float[2] w = {1, 2}, int64[1] t = {4611686018427387904}> { b = Tile(w, t) y = ReduceMax(b) }",
    "Range": "<int64 s = {0}, int64 l = {9223372036854775807}, int64 d = {1}> { r = Range(s, l, d) b = Cast <to = 1> (r) y = ReduceMax(b) }",
    "Range of floats": "<float s = {0}, float l = {1e30}, float d = {1e-30}> { b = Range(s, l, d) y = ReduceMax(b) }",
    "Pad": "<float[1] w = {1}, int64[2] p = {0, 1099511627776}> { b = Pad(w, p) y = ReduceMax(b) }",
    "Resize": "<float[1, 1, 2, 2] w = {1, 2, 3, 4}, float[4] f = {1, 1, 1e6, 1e6}> { b = Resize(w, , f) y = ReduceMax(b) }",
    "Resize to sizes": "<float[1, 1, 2, 2] w = {1, 2, 3, 4}, int64[4] z = {1, 1, 1048576, 1048576}> { b = Resize(w, , , z) y = ReduceMax(b) }",
    "OneHot": "<int64[2] i = {0, 1}, int64 n = {1099511627776}, float[2] v = {0, 1}> { b = OneHot(i, n, v) y = ReduceMax(b) }",
    "Gather of one element": "<float[1] w = {1}, int64[2] d = {1048576, 1048576}, int64 z = {0}> { i = Expand(z, d) b = Gather(w, i) y = ReduceMax(b) }",
    "window": "<int64 n = {1099511627776}> { b = HannWindow(n) y = ReduceMax(b) }",
    "mel weights": "<int64 n = {1048576}, int64 r = {16000}, float l = {0}, float u = {8000}> { b = MelWeightMatrix(n, n, r, l, u) y = ReduceMax(b) }",
    "outer product": "<float[1] w = {1}, int64[2] c = {1048576, 1}, int64[2] r = {1, 1048576}> { p = Expand(w, c) q = Expand(w, r) b = Mul(p, q) y = ReduceMax(b) }",
    "matrix product": "<float[1] w = {1}, int64[2] c = {1048576, 1}, int64[2] r = {1, 1048576}> { p = Expand(w, c) q = Expand(w, r) b = MatMul(p, q) y = ReduceMax(b) }",
    "transposed convolution": "<float[1, 1, 2] w = {1, 2}> { b = ConvTranspose <strides = [1099511627776]> (w, w) y = ReduceMax(b) }",
    "output padding": "<float[1, 1, 2] w = {1, 2}> { b = ConvTranspose <strides = [2], output_padding = [1099511627776]> (w, w) y = ReduceMax(b) }",
    "MaxUnpool": "<float[1, 1, 1] w = {1}, int64[1, 1, 1] i = {0}, int64[3] z = {1, 1, 1099511627776}> { b = MaxUnpool <kernel_shape = [1]> (w, i, z) y = ReduceMax(b) }",
    "convolution pads": "<float[1, 1, 2] w = {1, 2}> { b = Conv <pads = [1099511627776, 1099511627776]> (w, w) y = ReduceMax(b) }",
    "pool pads": "<float[1, 1, 2] w = {1, 2}> { b = AveragePool <kernel_shape = [2], pads = [1099511627776, 1099511627776]> (w) y = ReduceMax(b) }",
    "identity matrix": "<float[1] w = {1}, int64[2] d = {1048576, 1048576}> { e = Expand(w, d) b = EyeLike(e) y = ReduceMax(b) }",
    "Fourier transform": "<float[1, 2, 1] w = {1, 2}, int64 n = {1099511627776}> { b = DFT(w, n) y = ReduceMax(b) }",
    "columns to image": "<float[1, 1, 1] w = {1}, int64[2] z = {1048576, 1048576}, int64[2] k = {1, 1}> { b = Col2Im(w, z, k) y = ReduceMax(b) }",
    "CenterCropPad": "<float[1] w = {1}, int64[1] z = {1099511627776}> { b = CenterCropPad(w, z) y = ReduceMax(b) }",
}  # fmt: skip
CROPPED = {
    "Pad that crops": "<float[4] w = {1, 2, 3, 4}, int64[2] p = {-1099511627776, 1099511627776}> { b = Pad(w, p) y = ReduceMax(b) }",
    "Pad on an axis": "<float[1, 4] w = {1, 2, 3, 4}, int64[4] p = {0, -68719476736, 0, 68719476736}> { b = Pad(w, p) y = ReduceMax(b) }",
}  # fmt: skip
"""The result is small, what numpy would make on the way is not."""
NEWER = {"columns to image": 18, "CenterCropPad": 18}


def added(text: str, opset: int = 17) -> str:
    """A graph in which the bomb is added to the input: y = x + ..."""
    return f'<ir_version: 8, opset_import: ["": {opset}]>\ng (float[1] x) => (float[n] out) ' + text.replace(
        "y = ReduceMax(b) }", "y = ReduceMax <keepdims = 0> (b) out = Add(x, y) }"
    )


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_not_folded(trial: Trial, name: str) -> None:
    model = model_of(added(BOMBS[name], NEWER.get(name, 17)))
    before = [node.op_type for node in model.graph.node]
    after = [node.op_type for node in trial.write(model).passes("-O2").graph.node]
    assert "ReduceMax" in after
    assert len(after) == len(before)


@pytest.mark.parametrize("name", BOMBS | CROPPED)
def test_nor_where_growth_is_allowed(trial: Trial, name: str) -> None:
    trial.write(added((BOMBS | CROPPED)[name], NEWER.get(name, 17))).passes("-O1", "--max-fold-growth", "1000GiB")


@pytest.mark.parametrize("step", ["a{n} = Concat <axis = 0> (a{i}, a{i})", "a{n} = Tile(a{i}, two)"])
def test_doubling(trial: Trial, step: str) -> None:
    """Forty steps, each twice as large as the last one: those within the limit may fold, the others stay."""
    steps = " ".join(step.format(i=i, n=i + 1) for i in range(40))
    text = f"g (float[1] x) => (float[n] y) <float[1] a0 = {{1}}, int64[1] two = {{2}}> {{ {steps} y = Add(x, a40) }}"
    assert len(trial.write(text).passes("-O1").graph.node) > 15


def test_doubling_of_strings(trial: Trial) -> None:
    steps = " ".join(f"a{i + 1} = StringConcat(a{i}, a{i})" for i in range(50))
    text = f'<ir_version: 9, opset_import: ["": 20]> g () => (string[1] a50) <string[1] a0 = {{"x"}}> {{ {steps} }}'
    assert len(trial.write(text).passes("-O1").graph.node) == 50


def test_many_that_are_small_enough_each(trial: Trial) -> None:
    """100 results of 200 MiB are 20 GB when they live at the same time."""
    count = 100
    expands = " ".join(f"e{i} = Expand(w, d)" for i in range(count))
    sums = " ".join(f"s{i} = ReduceMax <keepdims = 0> (e{i})" for i in range(count))
    names = ", ".join(f"s{i}" for i in range(count))
    text = f"<float w = {{1}}, int64[1] d = {{52428800}}> {{ {expands} {sums} t = Sum({names}) y = Add(x, t) }}"
    trial.write(f"g (float[1] x) => (float[1] y) {text}").passes("-O1")


def test_work_without_end(trial: Trial) -> None:
    """Results that are small, and products that take days."""
    text = """<float w = {1}, int64[2] p = {512, 2048}, int64[2] q = {2048, 512}> { a = Expand(w, p) b = Expand(w, q) STEPS y = Add(x, s) }"""
    steps = "c0 = MatMul(a, b) " + " ".join(f"c{i + 1} = MatMul(c{i}, c{i})" for i in range(1000))
    body = text.replace("STEPS", f"{steps} s = ReduceMax <keepdims = 0> (c1000)")
    trial.write(f"g (float[1] x) => (float[1] y) {body}").passes("-O1", "--max-fold-growth", "1000GiB")


def test_sparse_tensors(trial: Trial) -> None:
    """Two numbers that stand for 2^36."""
    model = model_of("g (float[1] x) => (float[n] y) { t = ReduceMax <keepdims = 0> (w) y = Add(x, t) }")
    for count in (1 << 30, 1 << 36, 1 << 62):
        del model.graph.sparse_initializer[:]
        sparse = model.graph.sparse_initializer.add(dims=[count])
        sparse.values.CopyFrom(model_of("g () => () <float[2] w = {1, 2}> {}").graph.initializer[0])
        sparse.indices.CopyFrom(model_of("g () => () <int64[2] i = {0, 5}> {}").graph.initializer[0])
        assert trial.write(model).passes("-O2").graph.sparse_initializer[0] == sparse


def test_a_loop_without_end(trial: Trial) -> None:
    text = """g (float[1] x) => (float[1] y) <int64 n = {9223372036854775807}, bool go = {1}>
        { y, z = Loop (n, go, x) <body = b (int64 i, bool c, float[1] v) => (bool d, float[1] w, float[1] u)
            { d = Identity(c) w = Neg(v) u = Identity(w) }> }"""
    assert "Loop" in [
        node.op_type for node in trial.write(text.replace("float[1] y)", "float[1] y)")).passes("-O2").graph.node
    ]


@pytest.mark.parametrize("op", ["Mul", "Add", "Concat <axis = 0>"])
def test_expressions_that_grow(trial: Trial, op: str) -> None:
    """Dims that are polynomials of degree 2^40."""
    steps = " ".join(f"s{i + 1} = {op}(s{i}, s{i}) t{i} = Add(s{i + 1}, one)" for i in range(40))
    text = f"g (float[n, m] x) => (float[k] y) <int64[1] one = {{1}}> {{ s0 = Shape(x) {steps} r = Reshape(x, s40) y = Relu(r) }}"
    trial.write(text).passes("-O2")


def test_attributes_that_ask_for_lists(trial: Trial) -> None:
    """Counts in attributes are no reason to make a list of that length."""
    huge = 1 << 62
    model = model_of("g (float[4] x) => (float[n] y) { y = Relu(x) }")
    for op, attribute, results in (
        ("Split", "num_outputs", 2),
        ("Scan", "num_scan_inputs", 1),
        ("SplitToSequence", "axis", 1),
    ):
        node = NodeProto(op_type=op, input=["x"], output=[f"{op}{i}" for i in range(results)])
        node.attribute.add(name=attribute, type=AttributeProto.INT, i=huge)
        if op == "Scan":
            body = model_of("b (float[4] v) => (float[4] w) { w = Relu(v) }").graph
            node.attribute.add(name="body", type=AttributeProto.GRAPH, g=body)
        model.graph.node.append(node)
    model.opset_import[0].version = 18
    trial.write(model).passes("-O2")
