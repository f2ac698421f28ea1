"""Sizes are told before anything is computed, so that a bomb costs nothing."""

from __future__ import annotations

import time

import pytest
from onnx import parser

from onnx_opt.evaluate import result_bytes
from onnx_opt.ir import load


def size_of(body: str, constants: str, opset: int = 17) -> int | None:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[N] x) => (float[M] y) <{constants}> {{ {body} }}'
    return result_bytes(next(iter(load(parser.parse_model(text).SerializeToString()))))


HUGE = 2**33

BOMBS = {
    "ConstantOfShape": ("y = ConstantOfShape(s)", f"int64[2] s = {{{HUGE}, {HUGE}}}"),
    "Expand": ("y = Expand(a, s)", f"float[1] a = {{1}}, int64[1] s = {{{HUGE}}}"),
    "Tile": ("y = Tile(a, s)", f"float[1] a = {{1}}, int64[1] s = {{{HUGE}}}"),
    "Range": ("y = Range(a, b, c)", f"int64 a = {{0}}, int64 b = {{{HUGE}}}, int64 c = {{1}}"),
    "Range of floats": ("y = Range(a, b, c)", "float a = {0}, float b = {1e30}, float c = {1}"),
    "Pad": ("y = Pad(a, s)", f"float[1] a = {{1}}, int64[2] s = {{{HUGE}, 0}}"),
    "Resize": ("y = Resize(a, , , s)", f"float[1, 1] a = {{1}}, int64[2] s = {{{HUGE}, 9}}"),
    "Resize by scales": ("y = Resize(a, , s)", "float[1, 1] a = {1}, float[2] s = {1e10, 1e10}"),
    "OneHot": ("y = OneHot(a, d, v)", f"int64[1] a = {{1}}, int64 d = {{{HUGE}}}, float[2] v = {{0, 1}}"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    start = time.perf_counter()
    size = size_of(*BOMBS[name])
    assert size is not None and size >= 2**32
    assert time.perf_counter() - start < 5


def test_outer_product() -> None:
    ones = ", ".join(["1"] * 100)
    size = size_of("y = Add(a, b)", f"float[100, 1] a = {{{ones}}}, float[1, 100] b = {{{ones}}}")
    assert size == 40_000


def test_data_dependent_results_have_a_bound() -> None:
    size = size_of("y = NonZero(a)", "float[2, 3] a = {1, 2, 3, 4, 5, 6}")
    assert size == 2 * 6 * 8


def test_unknown_dimensions_are_unknown_sizes() -> None:
    assert size_of("y = Exp(x)", "float[1] a = {1}") is None


def test_malformed_shapes_are_never_small() -> None:
    size = size_of("y = ConstantOfShape(s)", "int64[1] s = {-5}")
    assert size is None or size > 2**40
