"""What its schema asks of a node: how many operands and results, which attributes, of which types.

Shape functions, kernels and rules rely on it, so it is checked once, while a model is loaded. Runtimes refuse what does
not conform, too. Attributes that a schema does not know are no matter of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from onnx import AttributeProto

from onnx_opt import schemas


@dataclass(frozen=True, slots=True)
class Form:
    """What a schema allows. Attribute types are `onnx.AttributeProto` enums."""

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    attributes: dict[str, int]
    required: frozenset[str]


@cache
def form(op: str, domain: str, version: int) -> Form | None:
    """What is asked of an operator at an operator set version; None where onnx does not know it."""
    schema = schemas.schema(op, domain, version) if version > 0 else None
    if schema is None:
        return None
    return Form(
        (schema.min_input, schema.max_input),
        (schema.min_output, schema.max_output),
        {name: int(attribute.type) for name, attribute in schema.attributes.items()},  # type: ignore[call-overload]
        frozenset(name for name, attribute in schema.attributes.items() if attribute.required),
    )


@lru_cache(maxsize=1 << 16)
def complaint(
    op: str, domain: str, version: int, attributes: tuple[tuple[str, int], ...], inputs: int, outputs: int
) -> str:
    """What is wrong with a node that has these attributes (name, type) and so many operands and results; '' where
    nothing is. Most nodes of a model are like others of it, so answers are kept."""
    wanted = form(op, domain, version)
    if wanted is None:
        return ""
    names = [name for name, _ in attributes]
    if len(set(names)) < len(names):
        return f"attribute '{_repeated(names)}' is given twice"
    for name, kind in attributes:
        expected = wanted.attributes.get(name, kind)
        if kind != expected:
            return f"attribute '{name}' is {_spell(kind)}, {op} takes {_spell(expected)}"
    for name in sorted(wanted.required.difference(names)):
        return f"attribute '{name}' of {op} is missing"
    for what, count, (least, most) in (("operands", inputs, wanted.inputs), ("results", outputs, wanted.outputs)):
        if not least <= count <= most:
            return f"{op} with {count} {what}: it takes {_spell_range(least, most)}"
    return ""


def _repeated(names: Sequence[str]) -> str:
    return next(name for index, name in enumerate(names) if name in names[:index])


def _spell(kind: int) -> str:
    known = kind in AttributeProto.AttributeType.values()
    return AttributeProto.AttributeType.Name(kind) if known else f"of the unknown type {kind}"


def _spell_range(least: int, most: int) -> str:
    if least == most:
        return str(least)
    return f"{least} or more" if most > 2**30 else f"{least} to {most}"
