"""The `embed-preprocess` pass: pictures as the camera gives them go in, and what comes out is what NumPy's preprocessing
and the original model give."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from scipy.signal import correlate

import onnx_opt
from layout_models import Net, count, kinds
from onnx_opt.errors import UsageError
from onnx_opt.validate import prove
from onnx_text import expect

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def network(dims=("N", 3, "H", "W"), pads=(1, 1, 1, 1), kind=FLOAT, opset=17, strides=(1, 1)) -> onnx.ModelProto:
    """Conv and Relu; channels first."""
    net = Net(opset)
    x = net.input("x", list(dims), kind)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    w, b = net.weights(4, dims[1], 3, 3).astype(dtype), net.weights(4).astype(dtype)
    net.output(net.op("Relu", net.op("Conv", x, w, b, pads=list(pads), strides=list(strides))), kind)
    return net.model()


def signature(model: onnx.ModelProto) -> dict[str, tuple[str, list]]:
    return {
        v.name: (
            TensorProto.DataType.Name(v.type.tensor_type.elem_type),
            [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim],
        )
        for v in model.graph.input
    }


def run(model: onnx.ModelProto, feed: dict) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feed)[0]


def picture(*dims: int, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, dims, dtype, endpoint=True)


def to_the_bit(result: onnx_opt.Result) -> bool:
    return result.report.status == "proven" and result.report.proof["reason"].startswith("equal to the bit")


# -- the interface and the bits ----------------------------------------------------------------------------------------


def test_imagenet_is_what_torchvision_does_to_the_bit():
    model = network()
    result = onnx_opt.optimize(model, "embed-preprocess{preset=imagenet}")
    assert signature(result.to_proto()) == {"x": ("UINT8", ["N", "H", "W", 3])}
    assert to_the_bit(result)
    image = picture(2, 9, 7, 3)
    wanted = (image.astype(np.float32) / np.float32(255) - MEAN.astype(np.float32)) / STD.astype(np.float32)
    expected = run(model, {"x": np.ascontiguousarray(wanted.transpose(0, 3, 1, 2))})
    assert run(result.to_proto(), {"x": image}).tobytes() == expected.tobytes()


def test_the_nodes():
    """The pictures are transposed while they are smallest."""
    result = onnx_opt.optimize(network(), "embed-preprocess{preset=imagenet}")
    assert kinds(result.to_proto()) == ["Transpose", "Cast", "Div", "Sub", "Div", "Conv", "Relu"]


def test_it_holds_at_the_exact_level_too():
    result = onnx_opt.optimize(network(), "embed-preprocess{preset=unit},repeat(fold,cleanup)")
    assert to_the_bit(result)


@pytest.mark.parametrize("opset", [7, 10, 11, 13, 18, 21])
@pytest.mark.parametrize("preset", ["raw", "unit", "signed", "imagenet", "caffe"])
def test_presets_and_operator_sets(preset, opset):
    result = onnx_opt.optimize(network(opset=opset), f"embed-preprocess{{preset={preset}}}", samples=3)
    assert result.report.status == "proven", result.report.warnings
    onnx.checker.check_model(result.to_proto(), full_check=True)


def test_channels_last_models_keep_their_layout():
    net = Net()
    x = net.transpose(net.input("x", ["N", 8, 8, 3]), [0, 3, 1, 2])
    net.output(net.op("Conv", x, net.weights(4, 3, 3, 3)))
    result = onnx_opt.optimize(net.model(), "embed-preprocess{preset=signed}")
    assert result.report.status == "proven"
    assert kinds(result.to_proto()) == ["Cast", "Div", "Sub", "Transpose", "Conv"]


def test_grey_pictures():
    result = onnx_opt.optimize(network(("N", 1, 8, 8)), "embed-preprocess{preset=unit,mean=[0.5],std=[0.25]}")
    assert signature(result.to_proto()) == {"x": ("UINT8", ["N", 8, 8, 1])}
    assert to_the_bit(result)


def test_a_picture_without_a_batch():
    net = Net(18)
    x = net.op("Unsqueeze", net.input("x", [3, "H", "W"]), np.array([0]))
    net.output(net.op("Conv", x, net.weights(4, 3, 3, 3)))
    result = onnx_opt.optimize(net.model(), "embed-preprocess{preset=imagenet,input=x}")
    assert signature(result.to_proto()) == {"x": ("UINT8", ["H", "W", 3])}
    assert result.report.status == "proven"


@pytest.mark.parametrize("kind", [HALF, TensorProto.DOUBLE])
def test_inputs_of_other_types_are_cast_last(kind):
    """ONNX Runtime computes half precision in float32 and leaves out casts between: not the same bits, but close."""
    net = Net()
    net.output(net.op("Relu", net.input("x", ["N", 3, 4, 4], kind)), kind)
    result = onnx_opt.optimize(net.model(), "embed-preprocess{preset=imagenet}")
    assert kinds(result.to_proto())[-2:] == ["Cast", "Relu"]
    assert result.report.status == "proven" if kind == HALF else to_the_bit(result)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_pictures_of_other_types(dtype):
    result = onnx_opt.optimize(network(), f"embed-preprocess{{divisor=65535,dtype={dtype}}}")
    assert signature(result.to_proto())["x"][0] == {"uint16": "UINT16", "float32": "FLOAT"}[dtype]
    assert to_the_bit(result)


def test_bgr_pictures_for_an_rgb_model():
    """Mean and deviation are given in the model's order."""
    model = network()
    result = onnx_opt.optimize(model, "embed-preprocess{preset=imagenet,order=bgr}")
    assert to_the_bit(result)
    rgb = picture(1, 6, 6, 3)
    as_rgb = onnx_opt.optimize(model, "embed-preprocess{preset=imagenet}")
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    assert np.array_equal(run(result.to_proto(), {"x": bgr}), run(as_rgb.to_proto(), {"x": rgb}))


def test_several_inputs():
    net = Net()
    left, right = net.input("left", ["N", 3, 8, 8]), net.input("right", ["N", 3, 8, 8])
    net.output(net.op("Conv", net.op("Sub", left, right), net.weights(4, 3, 3, 3)))
    with pytest.raises(UsageError, match="several inputs look like pictures: left, right"):
        onnx_opt.optimize(net.model(), "embed-preprocess")
    both = onnx_opt.optimize(net.model(), "embed-preprocess{preset=unit,input=[left,right]}")
    assert [kind for kind, _ in signature(both.to_proto()).values()] == ["UINT8", "UINT8"]
    apart = "embed-preprocess{preset=unit,input=left},embed-preprocess{preset=signed,input=right}"
    result = onnx_opt.optimize(net.model(), apart)
    assert both.report.status == result.report.status == "proven"
    assert any("left = x / 255" in note and "right = x / 127.5 - 1" in note for note in result.report.notes)


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("dims", [("N", 3, 12, 20), (1, 3, "H", "W")])
def test_pictures_of_any_size_are_resized(dims, interpolation, opset):
    text = f"embed-preprocess{{preset=imagenet,resize=[12,20],interpolation={interpolation}}}"
    result = onnx_opt.optimize(network(dims, opset=opset), text)
    assert result.report.status == "proven", result.report.warnings
    assert signature(result.to_proto())["x"][1] == [dims[0], "x_height", "x_width", 3]
    if interpolation == "nearest":
        assert to_the_bit(result)


def test_nothing_is_proven_where_what_came_before_is_taken_on_trust():
    """Behind a stripped operator, the preprocessing is held against what was left of the model."""
    net = Net()
    x = net.op("Foo", net.input("x", ["N", 3, 8, 8]), domain="my")
    net.output(net.op("Conv", x, net.weights(4, 3, 3, 3)))
    model = net.model(typed=False)
    model.opset_import.append(helper.make_opsetid("my", 1))
    result = onnx_opt.optimize(model, 'strip-custom-ops{ops="my::Foo=input:0"},embed-preprocess{preset=unit}')
    assert result.report.status == "proven"
    assert any(note.startswith("held against what strip-custom-ops") for note in result.report.notes)
    assert any(
        note.startswith("held against NumPy and the original model: x = x / 255") for note in result.report.notes
    )


@pytest.mark.parametrize("fixed", [{"shapes": {"x": [2, 3, 12, 20]}}, {"dims": {"H": 12, "W": 20, "N": 2}}])
def test_sizes_are_those_of_the_original(fixed):
    result = onnx_opt.optimize(network(), FUSED, **fixed)
    assert result.report.status == "proven", result.report.warnings
    assert signature(result.to_proto()) == {"x": ("UINT8", [2, 12, 20, 3])}


# -- scale and mean in the first Conv ----------------------------------------------------------------------------------

FUSED = "embed-preprocess{preset=imagenet},repeat(fuse-conv-bn-relu,fold,cleanup)"


def convolved(image: np.ndarray, model: onnx.ModelProto, pad: int) -> np.ndarray:
    """Preprocessing, zeros around the normalized picture, and the sums, in float64."""
    w, b = (onnx.numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer)
    x = ((image / 255.0 - MEAN) / STD)[0].transpose(2, 0, 1)
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    y = np.stack([correlate(x, kernel, "valid")[0] for kernel in w]) + b[:, None, None]
    return np.maximum(y, 0)


@pytest.mark.parametrize("pad", [0, 1, 2])
def test_every_pixel_up_to_the_border_is_right(pad):
    """What stands beyond the border is 0 in the normalized picture, which is the mean in pixels and not 0."""
    model = network(pads=[pad] * 4)
    result = onnx_opt.optimize(model, FUSED)
    assert result.report.status == "proven"
    image = picture(1, 6, 7, 3)
    expected = convolved(image, model, pad)
    assert np.abs(run(result.to_proto(), {"x": image})[0] - expected).max() < 2e-6 * np.abs(expected).max()


def test_without_padding_nothing_but_the_cast_is_left():
    result = onnx_opt.optimize(network(pads=[0] * 4), FUSED)
    assert kinds(result.to_proto()) == ["Transpose", "Cast", "Conv", "Relu"]


def test_with_padding_the_mean_stays_in_front_of_it():
    result = onnx_opt.optimize(network(), FUSED)
    assert kinds(result.to_proto()) == ["Transpose", "Cast", "Add", "Conv", "Relu"]


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_that_the_conv_chooses(mode):
    net = Net()
    x = net.input("x", ["N", 3, 9, 8])
    net.output(net.op("Conv", x, net.weights(4, 3, 3, 3), auto_pad=mode, strides=[2, 2]))
    result = onnx_opt.optimize(net.model(), FUSED)
    assert result.report.status == "proven"
    assert count(result.to_proto(), "Add") == (mode != "VALID")


def test_the_order_of_channels_goes_into_the_weights():
    result = onnx_opt.optimize(network(), FUSED.replace("imagenet", "imagenet,order=bgr"))
    assert kinds(result.to_proto()) == ["Transpose", "Cast", "Add", "Conv", "Relu"]
    assert result.report.status == "proven"


def test_a_mean_folded_over_padding_is_found_out():
    """The proof sees the border: a bias that takes in the mean is right inside, and wrong there."""
    model = network()
    right = onnx_opt.optimize(model, FUSED).to_proto()
    wrong = onnx.ModelProto.FromString(right.SerializeToString())
    tensors = {t.name: t for t in wrong.graph.initializer}
    add, conv = (next(n for n in wrong.graph.node if n.op_type == op) for op in ("Add", "Conv"))
    arrays = [onnx.numpy_helper.to_array(tensors[name]) for name in (add.input[1], *conv.input[1:])]
    bias = arrays[2] + (arrays[1] * arrays[0][None]).sum((1, 2, 3))
    tensors[conv.input[2]].CopyFrom(onnx.numpy_helper.from_array(bias.astype(np.float32), conv.input[2]))
    conv.input[0] = add.input[0]
    wrong.graph.node.remove(add)
    image = picture(1, 6, 7, 3)
    one, other = (run(each, {"x": image}) for each in (right, wrong))
    assert np.allclose(one[..., 1:-1, 1:-1], other[..., 1:-1, 1:-1], atol=1e-4)
    assert prove(right.SerializeToString(), wrong.SerializeToString()).failed


def test_half_precision_follows():
    """uint8 is exact in half precision: one Cast."""
    result = onnx_opt.optimize(network(pads=[0] * 4), f"{FUSED},fp16,repeat(fold,cleanup)")
    assert result.report.status == "proven"
    model = result.to_proto()
    assert kinds(model) == ["Transpose", "Cast", "Conv", "Relu", "Cast"]
    assert model.graph.node[1].attribute[0].i == HALF
    assert any(note.startswith("held against NumPy") for note in result.report.notes)


# -- the rules by themselves -------------------------------------------------------------------------------------------


def test_scale_before_shift():
    expect(
        """agraph (float[N,1,4,4] x) => (float[N,1,4,4] y)
           <float s = {0.5}, float t = {3}, float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}>
           { a = Mul(x, s) b = Sub(a, t) y = Conv<pads=[1,1,1,1]>(b, w) }""",
        """agraph (float[N,1,4,4] x) => (float[N,1,4,4] y)
           <float[1,1,1] t = {-6}, float[1,1,3,3] w = {0.5,1,1.5,2,2.5,3,3.5,4,4.5}>
           { a = Add(x, t) y = Conv<pads=[1,1,1,1]>(a, w) }""",
        "fuse-conv-bn-relu",
    )


def test_the_model_s_own_normalization_joins():
    """Two shifts are one: what a model does to its input itself, behind what was embedded."""
    expect(
        """agraph (float[N,2,4,4] x) => (float[N,1,4,4] y)
           <float[2,1,1] s = {1,2}, float t = {3}, float[1,2,3,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}>
           { a = Add(x, s) b = Sub(t, a) y = Conv<auto_pad="SAME_UPPER">(b, w) }""",
        """agraph (float[N,2,4,4] x) => (float[N,1,4,4] y)
           <float[2,1,1] t = {-2,-1}, float[1,2,3,3] w = {-1,-2,-3,-4,-5,-6,-7,-8,-9,-1,-2,-3,-4,-5,-6,-7,-8,-9}>
           { a = Add(x, t) y = Conv<auto_pad="SAME_UPPER">(a, w) }""",
        "fuse-conv-bn-relu",
    )


def test_shape_reads_what_has_the_same_shape():
    expect(
        """agraph (uint8[N,3] x) => (int64[2] y, float[N,3] z)
           <float two = {2}> { a = Cast<to=1>(x) z = Div(a, two) y = Shape(z) }""",
        """agraph (uint8[N,3] x) => (int64[2] y, float[N,3] z)
           <float two = {2}> { a = Cast<to=1>(x) z = Div(a, two) y = Shape(x) }""",
        "fold",
        exact=True,
    )


# -- what it refuses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        (network(("N", 5, 8, 8)), "preset=unit", "no input looks like a picture"),
        (network(("N", 3, 8, 3)), "preset=unit", "it is not clear which of its dims are the channels"),
        (network(("N", 1, 8, 8)), "preset=imagenet", "mean has 3 numbers, input 'x' has 1 channels"),
        (network(("N", 1, 8, 8)), "order=bgr", "neither RGB nor BGR"),
        (network(), "input=y", "no input 'y'"),
        (network(("N", 3, 8, 8)), "resize=[4,4]", "takes 8x8 pixels, not 4x4"),
        (network(opset=7), "resize=[4,4]", "operator set 11"),
        (network(), "std=[0]", "divisor and std must not be 0"),
        (network(), "resize=[4]", "a height and a width"),
        (network(("N", 3, 8, 8)), "input=x,layout=nhwc,dtype=float32", "there is nothing to do"),
    ],
)
def test_refusals(model, options, reason):
    with pytest.raises(UsageError, match=reason):
        onnx_opt.optimize(model, f"embed-preprocess{{{options}}}", validate=False)


def test_an_input_that_is_an_output_too_is_refused():
    model = network()
    model.graph.output.append(model.graph.input[0])
    with pytest.raises(UsageError, match="an output too"):
        onnx_opt.optimize(model, "embed-preprocess", validate=False)


def test_numbers_on_the_command_line(tmp_path):
    from click.testing import CliRunner

    from onnx_opt.cli.optimize import build

    onnx.save(network(), tmp_path / "m.onnx")
    flags = ["--embed-preprocess", "unit", "--embed-preprocess-mean", "0.5,0.4,0.3", "--embed-preprocess-std", "0.2"]
    found = CliRunner().invoke(build(), [str(tmp_path / "m.onnx"), "-O0", *flags], standalone_mode=False)
    assert found.return_value == 0, found.output
    assert "(x / 255 - [0.5, 0.4, 0.3]) / 0.2" in found.output
