"""Tiles give what the whole picture gives.

Weights and pixels are small whole numbers here, so that float32 holds every sum: which order a kernel adds in does not
matter, and any difference is one of where tiles lie and what of them counts.
"""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from layout_models import Net
from onnx_opt.errors import ModelError, OnnxOptError, UsageError
from onnx_opt.runtime import TiledRunner
from onnx_opt.runtime.session import require
from onnx_opt.runtime.settings import Settings, read_settings

PICTURE = ["N", 2, "H", "W"]


class Whole(Net):
    """Models whose weights are whole numbers."""

    def weights(self, *dims: int) -> np.ndarray:
        return self.random.integers(-2, 3, dims).astype(np.float32)

    def conv(self, x: str, channels: int, more: int | None = None, size: int = 3, **attrs) -> str:
        attrs = {"pads": [size // 2] * 4} | attrs if "auto_pad" not in attrs else attrs
        return self.op("Conv", x, self.weights(more or channels, channels, size, size), **attrs)


def picture(*dims: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-3, 4, dims).astype(np.float32)


def tiled(model: bytes, layout: str = "nchw", **options) -> TiledRunner:
    return TiledRunner(model, layout=layout, **options)


def whole(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    name = model.graph.input[0].name
    return ort.InferenceSession(model.SerializeToString(), options).run(None, {name: image})


def check(net: Net, image: np.ndarray, tile, least_tiles: int = 2, **options) -> TiledRunner:
    """All outputs of tiles are those of the whole picture."""
    model = net.model(typed=False)
    runner = tiled(model.SerializeToString(), tile=tile, settings=Settings(level="disabled"), **options)
    assert len(runner.plan(image.shape)) >= least_tiles
    found = runner.run(image)
    for expected, got in zip(whole(model, image), found.values(), strict=True):
        assert got.shape == expected.shape
        assert np.array_equal(got, expected), np.argwhere(got != expected)[[0, -1]]
    return runner


# -- operators ---------------------------------------------------------------------------------------------------------

LAYERS = {
    "conv": lambda n, x: n.conv(x, 2),
    "wide conv": lambda n, x: n.conv(x, 2, size=5, dilations=[3, 2], pads=[6, 4, 6, 4]),
    "without padding": lambda n, x: n.conv(x, 2, pads=[0] * 4),
    "uneven padding": lambda n, x: n.conv(x, 2, pads=[2, 0, 1, 3]),
    "stride": lambda n, x: n.conv(x, 2, strides=[2, 2]),
    "stride 3": lambda n, x: n.conv(x, 2, strides=[3, 1], pads=[0, 1, 0, 1]),
    "same upper": lambda n, x: n.conv(x, 2, auto_pad="SAME_UPPER", strides=[2, 2]),
    "same lower": lambda n, x: n.conv(x, 2, size=2, auto_pad="SAME_LOWER"),
    "pool": lambda n, x: n.op("MaxPool", x, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]),
    "pool up": lambda n, x: n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "mean": lambda n, x: n.op("AveragePool", x, kernel_shape=[2, 4], pads=[0, 1, 0, 1]),
    "transposed": lambda n, x: n.op("ConvTranspose", x, n.weights(2, 2, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
    "transposed 3": lambda n, x: n.op(
        "ConvTranspose", x, n.weights(2, 2, 3, 3), strides=[2, 2], pads=[1] * 4, output_padding=[1, 1]
    ),
    "gaps": lambda n, x: n.op("ConvTranspose", x, n.weights(2, 2, 1, 1), strides=[3, 3]),
    "nearest": lambda n, x: n.op("Resize", x, "", np.array([1, 1, 2, 3], np.float32), mode="nearest"),
    "linear": lambda n, x: n.op("Resize", x, "", np.array([1, 1, 2, 4], np.float32), mode="linear"),
    "thirds": lambda n, x: n.op("Resize", x, "", np.array([1, 1, 3, 3], np.float32), mode="nearest"),
    "halved": lambda n, x: n.op("Resize", x, "", np.array([1, 1, 0.5, 0.5], np.float32), mode="linear"),
    "shuffled": lambda n, x: n.op("DepthToSpace", n.conv(x, 2, 8), blocksize=2),
    "blocks": lambda n, x: n.conv(n.op("SpaceToDepth", x, blocksize=2), 8, 2),
    "zeros around": lambda n, x: n.op("Pad", x, np.array([0, 0, 1, 2, 0, 0, 2, 0])),
    "mirrored": lambda n, x: n.op("Pad", x, np.array([0, 0, 3, 2, 0, 0, 2, 1]), mode="reflect"),
    "edge": lambda n, x: n.op("Pad", x, np.array([0, 0, 3, 2, 0, 0, 2, 1]), mode="edge"),
    "cut": lambda n, x: n.op("Slice", x, np.array([1, 2]), np.array([-3, 1 << 40]), np.array([2, 3])),
    "cut by pad": lambda n, x: n.op("Pad", x, np.array([0, 0, -1, -2, 0, 0, -3, 0])),
    "every second": lambda n, x: n.op("Slice", x, np.array([1]), np.array([1 << 40]), np.array([3]), np.array([2])),
    "skip": lambda n, x: n.op("Add", n.conv(n.conv(x, 2), 2), x),
    "beside": lambda n, x: n.conv(n.op("Concat", x, n.conv(x, 2, size=5), axis=1), 4, 2),
    "channels last": lambda n, x: n.transpose(
        n.op("MatMul", n.transpose(x, [0, 2, 3, 1]), n.weights(2, 2)), [0, 3, 1, 2]
    ),
    "channels of both halves": lambda n, x: n.op(
        "Sub", *n.op("Split", n.conv(x, 2, 4), axis=1, num_outputs=2, outputs=2)
    ),
    "sum of channels": lambda n, x: n.conv(n.op("ReduceSum", x, np.array([1])), 1, 2),
    "shape": lambda n, x: n.op("Reshape", x, n.op("Shape", x)),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("size", [(48, 60), (47, 62), (46, 61)])
def test_operators(layer, size):
    """Each between convolutions that pad, so that what it makes up at the border of a tile would show."""
    net = Whole(18)
    net.output(net.conv(LAYERS[layer](net, net.conv(net.input("x", PICTURE), 2)), 2))
    if layer == "blocks":
        size = (46, 62)  # it takes no others
    check(net, picture(1, 2, *size), (36, 36))


def test_a_hand_written_pixel_shuffle():
    net = Whole()
    x = net.conv(net.input("x", [1, 2, "H", "W"]), 2, 8)
    dims = net.op("Shape", x)
    parts = [net.op("Gather", dims, np.array([axis])) for axis in (2, 3)]
    split = net.op("Concat", np.array([1, 2, 2, 2]), *parts, axis=0)
    x = net.transpose(net.op("Reshape", x, split), [0, 1, 4, 2, 5, 3])
    doubled = [net.op("Mul", part, np.array([2])) for part in parts]
    net.output(net.op("Reshape", x, net.op("Concat", np.array([1, 2]), *doubled, axis=0)))
    check(net, picture(1, 2, 40, 50), 16)


def test_a_u_net():
    net = Whole(18)
    x = net.conv(net.input("x", PICTURE), 2)
    half = net.conv(net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), 2)
    quarter = net.conv(net.op("MaxPool", half, kernel_shape=[2, 2], strides=[2, 2]), 2)
    for skip in (half, x):
        sizes = net.op("Slice", net.op("Shape", skip), np.array([2]), np.array([4]))
        quarter = net.op("Resize", quarter, "", "", sizes, mode="linear", axes=[2, 3])
        quarter = net.conv(net.op("Concat", quarter, skip, axis=1), 4, 2)
    net.output(quarter)
    runner = check(net, picture(1, 2, 96, 64), 48)
    assert runner.plan((1, 2, 96, 64)).tracks[0].overlap % 4 == 0
    with pytest.raises(UsageError, match="run along the picture in different ways"):  # 97 is not twice any number
        runner.plan((1, 2, 97, 64))


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed):
    rng = np.random.default_rng(seed)
    net = Whole(18, seed)
    x = net.input("x", PICTURE)
    chosen = [str(rng.choice(list(LAYERS))) for _ in range(3)]
    for layer in chosen:
        x = LAYERS[layer](net, x)
    net.output(net.conv(x, 2, size=1))
    size = [int(each) for each in rng.integers(90, 130, 2)]
    print(seed, chosen, size)
    try:
        check(net, picture(1, 2, *size), 84)
    except UsageError as error:  # whole numbers of what a Resize makes: not at every size
        assert "depends on the size" in str(error) or "too small" in str(error)


# -- models and pictures -----------------------------------------------------------------------------------------------


def upscaling(dims=(1, 2, 16, 16), seed: int = 0) -> Whole:
    net = Whole(18, seed)
    net.output(net.op("DepthToSpace", net.conv(net.conv(net.input("x", list(dims)), dims[1]), dims[1], 8), blocksize=2))
    return net


def test_a_model_of_one_size():
    """The whole picture never went through this model: it must give what it would with free sizes."""
    fixed, free = upscaling().model(typed=False), upscaling((1, 2, "H", "W")).model()
    runner = tiled(fixed.SerializeToString(), settings=Settings(level="disabled"))
    image = picture(1, 2, 37, 50)
    assert np.array_equal(runner.run(image)[fixed.graph.output[0].name], whole(free, image)[0])
    with pytest.raises(UsageError, match="the picture has 15: pad it"):
        runner.plan((1, 2, 15, 50))


def test_a_model_of_one_size_with_a_stride():
    net = Whole()
    net.output(net.conv(net.input("x", [1, 2, 16, 16]), 2, strides=[4, 4], size=4, pads=[0] * 4))
    runner = tiled(net.model().SerializeToString())
    assert runner.plan((1, 2, 40, 16)).tracks[0].tiles == ((0, 16), (16, 16), (24, 16))
    with pytest.raises(UsageError, match="pad the picture to 44"):
        runner.plan((1, 2, 41, 16))


def test_several_outputs_of_different_scales():
    net = Whole()
    x = net.conv(net.input("x", PICTURE), 2)
    net.output(x)
    net.output(net.conv(x, 2, strides=[4, 2]))
    check(net, picture(2, 2, 50, 70), 32)


def test_channels_last_and_bytes():
    net = Whole(18)
    x = net.op("Cast", net.input("x", ["H", "W", 3], onnx.TensorProto.UINT8), to=1)
    x = net.conv(net.transpose(net.op("Unsqueeze", x, np.array([0])), [0, 3, 1, 2]), 3, 2)
    net.output(net.op("Cast", net.transpose(x, [0, 2, 3, 1]), to=6), onnx.TensorProto.INT32)
    check(net, np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8), 16, input="x", layout="nhwc")


def test_other_inputs_are_given_whole():
    net = Whole()
    x, gain = net.input("x", PICTURE), net.input("gain", [2, 1, 1])
    net.output(net.conv(net.op("Mul", x, gain), 2))
    model = net.model()
    image, gain = picture(1, 2, 30, 30), picture(2, 1, 1)
    found = tiled(model.SerializeToString(), tile=16).run(image, others={"gain": gain})
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"x": image, "gain": gain})
    assert np.array_equal(next(iter(found.values())), expected[0])


def test_memory_mapped_pictures(tmp_path):
    np.save(tmp_path / "in.npy", picture(1, 2, 40, 33))
    image = np.load(tmp_path / "in.npy", mmap_mode="r")
    model = upscaling((1, 2, "H", "W")).model()
    name = model.graph.output[0].name
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (1, 2, 80, 66))
    done = []
    tiled(model.SerializeToString(), tile=16).run(image, {name: out}, progress=lambda *args: done.append(args))
    out.flush()
    assert np.array_equal(np.load(tmp_path / "out.npy"), whole(model, np.array(image))[0])
    assert done[-1] == (len(done), len(done))


def test_arrays_that_do_not_fit_are_refused():
    model = upscaling((1, 2, "H", "W")).model()
    runner = tiled(model.SerializeToString(), tile=16)
    with pytest.raises(UsageError, match="the array given for it is float32 of"):
        runner.run(picture(1, 2, 40, 33), {model.graph.output[0].name: np.zeros((1, 2, 40, 33), np.float32)})
    with pytest.raises(UsageError, match="has 4 dims, the picture has 2"):
        runner.run(picture(40, 33))


@pytest.mark.gpu
def test_tiles_on_a_device():
    """Copies of neighbouring tiles in other threads, while one is computed."""
    settings = read_settings("cuda") if "CUDAExecutionProvider" in ort.get_available_providers() else None
    if settings is None:
        pytest.skip("this ONNX Runtime has no CUDA provider")
    try:
        require(settings)
    except OnnxOptError as error:
        pytest.skip(str(error))
    model, image = upscaling((1, 2, "H", "W")).model(), picture(1, 2, 150, 130)
    for ahead in (0, 3):
        runner = tiled(model.SerializeToString(), tile=32, settings=settings, ahead=ahead)
        assert np.array_equal(next(iter(runner.run(image).values())), whole(model, image)[0])


# -- what has no receptive field ---------------------------------------------------------------------------------------


def squeeze_and_excite() -> Whole:
    net = Whole()
    x = net.conv(net.input("x", PICTURE), 2)
    net.output(net.op("Mul", x, net.op("GlobalAveragePool", x)))
    return net


def attention(net: Net, x: str) -> str:
    rows = net.op("Reshape", x, np.array([0, 2, -1]))
    scores = net.op("Softmax", net.op("MatMul", net.transpose(rows, [0, 2, 1]), rows), axis=-1)
    return net.op("Reshape", net.op("MatMul", rows, scores), net.op("Shape", x))


GLOBAL = {
    "GlobalAveragePool": squeeze_and_excite,
    "InstanceNormalization": lambda: of("InstanceNormalization", np.ones(2, np.float32), np.zeros(2, np.float32)),
    "Softmax": lambda: of("Softmax", axis=2),
    "ReduceMax": lambda: of("Sub", lambda net, x: net.op("ReduceMax", x, axes=[2, 3])),
    "MatMul": lambda: of(attention),
    "CumSum": lambda: of("CumSum", np.array(3)),
    "wrap": lambda: of("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="wrap", opset=19),
    "align_corners": lambda: of(
        "Resize", "", np.array([1, 1, 2, 2], np.float32), mode="linear", coordinate_transformation_mode="align_corners"
    ),
}


def of(kind, *operands, opset: int = 17, **attrs) -> Whole:
    net = Whole(opset)
    x = net.conv(net.input("x", PICTURE), 2)
    if callable(kind):
        y = kind(net, x)
    else:
        y = net.op(kind, x, *(each(net, x) if callable(each) else each for each in operands), **attrs)
    net.output(y)
    return net


@pytest.mark.parametrize("name", GLOBAL)
def test_what_looks_at_the_whole_picture_is_named(name):
    runner = tiled(GLOBAL[name]().model(typed=False).SerializeToString(), tile=16)
    with pytest.raises(UsageError, match=f"tiles can't give what the whole picture gives: .*{name}.*give an overlap"):
        runner.plan((1, 2, 64, 64))
    assert len(runner.plan((1, 2, 16, 16))) == 1  # one tile is the whole picture


def test_a_position_map_is_named():
    net = Whole()
    x = net.op("Add", net.conv(net.input("x", [1, 2, 16, 16]), 2), net.weights(16, 1))
    net.output(x)
    runner = tiled(net.model().SerializeToString())
    with pytest.raises(UsageError, match="varies over the picture by itself"):
        runner.plan((1, 2, 32, 16))


def test_blending_over_an_explicit_overlap():
    """Where neighbours agree, so does their blend; the seams of others have no step."""
    model = squeeze_and_excite().model(typed=False)
    runner = tiled(model.SerializeToString(), tile=32, overlap=12)
    plan = runner.plan((1, 2, 80, 32))
    assert not plan.exact and plan.tracks[0].overlap == 12
    ones = np.ones((1, 2, 80, 32), np.float32)
    tile = whole(model, ones[:, :, :32])[0]
    found = next(iter(runner.run(ones).values()))
    assert np.allclose(found[:, :, :20], tile[:, :, :20], rtol=1e-5)
    first, second = tile[:, :, 20:32], tile[:, :, :12]
    share = (np.arange(1, 13) / 13).reshape(-1, 1)
    assert np.allclose(found[:, :, 20:32], first * (1 - share) + second * share, rtol=1e-4, atol=1e-4)


def test_shares_add_up_to_one():
    runner = tiled(squeeze_and_excite().model(typed=False).SerializeToString(), tile=16, overlap=10)
    for size in (40, 53, 67):
        track = runner.plan((1, 2, size, 16)).tracks[0]
        total = np.zeros(size)
        for seam in next(iter(track.seams.values())):
            total[seam.outer] += seam.weights()
        assert np.allclose(total, 1)


def test_outputs_that_are_no_pictures():
    net = Whole()
    net.output(net.op("ReduceMean", net.conv(net.input("x", PICTURE), 2), axes=[2, 3], keepdims=0))
    runner = tiled(net.model(typed=False).SerializeToString(), tile=16)
    with pytest.raises(UsageError, match=r"is no picture: it can't be put together from tiles \(ReduceMean"):
        runner.plan((1, 2, 32, 32))


def test_tiles_that_are_too_small():
    net = Whole()
    net.output(net.conv(net.input("x", PICTURE), 2, size=9))
    with pytest.raises(UsageError, match="tiles of 8 pixels are too small"):
        tiled(net.model().SerializeToString(), tile=8).plan((1, 2, 32, 32))


def test_what_the_runtime_would_refuse_is_refused_before():
    net = Whole()
    x, gain = net.input("x", PICTURE), net.input("gain", [2, 1, 1])
    net.output(net.conv(net.op("Mul", x, gain), 2))
    runner = tiled(net.model().SerializeToString(), tile=16)
    with pytest.raises(UsageError, match="also needs input 'gain'"):
        runner.run(picture(1, 2, 64, 64))
    with pytest.raises(UsageError, match="input 'x' is float32, the picture is float64"):
        runner.run(np.zeros((1, 2, 64, 64)))


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_an_error_in_a_run_ends_it(ahead):
    net = Whole()
    x, gain = net.input("x", PICTURE), net.input("gain", ["C", 1, 1])
    net.output(net.conv(net.op("Mul", x, gain), 2))
    runner = tiled(net.model(typed=False).SerializeToString(), tile=16, ahead=ahead)
    with pytest.raises(ModelError, match="it does not run on a tile"):
        runner.run(picture(1, 2, 64, 64), others={"gain": picture(5, 1, 1)})


def test_nothing_is_in_flight_that_was_not_asked_for():
    runner = tiled(upscaling((1, 2, "H", "W")).model().SerializeToString(), tile=16, ahead=0)
    image = picture(1, 2, 40, 33)
    assert np.array_equal(next(iter(runner.run(image).values())), whole(upscaling((1, 2, "H", "W")).model(), image)[0])


def test_blending_what_shrinks():
    """Convolutions without padding give less than there are pixels: neighbours must reach over that too."""
    net = Whole()
    x = net.conv(net.input("x", PICTURE), 2, size=5, pads=[0] * 4, strides=[2, 2])
    net.output(net.op("Mul", x, net.op("GlobalMaxPool", x)))
    model = net.model(typed=False).SerializeToString()
    ones = np.ones((1, 2, 50, 50), np.float32)
    found = next(iter(tiled(model, tile=20, overlap=8).run(ones).values()))
    assert found.shape == (1, 2, 23, 23)
    assert np.allclose(found, found[:, :, :1, :1], rtol=1e-5)
    with pytest.raises(UsageError, match="leaves gaps"):
        tiled(model, tile=20, overlap=0).run(ones)
