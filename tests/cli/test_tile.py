"""``onnx-opt tile``: files in, files out, whole or not at all."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner

from layout_models import Net
from onnx_opt.cli.tile import build
from onnx_opt.errors import UsageError


@pytest.fixture
def model(tmp_path):
    net = Net()
    net.output(net.op("Conv", net.input("x", ["N", 3, "H", "W"]), net.weights(2, 3, 3, 3), pads=[1] * 4))
    onnx.save(net.model(), tmp_path / "m.onnx")
    np.save(tmp_path / "in.npy", np.random.default_rng(0).uniform(-1, 1, (1, 3, 50, 40)).astype(np.float32))
    return tmp_path / "m.onnx"


def tile(model, *flags):
    folder = model.parent
    command = [str(model), "--image", str(folder / "in.npy"), "-o", str(folder / "out.npy"), *flags]
    return CliRunner().invoke(build(), command, standalone_mode=False)


def test_it_writes_what_the_whole_picture_gives(model):
    found = tile(model, "--tile", "24x16")
    assert found.return_value == 0, found.exception
    assert "3 x 3 tiles, overlaps of 2 and 2 pixels: as the whole picture" in found.output
    image = np.load(model.parent / "in.npy")
    assert np.allclose(np.load(model.parent / "out.npy"), ort.InferenceSession(str(model)).run(None, {"x": image})[0])
    assert sorted(path.name for path in model.parent.iterdir()) == ["in.npy", "m.onnx", "out.npy"]


def test_several_outputs_go_to_a_folder(model):
    proto = onnx.load(model)
    proto.graph.node.add(op_type="Neg", input=[proto.graph.output[0].name], output=["neg"])
    proto.graph.output.add(name="neg", type=proto.graph.output[0].type)
    onnx.save(proto, model)
    assert tile(model, "--tile", "24", "-o", str(model.parent / "outs"), "-q").output == ""
    one, other = sorted((model.parent / "outs").iterdir())
    assert np.array_equal(np.load(one), -np.load(other))


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--tile", "0"], "no size"),
        (["--tile", "2"], "too small"),
        (["--image", "/nowhere.npy"], "no such file"),
        (["-o", "/nowhere/out.npy"], "there is no folder"),
        (["--provider", "gpu"], "unknown provider"),
    ],
)
def test_refusals(model, flags, reason):
    found = tile(model, *flags)
    assert isinstance(found.exception, UsageError) and reason in str(found.exception)
    assert not (model.parent / "out.npy").exists()


def test_what_is_no_array(model):
    (model.parent / "in.npy").write_text("text")
    assert "it is no array" in str(tile(model).exception)
