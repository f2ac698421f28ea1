"""Pictures at the ends of a model for TensorRT, which casts unsigned bytes and does nothing else with them."""

import pytest

import onnx_opt
from layout_models import Net, kinds
from onnx_text import expect


def test_bytes_are_cast_before_they_are_moved():
    expect(
        """agraph (uint8[N,4,5,3] x) => (float[N,3,4,5] y)
           { t = Transpose<perm=[0,3,1,2]>(x) y = Cast<to=1>(t) }""",
        """agraph (uint8[N,4,5,3] x) => (float[N,3,4,5] y)
           { c = Cast<to=1>(x) y = Transpose<perm=[0,3,1,2]>(c) }""",
        "legalize",
        target="tensorrt",
        exact=True,
    )


def test_what_becomes_bytes_is_moved_before():
    expect(
        """agraph (float[N,3,4,5] x) => (uint8[N,4,5,3] y) <int64[3] o = {2,1,0}>
           { c = Cast<to=2>(x) t = Transpose<perm=[0,2,3,1]>(c) y = Gather<axis=3>(t, o) }""",
        """agraph (float[N,3,4,5] x) => (uint8[N,4,5,3] y) <int64[3] o = {2,1,0}>
           { t = Transpose<perm=[0,2,3,1]>(x) g = Gather<axis=3>(t, o) y = Cast<to=2>(g) }""",
        "legalize",
        target="tensorrt",
        exact=True,
    )


@pytest.mark.parametrize(("part", "places"), [("", "3,0,1,2"), ("<start=1>", "0,1,2"), ("<start=-2,end=-1>", "1")])
def test_a_shape_reads_what_was_not_moved(part, places):
    expect(
        f"""agraph (uint8[N,4,W,3] x) => (int64[k] y)
           {{ t = Transpose<perm=[3,0,1,2]>(x) y = Shape{part}(t) }}""",
        f"""agraph (uint8[N,4,W,3] x) => (int64[k] y) <int64[{places.count(",") + 1}] o = {{{places}}}>
           {{ s = Shape(x) y = Gather<axis=0>(s, o) }}""",
        "legalize",
        target="tensorrt",
        exact=True,
    )


def test_other_targets_move_what_is_smallest():
    net = Net()
    net.output(net.op("Conv", net.input("x", ["N", 3, "H", "W"]), net.weights(3, 3, 3, 3), pads=[1] * 4))
    passes = "embed-preprocess{preset=unit},embed-postprocess{kind=image},legalize"
    assert kinds(onnx_opt.optimize(net.model(), passes).to_proto())[:2] == ["Transpose", "Cast"]
    found = onnx_opt.optimize(net.model(), passes, target="tensorrt")
    assert found.report.status == "proven"
    assert kinds(found.to_proto())[:2] == ["Cast", "Transpose"]
    assert kinds(found.to_proto())[-2:] == ["Transpose", "Cast"]


def test_the_engine_s_parser_takes_it():
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT for RTX is not installed")
    from onnx_opt.cli.check import ask

    net = Net()
    net.output(net.op("Conv", net.input("x", ["N", 3, "H", "W"]), net.weights(3, 3, 3, 3), pads=[1] * 4))
    passes = "embed-preprocess{preset=imagenet},embed-postprocess{kind=image}"
    before = onnx_opt.optimize(net.model(), passes, target="tensorrt", validate=False)
    after = onnx_opt.optimize(net.model(), f"{passes},legalize", target="tensorrt", validate=False)
    assert [rejection.node for rejection in ask(before.model, "tensorrt").rejections]
    assert not ask(after.model, "tensorrt").rejections
