"""The tables speak of every operator that ONNX defines, in every operator set, and agree with its schemas."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import defs

from onnx_opt import traits
from onnx_opt.evaluate.kernels import NEWEST_OPSET
from onnx_opt.ir import Node, Variable

# A newer onnx may bring operators that the tables do not know: those are left alone, which is no error.
SCHEMAS = [schema for schema in defs.get_all_schemas_with_history() if schema.since_version <= NEWEST_OPSET]
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


@pytest.mark.parametrize(("domain", "op"), OPERATORS)
def test_every_operator_is_known(domain: str, op: str) -> None:
    assert traits.ask(domain, op, "pure") is not None


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


def test_most_operators_of_onnxruntime_are_known() -> None:
    """All of those of version 1.31; other versions may have some more."""
    ort: Any = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    vendor = {schema.name for schema in ort.get_all_operator_schema() if schema.domain == "com.microsoft"}
    known = {op for op in vendor if traits.ask("com.microsoft", op, "pure") is not None}
    assert len(known) > 0.8 * len(vendor), sorted(vendor - known)


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
