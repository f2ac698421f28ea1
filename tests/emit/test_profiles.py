"""Profiles: how they are written, what is derived, and what contradicts the model."""

from __future__ import annotations

import pytest
from onnx import parser

from onnx_opt.emit.tensorrt.profiles import complete, read_profile
from onnx_opt.errors import TargetError
from onnx_opt.interface import Dims, restrict
from onnx_opt.ir import Graph, load

TWO_INPUTS = """
<ir_version: 8, opset_import: ["": 17]>
g (float[batch, 3, h, h] x, float[batch, tokens] mask, float[2] fixed) => (float[batch, 3, h, h] y) { y = Relu(x) }
"""


def graph(dims: Dims | None = None, text: str = TWO_INPUTS) -> Graph:
    found = load(parser.parse_model(text))
    restrict(found, dims or {}, {})
    return found


def profiles(*texts: str, **dims: int | tuple[int, int | None]) -> list[str]:
    return list(map(str, complete(graph(dims), [read_profile(text) for text in texts])))


def test_all_of_it_is_given() -> None:
    text = "x=1x3x8x8:4x3x8x8:8x3x16x16,mask=1x5:4x5:8x5"
    assert profiles(text) == [text]


def test_one_shape_stands_for_three() -> None:
    assert profiles("x=2x3x8x8,mask=2x5") == ["x=2x3x8x8:2x3x8x8:2x3x8x8,mask=2x5:2x5:2x5"]


def test_a_dim_takes_its_sizes_from_another_input_of_the_profile_or_from_dim() -> None:
    """`batch` comes from x, `tokens` from --dim, where the best size is the largest."""
    assert profiles("x=1x3x8x8:4x3x8x8:8x3x8x8", tokens=(2, 64)) == ["x=1x3x8x8:4x3x8x8:8x3x8x8,mask=1x2:4x64:8x64"]


def test_without_profiles_all_comes_from_dim() -> None:
    assert profiles(batch=(1, 32), tokens=7, h=(8, 16)) == ["x=1x3x8x8:32x3x16x16:32x3x16x16,mask=1x7:32x7:32x7"]


def test_several_profiles() -> None:
    assert len(profiles("x=1x3x8x8,mask=1x5", "x=8x3x8x8,mask=8x5")) == 2


def test_a_static_model_needs_none() -> None:
    assert profiles(batch=1, tokens=2, h=3) == []


def test_contents_of_a_shape() -> None:
    profile = read_profile("x=1x3x8x8,sizes=[1,64]:[8,64]:[32,64]")
    assert profile.contents == {"sizes": ((1, 64), (8, 64), (32, 64))}
    assert str(profile) == "x=1x3x8x8:1x3x8x8:1x3x8x8,sizes=[1,64]:[8,64]:[32,64]"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names no input"),
        ("1x3", "no profile"),
        ("x=1x3:2x3", "one too few"),
        ("x=1x3:2x3:4x3:5x3", "no profile"),
        ("x=ax3", "no profile"),
        ("x=1x3,x=1x3", "given twice"),
        ("x=1x3:1x3x3:1x3", "different numbers of dims"),
        ("x=4x3:2x3:8x3", "not from the smallest to the largest"),
        ("y=1x3x8x8", "no input 'y'"),
        ("x=1x3", "has 4 dims, the profile has 2"),
        ("x=1x4x8x8", "a dim of input 'x' is 3, it cannot be 4"),
        ("x=1x3x8x8:1x3x8x8:1x3x8x9", "dim 'h' is 8:8:8 and 8:8:9"),
        ("x=1x3x8x8,mask=2x5", "dim 'batch' is 1:1:1 and 2:2:2"),
        ("x=1x3x8x8", "dim 'tokens' of input 'mask' is dynamic and has no largest size"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    with pytest.raises(TargetError, match=reason) as caught:
        profiles(text)
    assert caught.value.exit_code == 3


def test_a_dim_without_a_name_and_an_input_of_any_rank_need_a_remedy() -> None:
    head = '<ir_version: 8, opset_import: ["": 17]> g'
    with pytest.raises(TargetError, match=r"dim 0 of input 'x' is dynamic .*--profile 'x=Nx3:Nx3:Nx3'"):
        complete(graph(text=f"{head} (float[?, 3] x) => (float[?, 3] y) {{ y = Relu(x) }}"), [])
    unranked = parser.parse_model(f"{head} (float x) => (float y) {{ y = Relu(x) }}")
    unranked.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(TargetError, match=r"any number of dims .*--shape x="):
        complete(load(unranked), [])
