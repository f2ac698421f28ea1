"""From a pattern to a model that contains an instance of it, bottom-up: the operands of a call before the call."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from onnx_opt import schemas
from onnx_opt.harness.draw import Draw, ordinary
from onnx_opt.harness.samplers import sampler_of
from onnx_opt.harness.site import NO_HINT, Recipe, Site, Wish, allowed_types
from onnx_opt.harness.sketch import Exhausted, Operand, Sketch, Unfit
from onnx_opt.rewrite.pattern import AnyOf, Call, Head, Leaf, Result
from onnx_opt.types import numpy_dtype

ATTEMPTS = (1, 5, 3, 2)
"""How often a call is made anew when its operands do not go together, or when its consumer needs other dims, by its
depth in the pattern."""
SAME_CALL_CHANCE = 0.8
"""How often a call that stands twice in a pattern is one node; two equal nodes match as well."""
CONSTANT_CHANCE = {True: 0.5, False: 0.04}
"""How often an operand that may be anything is constant: a parameter, and what flows through the graph."""
PASSED_ON_CHANCE = 0.1
"""How often such an operand is the result of a node instead of a graph input."""
PLAIN, PLAIN_CHANCE = (0, 1, 2, -1, -0.0), 0.12
"""Numbers that a constant may hold everywhere, and how often it does: what laws of arithmetic are about."""
NODE_CHANCE = 0.15
"""How often a constant is the result of a Constant node."""


class Grower:
    """Makes one instance of a pattern. `elem_type` is the element type that it is about, where operators allow."""

    def __init__(self, pattern: Any, draw: Draw, version: int, elem_type: int, recipe: Recipe | None = None):
        self.recipe = recipe or {}
        self.pattern, self.draw, self.elem_type = pattern, draw, elem_type
        self.sketch = Sketch(version)
        self.bindings: dict[str, Any] = {}
        self.matched: dict[str | int, list[Operand]] = {}
        """The results of the calls that were made."""
        self.interior: list[str] = []
        """The values between the nodes of the instance, in the order in which they were made; the root's come last."""
        self.sites: dict[Head, Site] = {}
        """The last site of each operator."""
        self._depth = 0
        self._outputs = _results_needed(pattern)

    def grow_root(self) -> list[Operand]:
        """The instance; returns the results of its root. Raises `Unfit`."""
        self.grow(self.pattern, Wish())
        return self.last

    def grow(self, pattern: Any, wish: Wish) -> Operand | None:
        """A value that `pattern` matches."""
        if isinstance(pattern, AnyOf):
            return self._one_of(pattern, wish)
        if isinstance(pattern, str | Leaf):
            return self._leaf(pattern if isinstance(pattern, Leaf) else Leaf(pattern), wish)
        call, index = (pattern.call, pattern.index) if isinstance(pattern, Result) else (pattern, 0)
        return self._call(call, wish)[index]

    def _one_of(self, pattern: AnyOf, wish: Wish) -> Operand | None:
        reason = Unfit("anyof without a pattern")
        for inner in self.draw.shuffled(pattern.patterns):
            state = self._save()
            try:
                return self.grow(inner, wish)
            except Exhausted:
                raise
            except Unfit as unfit:
                reason = unfit
                self._restore(state)
        raise reason

    # -- leaves --------------------------------------------------------------------------------------------------------

    def _leaf(self, leaf: Leaf, wish: Wish) -> Operand | None:
        if leaf.name in self.bindings:
            found: Operand | None = self.bindings[leaf.name]
            if found is None and not leaf.optional:
                raise Unfit(f"{leaf.name} is absent elsewhere")
            return found
        hinted = leaf.name in self.recipe
        made = self._constant(wish, leaf.name) if leaf.kind == "const" or hinted else self.leaf_value(wish)
        self.bindings[leaf.name] = made
        return made

    def _array(self, wish: Wish) -> np.ndarray:
        dims = wish.dims if wish.dims is not None else self.draw.dims(self.draw.pick([0, 1, 2, 2, 3, 3, 4, 4, 4, 5]))
        dtype = numpy_dtype(wish.elem_type or self.elem_type)
        if dtype is None:
            raise Unfit("an element type without values")
        return np.asarray(wish.filler(self.draw, dims, dtype))

    def _constant(self, wish: Wish, name: str = "") -> Operand:
        array, hint = self._array(wish), self.recipe.get(name, NO_HINT)
        if wish.filler is ordinary and self.draw.chance(PLAIN_CHANCE):
            array = np.full_like(array, self.draw.pick(PLAIN if array.dtype.kind != "u" else PLAIN[:3]))
        if hint.number is not None:
            array = hint.fill(array.shape, array.dtype)
        return self.sketch.constant(array, as_node=self.draw.chance(NODE_CHANCE))

    def leaf_value(self, wish: Wish) -> Operand:
        """A value of any origin."""
        if self.draw.chance(CONSTANT_CHANCE[wish.side]):
            return self._constant(wish)
        made = self.sketch.input(self._array(wish), wish.filler)
        return self.sketch.node("Identity", [made])[0] if self.draw.chance(PASSED_ON_CHANCE) else made

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(self, call: Call, wish: Wish) -> list[Operand]:
        known = self.matched.get(_key(call))
        if known is not None and (call.name or self.draw.chance(SAME_CALL_CHANCE)):
            return known
        reason = Unfit("no attempt")
        attempts = ATTEMPTS[min(self._depth, len(ATTEMPTS) - 1)]
        for attempt in range(attempts):
            state = self._save()
            try:
                results = self._node(call, wish)
            except Exhausted:
                raise
            except Unfit as unfit:
                reason = unfit
                self._restore(state)
                continue
            if not wish.exact or results[0].dims == wish.dims or attempt == attempts - 1:
                return results
            self._restore(state)
        raise reason

    def _node(self, call: Call, wish: Wish) -> list[Operand]:
        domain, op = self.draw.pick(self._heads(call))
        site = Site(self, call, op, domain, wish, self._outputs.get(_key(call), 1))
        self._depth += 1
        try:
            sampler_of(op, domain)(site)
            results = site.finish()
        finally:
            self._depth -= 1
        self.sites[domain, op] = site
        self.matched[_key(call)] = results
        self.interior += [result.name for result in results]
        self.last = results
        return results

    def _heads(self, call: Call) -> list[Head]:
        heads = [head for head in call.heads if takes(head, call, self.sketch.version)]
        if not heads:
            raise Unfit(f"operator set {self.sketch.version} has no such {call.heads[0][1]}")
        return [head for head in heads if self._takes_type(head)] or heads

    def _takes_type(self, head: Head) -> bool:
        """Whether the first operand may be of the type that the instance is about."""
        domain, op = head
        schema = schemas.schema(op, domain, self.sketch.version)
        if schema is None or not schema.inputs:
            return True
        return self.elem_type in allowed_types(op, domain, self.sketch.version, schema.inputs[0].type_str)

    # -- taking back ---------------------------------------------------------------------------------------------------

    def _save(self) -> tuple[Any, ...]:
        return self.sketch.snapshot(), copy(self.bindings), copy(self.matched), copy(self.interior), copy(self.sites)

    def _restore(self, state: tuple[Any, ...]) -> None:
        sketch, bindings, matched, interior, sites = state
        self.sketch.restore(sketch)
        self.bindings, self.matched, self.interior = copy(bindings), copy(matched), copy(interior)
        self.sites = copy(sites)


def takes(head: Head, call: Call, version: int) -> bool:
    """Whether the operator exists at `version` and takes the operands of the call; those of other domains may."""
    domain, op = head
    schema = schemas.schema(op, domain, version)
    if domain or schema is None:
        return bool(domain)
    given = [not (isinstance(arg, Leaf) and (arg.optional or arg.kind == "rest")) for arg in call.args]
    needed = max((position + 1 for position, must in enumerate(given) if must), default=0)
    has_rest = bool(call.args) and isinstance(call.args[-1], Leaf) and call.args[-1].kind == "rest"
    return not schema.deprecated and needed <= schema.max_input and (has_rest or len(given) >= schema.min_input)


def fits_version(pattern: Any, version: int) -> bool:
    """Whether the operators of a pattern exist at `version`."""
    if isinstance(pattern, AnyOf):
        return any(fits_version(inner, version) for inner in pattern.patterns)
    call = pattern.call if isinstance(pattern, Result) else pattern
    if not isinstance(call, Call):
        return True
    fits = any(takes(head, call, version) for head in call.heads)
    return fits and all(fits_version(arg, version) for arg in call.args)


def _key(call: Call) -> str | int:
    """What tells calls apart: those of one name are one node."""
    return call.name or id(call)


def _results_needed(pattern: Any) -> dict[str | int, int]:
    """How many results each call must have for the pattern's uses of them."""
    needed: dict[str | int, int] = {}
    pending = [pattern]
    while pending:
        item = pending.pop()
        if isinstance(item, AnyOf):
            pending += item.patterns
            continue
        call, index = (item.call, item.index) if isinstance(item, Result) else (item, 0)
        if isinstance(call, Call):
            needed[_key(call)] = max(needed.get(_key(call), 1), index + 1)
            pending += call.args
    return needed
