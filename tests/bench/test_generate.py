"""Generated models are valid, the same every time, and hold what their names promise."""

from collections import Counter
from pathlib import Path

import click
import onnx
import pytest
from channels_last import NETWORKS
from generate import generate, size_of

SPECS = ["chain:30", "transformer:120", "transformer-typed:120", "resnet50:32", "mlp:100K", "mlp-external:100K"]
SPECS += ["subgraphs:12", *(f"{network}:2" for network in NETWORKS)]


@pytest.mark.parametrize("spec", SPECS)
def test_valid_and_deterministic(spec: str, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        generate(spec, folder / "model.onnx")
    onnx.checker.check_model(folders[0] / "model.onnx", full_check=True)
    written = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders]
    assert written[0] == written[1]


def ops(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_chain_has_the_nodes_asked_for(tmp_path: Path) -> None:
    generate("chain:31", tmp_path / "m.onnx")
    assert ops(tmp_path / "m.onnx") == {"Conv": 11, "BatchNormalization": 10, "Relu": 10}


def test_resnet50_is_the_real_one(tmp_path: Path) -> None:
    generate("resnet50:32", tmp_path / "m.onnx")
    found = ops(tmp_path / "m.onnx")
    assert (found["Conv"], found["BatchNormalization"], found["Relu"], found["Add"]) == (53, 53, 49, 16)
    parameters = sum(len(tensor.raw_data) // 4 for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer)
    assert parameters == 25_557_032 + 2 * 26_560  # the published count, and the running means and variances


def test_transformer_is_dynamic(tmp_path: Path) -> None:
    generate("transformer:120", tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in dims] == ["batch", "sequence", ""]
    assert len(model.graph.node) >= 120 and ops(tmp_path / "m.onnx")["Shape"] > 0


def test_streamed_weights_are_what_protobuf_would_write(tmp_path: Path) -> None:
    generate("mlp:100K", tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    assert model.SerializeToString(deterministic=True) == (tmp_path / "m.onnx").read_bytes()
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer if tensor.name != "bias")
    assert 50_000 < weights <= 100_000


def test_external_weights_are_the_inline_ones(tmp_path: Path) -> None:
    generate("mlp:100K", tmp_path / "inline.onnx")
    generate("mlp-external:100K", tmp_path / "external.onnx")
    pairs = [onnx.load(tmp_path / name).graph.initializer for name in ("inline.onnx", "external.onnx")]
    inline, external = ({tensor.name: tensor.raw_data for tensor in tensors} for tensors in pairs)
    assert inline == external


def test_sizes() -> None:
    assert [size_of(text) for text in ("6000", "100M", "1.5g")] == [6000, 100_000_000, 1_500_000_000]


@pytest.mark.parametrize("spec", ["nothing:3", "chain", "chain:many"])
def test_bad_specs_are_refused(spec: str, tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter):
        generate(spec, tmp_path / "m.onnx")
