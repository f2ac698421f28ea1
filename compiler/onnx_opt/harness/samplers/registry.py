"""The table of samplers, and the one for operators that have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onnx import defs

from onnx_opt.harness.sketch import Unfit

if TYPE_CHECKING:
    from onnx_opt.harness.site import Site

Sampler = Callable[["Site"], None]

_samplers: dict[tuple[str, str], Sampler] = {}


def sampler(*ops: str, domain: str = "") -> Callable[[Sampler], Sampler]:
    """Declare a sampler for operators of a domain; the latest declaration counts."""

    def register(function: Sampler) -> Sampler:
        _samplers.update({(domain, op): function for op in ops})
        return function

    return register


def sampler_of(op: str, domain: str) -> Sampler:
    """The sampler of an operator; where there is none, `same_shape`."""
    return _samplers.get((domain, op), same_shape)


def same_shape(site: Site) -> None:
    """Operands of the same dims, and those attributes that the pattern names or the operator needs: what fits
    elementwise operators."""
    first, *others = site.in_order(range(max(site.count, 1)))
    made = site.operand(first, site.wish.dims)
    for index in others:
        site.optional(index, made.dims, exact=True)
    guess_attributes(site)


@sampler("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli")
def random(site: Site) -> None:
    """What differs in every run cannot be compared."""
    raise Unfit(f"{site.op} is random")


def guess_attributes(site: Site) -> None:
    """Numbers for the attributes that the pattern names, that the operator needs, and some others."""
    for name, attribute in site.schema.attributes.items() if site.schema is not None else ():
        named = isinstance(site.call.attrs.get(name), str)
        if attribute.required or site.draw.chance(0.6 if named else 0.15):
            value = _guess(site, attribute)
            if value is not None:
                site.attr(name, value)


def _guess(site: Site, attribute: defs.OpSchema.Attribute) -> Any:
    kind = attribute.type
    if kind == defs.OpSchema.AttrType.FLOAT:
        return round(float(site.draw.uniform(0.1, 1.5)), 3)
    if kind == defs.OpSchema.AttrType.INT:
        return site.draw.integer(0, 1)
    if attribute.required:
        raise Unfit(f"no sampler for {site.op}, whose attribute {attribute.name} cannot be guessed")
    return None
