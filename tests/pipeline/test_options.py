"""Options of passes, the values that they take, and what targets say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import parser

from onnx_opt import errors, load
from onnx_opt.cli import params
from onnx_opt.errors import TargetError, UsageError
from onnx_opt.options import Size, literal, spell
from onnx_opt.target import TARGETS, find_target

from .conftest import Half, Pad, Strip


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("4096", 4096), ("64KiB", 65536), ("10MB", 10_000_000), ("2 gib", 2 << 30), ("7B", 7)],
)
def test_sizes(text: str, number: int) -> None:
    assert Size(text) == number


@given(st.integers(0, 1 << 60))
def test_sizes_are_spelled_so_that_they_read_back(number: int) -> None:
    assert Size(str(Size(number))) == number


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5MB", "1TB", "MB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="a size such as"):
        Size(text)


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text())
def test_values_are_spelled_so_that_they_read_back(value: object) -> None:
    text = spell(value)
    if not isinstance(value, str) or not text.startswith('"'):
        assert literal(text) == value


def test_what_a_class_declares() -> None:
    (multiple, weight) = Pad.declared_options()
    assert (multiple.name, multiple.flag, multiple.metavar, multiple.primary) == (
        "multiple",
        "--pad-channels-multiple",
        "N",
        True,
    )
    assert weight.read(1) == 1.0
    assert Strip.declared_options()[0].repeatable
    assert [o.flag for o in Half.declared_options()][:2] == ["--fp16-keep-io", "--fp16-careful"]


# -- flags with more than a word


def test_dims_and_shapes() -> None:
    assert params.read_dims(["batch=1,seq=1:512", "n=3:", "a=b=2"]) == {
        "batch": 1,
        "seq": (1, 512),
        "n": (3, None),
        "a=b": 2,
    }
    assert params.read_shapes(["x=1x3x224x224", "y:0=?x4", "s=7"]) == {
        "x": [1, 3, 224, 224],
        "y:0": [None, 4],
        "s": [7],
    }


def test_tolerances() -> None:
    assert params.read_tolerance(None) is None
    assert params.read_tolerance("1e-3") == 1e-3
    assert params.read_tolerance("float32=1e-4, y=0") == {"float32": 1e-4, "y": 0.0}
    with pytest.raises(UsageError, match="no error bound"):
        params.read_tolerance("-1")


# -- targets and errors


def test_portable_emits_no_vendor_operators() -> None:
    assert not TARGETS["portable"].supports("FusedConv", "com.microsoft")
    assert TARGETS["ort-cpu"].supports("FusedConv", "com.microsoft")
    assert TARGETS["portable"].supports("Conv")
    assert not TARGETS["tensorrt"].supports("Unique")
    assert not TARGETS["ort-cuda"].supports("Relu", version=27)
    assert TARGETS["ort-cpu"].fuses("Conv", "Relu")
    assert not TARGETS["portable"].fuses("Conv", "Relu")


def test_an_unknown_target() -> None:
    with pytest.raises(UsageError, match="portable, ort-cpu"):
        find_target("tpu")


def test_a_target_names_the_node_that_it_rejects() -> None:
    text = """<ir_version: 8, opset_import: ["": 18]> g (float[2] x, bool c) => (float[2] y)
    { y = If(c) < then_branch = t () => (float[2] a) { [inner] a, i, j, k = Unique(x) },
                  else_branch = e () => (float[2] b) { b = Neg(x) } > }"""
    with pytest.raises(TargetError, match="node 'inner'"):
        TARGETS["tensorrt"].check(load(parser.parse_model(text)))
    TARGETS["ort-cpu"].check(load(parser.parse_model(text)))


def test_errors_are_one_line_and_name_file_node_and_remedy() -> None:
    error = errors.ModelError("two\nlines", path="m.onnx", node="n", remedy="do\tthis")
    assert str(error) == "m.onnx: node 'n': two lines (do this)"
    error.locate("other.onnx")
    assert error.path == "m.onnx"
    assert [e.exit_code for e in (errors.ModelError, errors.UsageError, errors.ValidationError, TargetError)] == [
        2,
        2,
        1,
        3,
    ]
