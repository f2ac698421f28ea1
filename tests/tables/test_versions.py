"""What changed between operator sets is in the table, and parameters are found where each version has them."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from onnx import defs

from onnx_opt import traits
from onnx_opt.ir import Node, load
from onnx_opt.parameters import parameter, place_of
from onnx_opt_rules.tables import versions
from onnx_text import parse, run

SCHEMAS = [s for s in defs.get_all_schemas_with_history() if s.since_version <= versions.NEWEST.get(s.domain, 0)]


def form(schema: defs.OpSchema) -> Any:
    """What a node of an operator looks like, element types aside."""
    attributes = {n: (str(a.type), a.required, str(a.default_value)) for n, a in schema.attributes.items()}
    operands = [[(p.name, str(p.option)) for p in group] for group in (schema.inputs, schema.outputs)]
    return attributes, operands, schema.deprecated


def changes() -> list[tuple[str, str, int, defs.OpSchema, defs.OpSchema]]:
    history: dict[tuple[str, str], list[defs.OpSchema]] = defaultdict(list)
    for schema in SCHEMAS:
        history[schema.domain, schema.name].append(schema)
    found = []
    for (domain, op), schemas in sorted(history.items()):
        schemas.sort(key=lambda schema: schema.since_version)
        pairs = pairwise(schemas)
        found += [(domain, op, new.since_version, old, new) for old, new in pairs if form(old) != form(new)]
    return found


def test_every_change_of_form_has_a_row() -> None:
    missing = [
        (domain, op, version)
        for domain, op, version, _, _ in changes()
        if version not in traits.ask(domain, op, "changes", {})
    ]
    assert missing == []
    assert len(changes()) > 120


def test_rows_speak_of_versions_that_exist() -> None:
    known = {(s.domain, s.name, s.since_version) for s in SCHEMAS}
    for domain, table in (("", versions.CHANGES), ("ai.onnx.ml", versions.MACHINE_LEARNING)):
        for ops, rows in table.items():
            for op in ops.split():
                assert {(domain, op, version) for version in rows} <= known, op


def test_a_parameter_that_moved_is_found_in_both_places() -> None:
    moved = 0
    for domain, op, version, old, new in changes():
        added = {operand.name for operand in new.inputs} - {operand.name for operand in old.inputs}
        for name in set(old.attributes) - set(new.attributes):
            others = {name, *(k for k, v in traits.ask(domain, op, "renamed", {}).items() if name in (k, *v))}
            names = {each for key in others for each in (key, *traits.ask(domain, op, "renamed", {}).get(key, ()))}
            if added & names or name in added:
                moved += 1
                key = next(iter(others & set(traits.ask(domain, op, "renamed", {}))), name)
                assert isinstance(place_of(op, domain, version, key), int), (op, version, name)
                assert isinstance(place_of(op, domain, version - 1, key), str), (op, version, name)
    assert moved > 20


PAD = "g (float[2, 3] x) => (float[?, ?] y) %s { y = Pad %s }"


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (1, PAD % ("", "<paddings = [0, 1, 0, 2], value = 3.0> (x)")),
        (2, PAD % ("", "<pads = [0, 1, 0, 2], value = 3.0> (x)")),
        (11, PAD % ("<int64[4] p = {0, 1, 0, 2}, float v = {3}>", "(x, p, v)")),
        (18, PAD % ("<int64[4] p = {0, 1, 0, 2}, float v = {3}>", "(x, p, v)")),
    ],
)
def test_pads_of_every_version(version: int, text: str) -> None:
    (node,) = load(parse(f'<ir_version: 8, opset_import: ["": {version}]> {text}'))
    assert parameter(node, "pads").numbers == [0, 1, 0, 2]
    assert float(np.asarray(parameter(node, "value").value)) == 3
    assert parameter(node, "mode").value == "constant"
    assert parameter(node, "axes").value is None and parameter(node, "axes").known


def test_what_only_the_run_will_tell() -> None:
    (node,) = load(parse("g (float[2, 3] x, int64[4] p) => (float[?, ?] y) { y = Pad(x, p) }"))
    assert not parameter(node, "pads").known and parameter(node, "pads").numbers is None
    assert parameter(node, "value").known and parameter(node, "no such").value is None


# -- operator sets that came later than the tables ---------------------------------------------------------------------


class Versioned(Node):
    version = 1


def at(op: str, version: int, domain: str = "") -> Versioned:
    node = Versioned(op, domain=domain)
    node.version = version
    return node


def test_what_came_later_is_left_alone() -> None:
    for node in (at("Relu", 99), at("Normalizer", 99, "ai.onnx.ml")):
        assert not traits.is_understood(node)
        assert not traits.is_known(node) and not traits.is_pure(node) and not traits.is_foldable(node)
        assert not traits.is_removable(node) and traits.identity_operand(node) is None
    assert traits.is_pure(at("Relu", 28)) and traits.is_understood(at("Anything", 99, "devtech"))


def test_what_a_later_operator_set_did_not_change_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(traits._newest, "", 22)
    traits._is_unchanged.cache_clear()
    assert traits.is_understood(at("Mul", 24)) and traits.is_pure(at("Mul", 24))
    assert not traits.is_understood(at("Cast", 24)) and not traits.is_pure(at("Cast", 24))
    assert not traits.is_understood(at("Swish", 24))  # it is new there
    traits._is_unchanged.cache_clear()


def test_rules_leave_newer_operators_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """<ir_version: 10, opset_import: ["": 23]>
    g (float[2, 3] x) => (float[2, 3] y) { a = Transpose <perm = [1, 0]> (x) y = Transpose <perm = [1, 0]> (a) }"""
    monkeypatch.setitem(traits._newest, "", 22)
    traits._is_unchanged.cache_clear()
    graph, context = run(parse(text), "layout")
    traits._is_unchanged.cache_clear()
    assert [node.op for node in graph] == ["Transpose", "Transpose"]
    assert "operator set 23 is newer than what is known of Transpose" in context.journal.reasons()


def test_padding_of_the_runtimes_own() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
    g (float[2, 3] x) => (float[2, 3] y) <int64[4] p = {0, 0, 0, 0}> { a = com.microsoft.Pad(x, p) y = Neg(a) }"""
    graph, _ = run(parse(text), "cleanup")
    assert [node.op for node in graph] == ["Neg"]


def test_bounds_of_a_clip_that_has_them_as_attributes() -> None:
    text = """<ir_version: 8, opset_import: ["": 10]>
    g (float[1, 2, 5, 5] x) => (float[1, 1, 5, 5] y) <float[1, 2, 1, 1] w = {1, 2}>
    { c = Conv(x, w) y = Clip <min = 0.0, max = 6.0> (c) }"""
    graph, _ = run(parse(text), "fuse-conv-bn-relu", target="ort-cpu")
    (node,) = graph
    assert node.op == "FusedConv" and list(node.attribute("activation_params")) == [0.0, 6.0]
