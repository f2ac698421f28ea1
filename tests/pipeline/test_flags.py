"""Flags of the command line, generated from the passes, and the pipelines that they stand for."""

from __future__ import annotations

import click
import pytest

from onnx_opt.cli import optimize
from onnx_opt.cli.flags import pass_flags
from onnx_opt.cli.optimize import pipeline_for
from onnx_opt.errors import UsageError
from onnx_opt.pipeline import Pipeline, compose

from .conftest import Half, Offer, Pad, Point, Strip

pytestmark = pytest.mark.usefixtures("imaginary")


def pipeline(line: str) -> Pipeline:
    """The pipeline that a command line asks for."""
    command = optimize.build()
    ctx = command.make_context("optimize", ["model.onnx", *line.split()])
    return pipeline_for(ctx, {name: value for name, value in ctx.params.items() if name != "model"})


def test_the_default_is_level_2() -> None:
    assert pipeline("") == compose(2)
    assert pipeline("-O1") == compose(1)
    assert pipeline("-O 3") == compose(3)


def test_a_flag_adds_its_pass_in_its_place() -> None:
    assert pipeline("--fp16") == compose(2, [Half()])
    assert pipeline("-O1 --fp16 --pad-channels 16") == compose(1, [Half(), Pad(16)])


def test_no_takes_a_pass_out_and_the_last_word_counts() -> None:
    assert pipeline("--no-fold") == compose(2, removed={"fold"})
    assert pipeline("--no-fold --fold") == compose(2)
    assert pipeline("--fp16 --no-fp16") == compose(2)
    assert pipeline("--no-pad-channels --pad-channels 16") == compose(2, [Pad(16)])


@pytest.mark.parametrize("line", ["--pad-channels 16", "--pad-channels=16", "--pad-channels 8 --pad-channels 16"])
def test_a_primary_option_is_the_value_of_the_flag(line: str) -> None:
    assert str(pipeline(f"-O0 {line}")) == "pad-channels{multiple=16}"


def test_a_primary_option_may_be_left_out() -> None:
    assert str(pipeline("-O0 --pad-channels --fp16")) == "pad-channels,fp16"
    assert str(pipeline("--pad-channels --no-pad-channels")) == str(compose(2))


def test_a_primary_option_with_its_own_flag_adds_the_pass() -> None:
    assert pipeline("--strip-op a::B --strip-op c::*") == compose(2, [Strip(("a::B", "c::*"))])
    assert str(pipeline("-O0 --strip-op d::Op=input:1")) == 'strip-custom-ops{ops=["d::Op=input:1"]}'


def test_level_0_keeps_the_order_of_the_command_line() -> None:
    assert str(pipeline("-O0 --fp16 --cleanup --fold --cleanup")) == "fp16,cleanup,fold,cleanup"
    assert str(pipeline("--fold -O0 --strip-op a::B --fp16")) == "fold,strip-custom-ops{ops=[a::B]},fp16"


def test_other_options() -> None:
    text = 'fp16{keep-io,careful=false,mode=safe,limit=3,note="7",sizes=[1.0,2.0]}'
    flags = "--fp16-keep-io --no-fp16-careful --fp16-mode safe --fp16-limit 3 --fp16-note 7"
    assert str(pipeline(f"-O0 --fp16 {flags} --fp16-sizes 1 --fp16-sizes 2")) == text
    assert str(pipeline("-O0 --fold --max-fold-growth 64KiB")) == "fold{max-growth=64KiB}"


def test_flags_and_text_say_the_same() -> None:
    for line in ("", "-O1 --fp16 --fp16-keep-io", "--pad-channels 16 --no-fold", "-O0 --strip-op 'a::*'"):
        assert Pipeline.parse(str(pipeline(line))) == pipeline(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--fp16-keep-io", "--fp16-keep-io has no effect: .* --fp16"),
        ("-O0 --max-fold-growth 1MB", "has no effect"),
        ("--no-fold --max-fold-growth 1MB", "has no effect"),
        ("--max-fold-growth lots", "--max-fold-growth lots: a size such as"),
        ("--pad-channels x", "a whole number is needed"),
        ("--pad-channels 0", "multiple must be positive"),
        ("--fp16 --fp16-mode slow", "one of fast, safe"),
        ("--passes fold --fp16", "--passes replaces all of it, --fp16 included"),
        ("--passes fold -O1", "--passes replaces -O1"),
    ],
)
def test_what_makes_no_sense_is_refused(line: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        pipeline(line)


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(click.UsageError, match="--fuse-conv"):
        pipeline("--fuse-conv")


def test_a_flag_that_is_taken_is_left_out(offer: Offer) -> None:
    offer(Point("all", lambda: [Half, Pad]))
    flags, problems = pass_flags({"--fp16-note", "--no-pad-channels"})
    assert "--fp16-note" not in {name for flag in flags for name in flag.opts}
    assert problems == [
        "pass 'fp16': flag --fp16-note is taken; use --passes to set it",
        "pass 'pad-channels': flag --no-pad-channels is taken; use --passes to set it",
    ]
