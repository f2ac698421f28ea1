"""What padding costs: the model, measured profiles in its place, and eligibility."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from channel_models import padded, rows
from layout_models import Net
from onnx_opt.channels.cost import aligned_bytes, read_profile
from onnx_opt.channels.layers import ineligible, layers_in, product_of
from onnx_opt.errors import UsageError
from onnx_opt.ir import load
from onnx_opt.pipeline import Pipeline
from onnx_opt.target import CostModel, find_target

FAST, SLOW = 1e14, 1e12


def profile(path: Path, odd: float, even: float) -> Path:
    """Measured rates of float32 layers: of odd channels, and of aligned ones."""
    rows = [
        {"op": op, "dtype": "float32", "k": k, "n": k, "flops": flops, "seconds": flops / rate}
        for op in ("Conv", "MatMul")
        for k, rate in ((63, odd), (64, even))
        for flops in (1e6, 1e9)
    ]
    path.write_text(json.dumps({"format": 1, "bandwidth": 1e13, "launch": 1e-9, "rows": rows}))
    return path


def two_layers():
    net = Net()
    x = net.op("Conv", net.input("x", [1, 64, 32, 32]), net.weights(63, 64, 3, 3))
    net.output(net.op("Conv", x, net.weights(64, 63, 3, 3)))
    return net.model()


@pytest.mark.parametrize(("odd", "is_padded"), [(SLOW, True), (FAST, False)])
def test_a_profile_decides(odd: float, is_padded: bool, tmp_path: Path) -> None:
    path = profile(tmp_path / "profile.json", odd, FAST)
    for target in ("portable", "tensorrt"):
        _, context = padded(two_layers(), f'multiple=4,profile-file="{path}"', target=target)
        assert [bool(row[1]) for row in rows(context).values()] == [is_padded] * 2


def test_a_profile_answers_by_alignment_and_size(tmp_path: Path) -> None:
    model = read_profile(profile(tmp_path / "profile.json", SLOW, FAST), CostModel({"float32": 5.0}))
    assert model.rate("Conv", "float32", 63, 64, 1e6) == pytest.approx(SLOW)
    assert model.rate("ConvTranspose", "float32", 128, 256, 1e12) == pytest.approx(FAST)
    assert model.rate("Gemm", "float32", 8, 4, 1e6) == pytest.approx(FAST)
    assert model.rate("Conv", "float32", 62, 62, 1e6) == 5.0  # nothing like it was measured: the target's model


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "rows": [{"op": "Conv"}]}'])
def test_a_file_that_is_no_profile(text: str, tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text(text)
    with pytest.raises(UsageError, match=r"profile.json.*it is no profile"):
        read_profile(tmp_path / "profile.json", None)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_profile(tmp_path / "none.json", None)


def test_alignment_in_bytes() -> None:
    assert [aligned_bytes("float16", k, 64) for k in (63, 62, 60, 64)] == [2, 4, 8, 16]
    assert aligned_bytes("float32", 64, 3) == 4
    assert aligned_bytes("int8", 16, 8) == 8


@pytest.mark.parametrize("options", ["multiple=0", "max-overhead=-1"])
def test_options_that_make_no_sense(options: str) -> None:
    with pytest.raises(UsageError, match="must"):
        Pipeline.parse(f"pad-channels{{{options}}}")


# -- eligibility -------------------------------------------------------------------------------------------------------


def layers_of(net: Net) -> list:
    net.output(next(iter(net.nodes)).output[0])
    return list(layers_in(load(net.model())))


@pytest.mark.parametrize(
    ("dims", "attrs", "reason"),
    [
        ((64, 64, 3, 3), {}, ""),
        ((64, 64, 3, 3), {"strides": [2, 2]}, ""),
        ((64, 64, 1, 1), {"strides": [2, 2]}, "stride: 2x2 is larger than the kernel 1x1"),
        ((64, 1, 3, 3), {"group": 64}, "groups: depthwise, there is no matrix product"),
        ((64, 32, 3, 3), {"group": 2}, ""),
        ((60, 10, 3, 3), {"group": 6}, "channels: 10 in and 10 out in each group, no multiple of 4"),
        ((63, 64, 3, 3), {}, "channels: 63 out, no multiple of 4"),
    ],
)
def test_eligible_convolutions(dims: tuple[int, ...], attrs: dict, reason: str) -> None:
    net = Net()
    net.op("Conv", net.input("x", ["N", dims[1] * attrs.get("group", 1), 8, 8]), net.weights(*dims), **attrs)
    (node,) = layers_of(net)
    assert ineligible(node, find_target("tensorrt")) == reason


def test_few_channels_of_an_input_are_enough() -> None:
    net = Net()
    net.op("Conv", net.input("x", ["N", 4, 8, 8]), net.weights(8, 4, 3, 3))
    (node,) = layers_of(net)
    assert ineligible(node, find_target("tensorrt"), 8) == ""


def test_a_weight_of_unknown_size_is_dynamic() -> None:
    net = Net()
    net.op("MatMul", net.input("x", ["N", "K"]), net.input("w", ["K", 8]))
    (node,) = layers_of(net)
    assert ineligible(node, find_target("tensorrt")).startswith("dynamic")


def test_sizes_of_products() -> None:
    net = Net()
    x = net.input("x", ["N", 20])
    net.op("Gemm", x, net.weights(7, 20), transB=1)
    net.op("MatMul", x, net.weights(20, 9))
    net.op("ConvTranspose", net.input("z", ["N", 6, 4, 4]), net.weights(6, 5, 2, 2), group=2)
    found = [product_of(node) for node in layers_of(net)]
    assert [(each.k, each.n, each.groups) for each in found] == [(20, 7, 1), (20, 9, 1), (3, 5, 2)]


def test_half_precision_and_bytes_count_by_what_is_stored() -> None:
    net = Net()
    scale, zero = np.float32(0.1), np.int8(0)
    x = net.op("DequantizeLinear", net.op("QuantizeLinear", net.input("x", ["N", 8, 8, 8]), scale, zero), scale, zero)
    w = net.op("DequantizeLinear", np.ones((8, 8, 1, 1), np.int8), scale, zero)
    net.output(net.op("Conv", x, w))
    (node,) = layers_in(load(net.model()))
    assert ineligible(node, find_target("tensorrt")) == "channels: 8 in and 8 out, no multiple of 16"
