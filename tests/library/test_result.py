"""A result in a notebook, an interpreter, a terminal, and what the log says of how it came about."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

import onnx_opt
from onnx_text import parse

MODEL = "g (float[4] x) => (float[4] y) {a = Identity(x)\n b = Exp(a)\n y = Identity(b)}"


@pytest.fixture(scope="module")
def result() -> onnx_opt.Result:
    return onnx_opt.optimize(parse(MODEL), "cleanup", validate=False)


def test_an_interpreter_shows_one_line(result: onnx_opt.Result) -> None:
    assert repr(result).startswith("<onnx_opt.Result: unchecked, 3 -> 1 nodes, ")


def test_a_notebook_shows_a_table(result: onnx_opt.Result) -> None:
    html = result._repr_html_()
    assert '<td style="text-align:left">nodes</td><td>3</td><td>1</td>' in html
    assert '<td style="text-align:left">Identity</td><td>2</td><td>0</td>' in html
    assert "unchecked: validation was not asked for" in html


def test_names_of_a_model_are_no_markup() -> None:
    hostile = onnx_opt.optimize(parse(MODEL), "cleanup", validate=False)
    hostile.report.warnings.append("<b>evil</b>\x1b[2J")
    hostile.report.before.ops["<b>evil</b>::Op"] = 1
    assert "&lt;b&gt;evil" in hostile._repr_html_()
    assert "<b>" not in hostile._repr_html_() and "\x1b" not in hostile._repr_html_()


def test_rich_shows_the_same(result: onnx_opt.Result) -> None:
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(result)
    text = console.export_text()
    assert "nodes" in text and "Identity" in text and "unchecked" in text


def test_the_log_tells_passes_and_the_outcome(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="onnx_opt"):
        onnx_opt.optimize(parse(MODEL), "cleanup,fold", validate=False)
    told = {(record.levelname, record.getMessage().partition(" in ")[0]) for record in caplog.records}
    assert ("INFO", "cleanup: 2 rewrites") in told
    assert ("DEBUG", "fold: 0 rewrites") in told
    assert ("INFO", "model: unchecked, 3 nodes became 1") in told


def test_nothing_is_written_unless_the_program_asks(capfd: pytest.CaptureFixture[str]) -> None:
    onnx_opt.optimize(parse(MODEL), "cleanup", validate=False)
    assert capfd.readouterr() == ("", "")
