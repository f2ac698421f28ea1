"""The definition that the ONNX specification gives of an operator by simpler ones, as a replacement for a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from onnx import AttributeProto, FunctionProto, NodeProto, helper, numpy_helper

from onnx_opt import schemas, traits, types
from onnx_opt.ir import Node
from onnx_opt.rewrite.pattern import Call, Operators, Result
from onnx_opt.rewrite.rule import NoMatch, known, require

CONSTANTS: Mapping[str, Callable[[Any], Any]] = {
    "value": np.asarray,
    "value_float": np.float32,
    "value_floats": lambda items: np.array(items, np.float32),
    "value_int": np.int64,
    "value_ints": lambda items: np.array(items, np.int64),
}
"""How each attribute of a Constant node becomes an array."""
_ONLY_GREW = frozenset({"Cast", "CastLike", "Reshape", "Shape"})
"""What these mean did not change, but by attributes that no definition sets and for 8-bit floats."""


def definition(node: Node) -> tuple[Any, ...]:
    """What the specification says that `node` computes: an expression for each of its results.

    Declines where there is no such definition, where it needs subgraphs, and where it is written for another operator
    set in which an operator that it needs means something else.
    """
    body = FunctionProto.FromString(_body(node))
    version = next((item.version for item in body.opset_import if item.domain in ("", "ai.onnx")), node.version)
    given = [node.input(index) for index in range(len(body.input))]
    values: dict[str, Any] = {"": None, **dict(zip(body.input, given, strict=True))}
    for inner in body.node:
        require(not inner.domain, f"its definition uses the domain {inner.domain}")
        same = inner.op_type == "Constant" or _means_the_same(inner.op_type, version, node.version)
        require(same, f"{inner.op_type} is another one by now")
        _add(values, inner, _attributes(inner, node))
    wanted = [name if value.name else "" for name, value in zip(body.output, node.outputs, strict=False)]
    require(all(name in values for name in wanted), "its definition leaves a result out")
    return tuple(values[name] for name in wanted)


def _body(node: Node) -> bytes:
    schema: Any = schemas.schema(node.op, node.domain, node.version)  # the stubs of onnx know no function bodies
    require(schema is not None and not node.bodies, "the specification defines it by nothing simpler")
    if schema.has_function:
        return _plain_body(node.op, node.domain, node.version)
    require(schema.has_context_dependent_function, "the specification defines it by nothing simpler")
    kinds = [value.graph.model.facts.type(value) if value.graph else None for value in node.inputs]
    protos = [types.to_proto(kind) if value.name else None for kind, value in zip(kinds, node.inputs, strict=True)]
    require(all(value.elem_type or not value.name for value in node.inputs), "the type of an operand is unknown")
    texts = [proto.SerializeToString() if proto is not None else b"" for proto in protos]
    version = max(v for v in schema.context_dependent_function_opset_versions if v <= node.version)
    try:
        made = schema.get_context_dependent_function_with_opset_version(version, _proto(node), texts)
    except Exception as error:  # the builders of onnx raise classes of their own
        raise NoMatch(f"its definition can't be made: {error}") from None
    require(made, "the specification defines it by nothing simpler for these operands")
    return made


@cache
def _plain_body(op: str, domain: str, version: int) -> bytes:
    schema: Any = known(schemas.schema(op, domain, version), "the operator is unknown")
    newest = max(v for v in schema.function_opset_versions if v <= version)
    return bytes(schema.get_function_with_opset_version(newest))


def _proto(node: Node) -> bytes:
    return bytes(node.proto().SerializeToString())


def _means_the_same(op: str, written: int, here: int) -> bool:
    changes = {} if op in _ONLY_GREW else traits.ask("", op, "changes", {})
    return schemas.since(op, "", here) != 0 and not any(written < version <= here for version in changes)


def _attributes(inner: NodeProto, node: Node) -> dict[str, Any]:
    found = {}
    for attribute in inner.attribute:
        if attribute.ref_attr_name:
            value = node.attribute(attribute.ref_attr_name)
            if value is not None:
                found[attribute.name] = value
            continue
        require(attribute.type not in (AttributeProto.GRAPH, AttributeProto.GRAPHS), "its definition needs subgraphs")
        value = helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.TENSOR:
            value = numpy_helper.to_array(value)
        found[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return found


def _add(values: dict[str, Any], inner: NodeProto, attributes: Mapping[str, Any]) -> None:
    """Define what a node of the body computes."""
    if inner.op_type == "Constant":
        name, value = next(iter(attributes.items()))
        require(name in CONSTANTS, "its definition has a constant of another kind")
        values[inner.output[0]] = np.asarray(CONSTANTS[name](value))
        return
    operands = [values[name] for name in inner.input]
    if inner.op_type == "Identity":
        values[inner.output[0]] = operands[0]
        return
    call: Call = getattr(Operators(), inner.op_type)(*operands, **attributes).returning(len(inner.output))
    for index, name in enumerate(inner.output):
        if name:
            values[name] = call if len(inner.output) == 1 else Result(call, index)
