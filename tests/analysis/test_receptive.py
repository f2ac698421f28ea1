"""Receptive fields hold every pixel that has an influence, and not many more."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from layout_models import Net
from onnx_opt.analysis.receptive import Reach, receptive_fields
from onnx_opt.interface import restrict
from onnx_opt.ir import load
from onnx_text import parse

SIZE = 64


def reach(model: onnx.ModelProto | str, axis: int = 2, size: int = SIZE) -> Reach:
    """How the first output runs along an axis of the first input."""
    graph = load(parse(model) if isinstance(model, str) else model)
    value = graph.inputs[0]
    restrict(graph, {}, {value.name: [size if dim in ("H", "W") else None for dim in value.declared.shape]})
    return receptive_fields(graph, value, axis).reaches[graph.outputs[0]]


def influences(model: onnx.ModelProto, axis: int = 2) -> dict[int, tuple[int, int]]:
    """Element of the output -> the first and the last pixel that it depends on, found by changing each pixel."""
    session = ort.InferenceSession(model.SerializeToString())
    shape = [dim if isinstance(dim, int) else SIZE for dim in session.get_inputs()[0].shape]
    still = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    before = session.run(None, {"x": still})[0]
    found: dict[int, tuple[int, int]] = {}
    for pixel in range(SIZE):
        moved = still.copy()
        moved[(slice(None),) * axis + (pixel,)] += 50
        changed = session.run(None, {"x": moved})[0] != before
        for element in np.flatnonzero(changed.any(tuple(a for a in range(changed.ndim) if a != axis))):
            first, _ = found.get(int(element), (pixel, pixel))
            found[int(element)] = (first, pixel)
    return found


def network(*layers) -> onnx.ModelProto:
    net = Net(18)
    x = net.input("x", [1, 1, "H", "W"])
    for op, operands, attrs in layers:
        x = net.op(
            op,
            x,
            *(
                net.random.uniform(1, 2, each).astype(np.float32) if isinstance(each, tuple) else each
                for each in operands
            ),
            **attrs,
        )
    net.output(x)
    return net.model(typed=False)


CONV = ("Conv", [(1, 1, 3, 3)], {"pads": [1] * 4})
STRIDED = ("Conv", [(1, 1, 5, 5)], {"pads": [2] * 4, "strides": [2, 2]})
DILATED = ("Conv", [(1, 1, 3, 3)], {"pads": [4] * 4, "dilations": [4, 4]})
TRANSPOSED = ("ConvTranspose", [(1, 1, 4, 4)], {"pads": [1] * 4, "strides": [2, 2]})
MEAN = ("AveragePool", [], {"kernel_shape": [2, 2], "strides": [2, 2]})
NEAREST = ("Resize", ["", np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"})
LINEAR = ("Resize", ["", np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"})
CUBIC = ("Resize", ["", np.array([1, 1, 2, 2], np.float32)], {"mode": "cubic"})
SMOOTH = ("Resize", ["", np.array([1, 1, 0.25, 0.25], np.float32)], {"mode": "linear", "antialias": 1})
CUT = ("Slice", [np.array([3]), np.array([60]), np.array([2])], {})


@pytest.mark.parametrize(
    ("layers", "slack"),
    [
        ([CONV], 0),
        ([CONV, CONV, CONV], 0),
        ([STRIDED, CONV, STRIDED], 0),
        ([DILATED, MEAN, CONV], 0),
        ([MEAN, CONV, TRANSPOSED, CONV], 4),
        ([MEAN, NEAREST, CONV], 4),
        ([MEAN, LINEAR, CONV], 4),
        ([CUBIC, CONV], 2),
        ([SMOOTH, CONV], 4),
        ([CUT, CONV], 10),
    ],
)
def test_what_has_an_influence_lies_inside(layers, slack):
    """`slack` more pixels at most are taken for such."""
    model = network(*layers)
    found = reach(model)
    assert not found.reason
    widest = 0.0
    for element, (first, last) in influences(model).items():
        assert found.scale * element + found.low <= first <= last <= found.scale * element + found.high
        if first > 0 and last < SIZE - 1:
            widest = max(widest, last - first)
    assert widest <= found.high - found.low <= widest + slack


def test_the_alignment_is_that_of_all_values():
    """Inside of the network an element may stand for more pixels than at its end."""
    model = network(STRIDED, STRIDED, NEAREST, NEAREST)
    graph = load(model)
    restrict(graph, {}, {"x": [1, 1, 64, 64]})
    fields = receptive_fields(graph, graph.inputs[0], 3)
    assert fields.reaches[graph.outputs[0]].scale == 1
    assert fields.alignment == 4


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("y = ReduceMean <axes=[2,3]>(x)", "ReduceMean 'y' works over the whole picture"),
        ("y = Softmax <axis=2>(x)", "Softmax 'y' works over the whole picture"),
        ("y = LayerNormalization <axis=1>(x, x)", "takes parameters that depend on the picture"),
        ("y = Transpose <perm=[0,1,3,2]>(x) ", ""),
        (
            "t = Transpose <perm=[0,1,3,2]>(x) y = Add(x, t)",
            "Add 'y' joins values that run along the picture in different",
        ),
        ("y = MatMul(x, x)", "MatMul 'y' sums over the picture"),
        ("y = Concat <axis=2>(x, x)", "Concat 'y' joins parts of the picture"),
        ("y = NonZero(x)", "NonZero 'y' is not known to work on neighbouring pixels only"),
        ("y = Foo.Bar(x)", "Bar 'y' is not known to work on neighbouring pixels only"),
    ],
)
def test_reasons(node, reason):
    text = f"""<ir_version: 8, opset_import: ["" : 17, "Foo" : 1]>
        agraph (float[1,2,H,W] x) => (float[a,b,c,d] y) {{ {node} }}"""
    found = reach(text)
    assert found.reason.startswith(reason) or reason in found.reason
    assert bool(found.reason) == bool(reason)


def test_a_subgraph_on_the_picture():
    text = """agraph (float[1,2,H,W] x, bool c) => (float[a,b,e,d] y) {
        y = If (c) <then_branch = t () => (float[a,b,e,d] p) { p = Neg(x) },
                    else_branch = e () => (float[a,b,e,d] q) { q = Abs(x) }> }"""
    assert reach(text).reason == "If 'y' runs a subgraph on the picture"


def test_sizes_are_no_pixels():
    text = """agraph (float[1,2,H,W] x) => (float[1,2,H,W] y) <int64[1] a = {2}> {
        s = Shape(x) n = Gather(s, a) f = Cast<to=1>(n) y = Mul(x, f) }"""
    assert reach(text) == Reach(2)


def test_scales_that_no_binary_number_holds():
    net = Net(18)
    net.output(
        net.op("Resize", net.input("x", [1, 1, "H", "W"]), "", np.array([1, 1, 3, 3], np.float32), mode="linear")
    )
    assert reach(net.model(typed=False)).rounds == "Resize 'n0'"
