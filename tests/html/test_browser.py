"""The report in a real browser: it asks the network for nothing, runs without an error, and leads to what is sought."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

import onnx_opt
from hostile_names import HOSTILE, hostile_model
from onnx_text import parse

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package 'playwright' is not installed")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox"]  # its sandbox does not start as root, as in containers


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The browser of the system, or the one that Playwright brought."""
    with playwright.sync_playwright() as driver:
        places = [*map(shutil.which, BROWSERS), driver.chromium.executable_path]
        found = next((place for place in places if place and Path(place).exists()), None)
        if found is None:
            pytest.skip(f"no browser is installed (none of {', '.join(BROWSERS)}, and none of Playwright's)")
        with driver.chromium.launch(executable_path=found, args=ARGUMENTS) as opened:
            yield opened


class Opened:
    """A report in the browser, and what went wrong with it so far."""

    def __init__(self, browser: Any, path: Path, **settings: Any) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(**{"viewport": {"width": 1300, "height": 900}} | settings)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda said: self.problems.append(said.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def is_sound(self, path: Path) -> None:
        assert self.problems == []
        assert [url for url in self.requests if not url.startswith("data:")] == [path.as_uri()]


def open_report(browser: Any, folder: Path, model: Any, passes: str, **settings: Any) -> tuple[Opened, Path]:
    path = folder / "report.html"
    onnx_opt.optimize(model, passes, validate=False).save_report(path, "onnx-opt model.onnx")
    return Opened(browser, path, **settings), path


def pairs(count: int) -> onnx.ModelProto:
    """`count` blocks of two Transposes that undo each other and an Exp, in a row."""
    nodes = []
    for i in range(count):
        nodes += [
            helper.make_node("Transpose", [f"v{i}"], [f"a{i}"], f"block{i}/one", perm=[1, 0]),
            helper.make_node("Transpose", [f"a{i}"], [f"b{i}"], f"block{i}/two", perm=[1, 0]),
            helper.make_node("Exp", [f"b{i}"], [f"v{i + 1}"], f"block{i}/exp"),
        ]
    kind = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 8]) for name in ("v0", f"v{count}")]
    graph = helper.make_graph(nodes, "g", kind[:1], kind[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_click_finds_a_rewrite_and_its_drawing(browser: Any, tmp_path: Path) -> None:
    report, path = open_report(browser, tmp_path, pairs(40), "cleanup,layout,cleanup")
    page = report.page
    page.get_by_label("search the rewrites").fill("block37/one")
    rows = page.locator("button.row")
    assert 1 <= rows.count() <= 4
    rows.first.click()
    assert "block37/one" in page.locator("#rewrites .details").inner_text()
    page.get_by_role("button", name="Show the drawing").click()
    assert page.locator(".where").inner_text() == "block37/one"
    gone = page.locator(".drawing").nth(0).locator(".node.gone")
    assert gone.count() == 2, "both Transposes are drawn as gone"
    gone.first.click()
    told = page.locator("#changes .details").inner_text()
    assert "perm=[1 0]" in told and "block37/one" in told
    report.is_sound(path)


def test_a_drawing_stands_in_the_middle_of_its_frame(browser: Any, tmp_path: Path) -> None:
    text = """g (float[unknown_batch,4,8,8] x) => (float[unknown_batch,8,8,4] y) {
        a = Relu(x)
        b = Exp(a)
        t = Transpose <perm = [0, 2, 3, 1]> (b)
        s = Sigmoid(t)
        m = Mul(t, s)
        u = Transpose <perm = [0, 3, 1, 2]> (m)
        e = Exp(u)
        n = Neg(e)
        y = Transpose <perm = [0, 2, 3, 1]> (n)
    }"""
    report, path = open_report(browser, tmp_path, parse(text), "layout,cleanup")
    for drawing in report.page.locator(".drawing").all():
        frame = drawing.locator(".canvas").bounding_box()
        boxes = [node.bounding_box() for node in drawing.locator(".node > rect, .end > rect").all()]
        assert frame and boxes
        left = min(box["x"] for box in boxes) - frame["x"]
        right = frame["x"] + frame["width"] - max(box["x"] + box["width"] for box in boxes)
        assert left > 0 and abs(left - right) < 10
    report.is_sound(path)


def test_a_drawing_can_be_followed_from_node_to_node(browser: Any, tmp_path: Path) -> None:
    report, path = open_report(browser, tmp_path, pairs(40), "cleanup,layout,cleanup")
    page = report.page
    before = page.locator(".drawing").nth(0)
    assert before.locator(".node").count() == 3, "two Transposes and what is right behind them"
    before.locator(".badge").last.click()
    assert before.locator(".node").count() == 4, "a hidden neighbour is drawn"
    before.locator(".node").last.click()
    page.get_by_role("button", name="Follow").click()
    assert "Around" in page.locator(".region").inner_text()
    page.get_by_role("button", name="zoom in").first.click()
    report.is_sound(path)


def test_hostile_names_are_shown_and_not_run(browser: Any, tmp_path: Path) -> None:
    report, path = open_report(browser, tmp_path, hostile_model(), "cleanup,layout,cleanup")
    page = report.page
    page.locator("button.row").first.click()
    page.locator(".node").first.click()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert HOSTILE[0].split("<")[1] in page.locator("body").inner_text()
    report.is_sound(path)


def test_twenty_thousand_nodes_stay_usable(browser: Any, tmp_path: Path) -> None:
    report, path = open_report(browser, tmp_path, pairs(6700), "cleanup,layout,cleanup")
    page = report.page
    assert page.evaluate("document.querySelectorAll('*').length") < 3000, "only what can be seen exists"
    page.get_by_label("search the rewrites").fill("block6650/two")
    page.locator("button.row").first.click()
    assert "block6650/two" in page.locator("#rewrites .details").inner_text()
    report.is_sound(path)


def test_what_passes_measured_is_shown_by_its_form(browser: Any, tmp_path: Path) -> None:
    from onnx_opt.journal import Table

    result = onnx_opt.optimize(pairs(2), "cleanup", validate=False)
    result.report.tables["engine layers"] = Table(["layer", "time"], [["conv", "7 ms"]])
    losses = [{"node": f"n{i}", "loss": 10.0**-i} for i in range(5)]
    result.report.measured["some-pass"] = {"samples": 3, "layers": losses, "scales": {"a": {"low": 1, "high": 2}}}
    result.report.emitted = {"kind": "engine of a kind", "plan_bytes": 2048}
    path = tmp_path / "report.html"
    result.save_report(path)
    report = Opened(browser, path)
    shown = report.page.locator("#passes").inner_text()
    for words in (
        "engine layers",
        "7 ms",
        "Measured by some-pass",
        "samples",
        "node\tloss",
        "1.0e-4",
        "scales",
        "engine of a kind",
        "2 KiB",
    ):
        assert words in shown
    assert report.page.locator("#passes .bar").count() == len(losses)
    report.is_sound(path)


@pytest.mark.parametrize(("width", "scheme"), [(1400, "dark"), (400, "light")])
def test_it_fits_the_window(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    settings = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    report, path = open_report(browser, tmp_path, pairs(3), "cleanup,layout,cleanup", **settings)
    assert report.page.evaluate("document.documentElement.scrollWidth") <= width
    report.is_sound(path)


def test_an_unchanged_model_has_a_report_as_well(browser: Any, tmp_path: Path) -> None:
    report, path = open_report(browser, tmp_path, pairs(1), "")
    assert "No node changed." in report.page.locator("#changes").inner_text()
    report.is_sound(path)
