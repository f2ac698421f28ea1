"""What the ONNX schemas say of an operator: versions, default attributes."""

from __future__ import annotations

from functools import cache
from typing import Any

from onnx import defs, helper


def normal_domain(domain: str | None) -> str:
    """'' for the standard domain, which may also be written 'ai.onnx'."""
    return "" if not domain or domain == "ai.onnx" else domain


@cache
def schema(op: str, domain: str, version: int) -> defs.OpSchema | None:
    """The schema in force for an operator at an operator set version; None where onnx knows none."""
    try:
        return defs.get_schema(op, version, domain)
    except (defs.SchemaError, TypeError):  # TypeError: a version that is no 32-bit number
        return None


@cache
def since(op: str, domain: str, version: int) -> int:
    """The version in which the operator took the form that it has at `version`; 0 where it is unknown."""
    found = schema(op, domain, version)
    return found.since_version if found is not None else 0


@cache
def attribute_default(op: str, domain: str, version: int, name: str) -> Any:
    """The default of an attribute, None where there is none or the operator is unknown. Lists must not be changed."""
    found = schema(op, domain, version)
    if found is None or name not in found.attributes:
        return None
    proto = found.attributes[name].default_value
    if not proto.type:
        return None
    value = helper.get_attribute_value(proto)
    return value.decode() if isinstance(value, bytes) else value


def newest_version(domain: str = "") -> int:
    """The newest operator set version of a domain that the installed onnx knows; 0 for a domain it does not know."""
    return int(defs.onnx_opset_version()) if not domain else _newest().get(domain, 0)


@cache
def _newest() -> dict[str, int]:
    found: dict[str, int] = {}
    for each in defs.get_all_schemas_with_history():
        found[each.domain] = max(found.get(each.domain, 0), each.since_version)
    return found
