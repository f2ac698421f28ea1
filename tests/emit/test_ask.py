"""Which nodes TensorRT's parser rejects: all of them, by the names that users know, with a reason and a remedy."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import parser

from engine_support import needs_builder
from onnx_opt.emit.tensorrt import ask as asking
from onnx_opt.emit.tensorrt.ask import Rejection, ask, examine
from onnx_opt.worker import Worker

pytestmark = needs_builder

HEAD = '<ir_version: 8, opset_import: ["": 17, "acme": 1]>'


def rejections(text: str) -> list[tuple[str, str]]:
    """(node, reason) of what is rejected in a model in ONNX text."""
    return [(each.node, each.reason) for each in _ask(text)]


def _ask(text: str) -> list[Rejection]:
    return ask(parser.parse_model(text).SerializeToString())


def test_a_model_is_accepted() -> None:
    text = f"{HEAD} g (float[n, 4] x) => (float[n, 4] y) {{ y = Relu(x) }}"
    answer = examine(parser.parse_model(text).SerializeToString())
    assert answer.accepted and answer.complete and answer.layers == 1


def test_every_rejected_node_is_listed_though_the_parser_stops_at_the_first() -> None:
    text = f"""{HEAD} g (float[1, 1, 4, 4] x, int32[2, 2] i) => (float[1, 1, 8, 8] y, int32[2, 2] m, float[1, 1, 4, 4] z) {{
      [first] m = MatMul(i, i)
      [fine] r = Relu(x)
      [second] d = MaxPool<kernel_shape = [2, 2], dilations = [2, 2], pads = [1, 1, 1, 1]>(r)
      s = Constant<value = float[4] {{1.0, 1.0, 2.0, 2.0}}>()
      [also_fine] y = Resize(d, , s)
      [third] z = acme.Foo(r)
    }}"""
    assert rejections(text) == [
        ("first", "MatMul does not take INT32"),
        ("second", "This version of TensorRT does not support dilations other than 1"),
        ("third", "there is no operator acme::Foo, and no plugin of that name is registered"),
    ]


def test_what_only_follows_from_a_rejected_node_is_not_held_against_the_model() -> None:
    text = f"""{HEAD} g (float[4] x) => (float[2, 2] y) {{
      [unknown] shape = acme.ShapeOf(x)
      [reshape] y = Reshape(x, shape)
    }}"""
    assert [node for node, _ in rejections(text)] == ["unknown"]


def test_a_node_without_a_name_is_called_by_its_output() -> None:
    assert rejections(f"{HEAD} g (float[4] x) => (float[4] y) {{ y = acme.Foo(x) }}")[0][0] == "y"


def test_a_node_in_a_branch_is_named() -> None:
    text = f"""{HEAD} g (bool c, int32[2, 2] i) => (int32[2, 2] y) {{
      [choose] y = If(c) <then_branch = t () => (int32[2, 2] a) {{ [inside] a = MatMul(i, i) }},
                          else_branch = e () => (int32[2, 2] b) {{ b = Identity(i) }}>
    }}"""
    assert [node for node, _ in rejections(text)] == ["inside"]


def test_nodes_of_a_function_are_named_and_what_stands_behind_its_call_is_looked_at() -> None:
    text = f"""{HEAD} g (int32[2, 2] i) => (int32[2, 2] y, int32[2, 2] z) {{
      [call] y = acme.Product(i)
      [behind] z = MatMul(i, i)
    }}
    <domain: "acme", opset_import: ["": 17]> Product (a) => (b) {{ [in_function] b = MatMul(a, a) }}"""
    assert [node for node, _ in rejections(text)] == ["in_function", "behind"]


@pytest.mark.parametrize(
    ("text", "node", "reason"),
    [
        ("(double[2] x) => (float[2] y) { y = Cast<to = 1>(x) }", "x", "'x' is float64 in the model"),
        ("(float[2] x) => (double[2] y) { [cast] y = Cast<to = 11>(x) }", "cast", "'y' is float64 in the model"),
    ],
)
def test_a_type_that_would_change_silently_is_rejected(text: str, node: str, reason: str) -> None:
    (found,) = rejections(f"{HEAD} g {text}")
    assert found[0] == node and found[1].startswith(reason) and "float32 in the engine" in found[1]


def test_external_data_is_found(tmp_path: Path) -> None:
    model = parser.parse_model(
        f"{HEAD} g (float[4, 4] x) => (float[4, 4] y) <float[4, 4] w = {{{', '.join(['1.0'] * 16)}}}> {{ y = MatMul(x, w) }}"
    )
    onnx.save(model, str(tmp_path / "m.onnx"), save_as_external_data=True, size_threshold=0, location="m.data")
    assert ask(tmp_path / "m.onnx") == []


def test_a_parser_that_crashes_is_no_crash_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node at which it crashed is the one that is rejected; here it is ended from outside at its first node."""
    monkeypatch.setattr(asking, "PARSE", "engine_support:parse_and_die")
    monkeypatch.setattr(asking, "_worker", Worker())
    (found,) = _ask(f"{HEAD} g (float[4] x) => (float[4] y) {{ [culprit] y = Relu(x) }}")
    assert (found.node, found.operator) == ("culprit", "Relu") and "crashed (SIGABRT)" in found.reason
