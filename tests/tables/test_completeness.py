"""The tables speak of every operator that ONNX defines, in every operator set, and agree with its schemas."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import defs

from onnx_opt import traits
from onnx_opt.ir import Node, Variable
from onnx_opt_rules.tables import left_alone, versions

# A newer onnx may bring operators that the tables do not know: those are left alone, which is no error.
SCHEMAS = [s for s in defs.get_all_schemas_with_history() if s.since_version <= versions.NEWEST.get(s.domain, 0)]
OPERATORS = sorted({(schema.domain, schema.name) for schema in SCHEMAS})

# The schemas call them not deterministic; what they depend on says more.
BY_THEIR_BODIES = {"If", "Loop", "Scan", "SequenceMap"}
BY_THEIR_MODE = {"Dropout"}
# Its function body has no random operator: the flag is a slip in the schema.
MISMARKED = {"AffineGrid"}
# Deterministic, but it names parts of the graph around it.
NOT_OF_OPERANDS_ALONE = {"Gradient"}


class Versioned(Node):
    """A node that need not be in a graph to have an operator set version."""

    version = 1


def node_of(schema: defs.OpSchema) -> Node:
    node = Versioned(schema.name, domain=schema.domain)
    node.version = schema.since_version
    return node


EVERY_VERSION = [
    pytest.param(s, id=f"{s.domain}::{s.name}-{s.since_version}") for s in defs.get_all_schemas_with_history()
]


@pytest.mark.parametrize("schema", EVERY_VERSION)
def test_every_operator_of_every_operator_set_is_known_or_left_alone(schema: defs.OpSchema) -> None:
    node = node_of(schema)
    if not traits.is_understood(node):  # a newer onnx: what it changed is left alone
        assert schema.since_version > versions.NEWEST.get(schema.domain, 0)
        assert not traits.is_known(node) and not traits.is_pure(node) and not traits.is_foldable(node)
    elif left_alone.reason(schema.domain, schema.name):
        assert traits.ask(schema.domain, schema.name, "pure") is None
    else:
        assert traits.ask(schema.domain, schema.name, "pure") is not None
        assert schema.domain != "" or traits.ask("", schema.name, "nan") in ("keeps", "decides", "open")


def test_purity_agrees_with_the_schemas() -> None:
    pure = str(defs.OpSchema.NodeDeterminism.NonDeterministic)
    excepted = BY_THEIR_BODIES | BY_THEIR_MODE | MISMARKED | NOT_OF_OPERANDS_ALONE
    for schema in SCHEMAS:
        if schema.name in excepted:
            continue
        stated = traits.ask(schema.domain, schema.name, "pure")
        random = str(schema.node_determinism) == pure
        assert (stated is False) == random, (schema.domain, schema.name, schema.since_version)


def test_bodies_are_carried_by_what_has_graph_attributes() -> None:
    graphs = {defs.OpSchema.AttrType.GRAPH, defs.OpSchema.AttrType.GRAPHS}
    for schema in SCHEMAS:
        has_bodies = any(attribute.type in graphs for attribute in schema.attributes.values())
        assert traits.ask(schema.domain, schema.name, "carries_bodies", False) == has_bodies, schema.name


def test_elementwise_operators_take_their_operands() -> None:
    for schema in SCHEMAS:
        arity = traits.elementwise_arity(schema.domain, schema.name)
        if arity == traits.VARIADIC:
            assert schema.max_input > 100 or schema.since_version == 1, schema.name
        elif arity and schema.name != "CastLike":  # its second operand only lends its type
            assert schema.min_input <= arity <= schema.max_input, schema.name


def test_commutative_operators_have_operands_of_one_type() -> None:
    for schema in SCHEMAS:
        if traits.is_commutative(schema.domain, schema.name) and len(schema.inputs) > 1:
            assert schema.inputs[0].type_str == schema.inputs[1].type_str, schema.name


def test_nothing_is_declared_of_operators_that_do_not_exist() -> None:
    known = set(OPERATORS)
    for domain, op in traits._traits:
        if domain in {"", "ai.onnx.ml", "ai.onnx.preview"}:
            assert (domain, op) in known or op in RUNTIME_ONLY, (domain, op)


RUNTIME_ONLY = {
    "Affine", "Crop", "DynamicSlice", "GRUUnit", "GivenTensorFill", "ImageScaler", "ParametricSoftplus", "Scale",
    "ScaledTanh", "SimplifiedLayerNormalization",
}  # fmt: skip
"""Operators that ONNX Runtime keeps in the standard domain."""


def test_operators_of_onnxruntime_are_known_or_left_alone() -> None:
    """All of those of version 1.31; other versions may have some more, which are left alone as well."""
    ort: Any = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    heads = {(schema.domain, schema.name) for schema in ort.get_all_operator_schema()}
    unknown = {head for head in heads if traits.ask(*head, "pure") is None and not left_alone.reason(*head)}
    assert len(unknown) < 0.05 * len(heads), sorted(unknown)
    assert not any(traits.is_known(node_of_head(*head)) for head in unknown)


def test_what_is_left_alone_has_no_row() -> None:
    for domain, ops in left_alone.LEFT_ALONE:
        for op in ops.split():
            assert traits.ask(domain, op, "pure") is None and left_alone.reason(domain, op)


def node_of_head(domain: str, op: str) -> Node:
    node = Versioned(op, domain=domain)
    node.version = 1
    return node


MODES = [
    # operator, version, attributes, results, pure
    ("BatchNormalization", 1, {}, 1, False),
    ("BatchNormalization", 6, {"is_test": 1}, 1, True),
    ("BatchNormalization", 9, {}, 1, True),
    ("BatchNormalization", 9, {}, 5, False),
    ("BatchNormalization", 15, {}, 1, True),
    ("BatchNormalization", 15, {"training_mode": 1}, 3, False),
    ("Dropout", 1, {}, 1, False),
    ("Dropout", 6, {"is_test": 1}, 1, True),
    ("Dropout", 10, {"ratio": 0.5}, 2, True),
    ("Dropout", 13, {}, 1, True),
]


@pytest.mark.parametrize(("op", "version", "attributes", "results", "pure"), MODES)
def test_modes(op: str, version: int, attributes: dict[str, Any], results: int, pure: bool) -> None:
    node = Versioned(op, attrs=attributes, outputs=[Variable(f"y{i}") for i in range(results)])
    node.version = version
    assert traits.is_pure(node) is pure
    assert traits.is_foldable(node) is pure
    assert traits.is_removable(node)
