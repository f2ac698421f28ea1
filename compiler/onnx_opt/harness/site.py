"""One call of a pattern while its operands and attributes are chosen: what a sampler works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, defs

from onnx_opt import schemas
from onnx_opt.harness.draw import Dims, Filler, exactly, ordinary
from onnx_opt.harness.sketch import Operand, Unfit
from onnx_opt.rewrite.pattern import AnyOf, Call, Leaf, Result
from onnx_opt.types import numpy_dtype

if TYPE_CHECKING:
    from onnx_opt.harness.grow import Grower

REST_LIMIT = 3
ABSENT_CHANCE = 0.4
TWIN_CHANCE = 0.6
"""How often a node imitates an earlier one with the same operator: its attributes and the dims of its parameters."""
LEFT_OUT_CHANCE = 0.3
"""How often an attribute that equals its default is not written."""

PREFERRED: tuple[int, ...] = (
    *[TensorProto.FLOAT] * 2,
    TensorProto.INT64,
    TensorProto.DOUBLE,
    TensorProto.INT32,
    TensorProto.FLOAT16,
    TensorProto.BOOL,
    TensorProto.INT8,
    TensorProto.UINT8,
)
"""Element types for operands whose operator does not take the type that the instance is about."""


@dataclass(frozen=True)
class Wish:
    """What the consumer of a value would like it to be. Only a leaf always grants it.

    `exact`: other dims are of no use. `side`: not what flows through the graph but a parameter, likely constant.
    """

    dims: Dims | None = None
    elem_type: int = 0
    filler: Filler = ordinary
    array: np.ndarray | None = None
    exact: bool = False
    side: bool = False


@dataclass(frozen=True)
class Hint:
    """What a constant should be: this number everywhere, broadcast in this form."""

    number: Any = None
    form: str = ""

    def fill(self, dims: Dims, dtype: np.dtype) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.full(dims, self.number).astype(dtype)


NO_HINT = Hint()
Recipe = Mapping[str, Hint]
"""Hints by the names that the pattern has for the constants."""


class Site:
    """A call in the making. A sampler asks for the operands in an order of its liking and sets attributes."""

    def __init__(self, grower: Grower, call: Call, op: str, domain: str, wish: Wish, outputs: int):
        self.grower, self.call, self.op, self.domain, self.wish = grower, call, op, domain, wish
        self.draw, self.sketch = grower.draw, grower.sketch
        self.version = grower.sketch.version if not domain else 1
        self.schema = schemas.schema(op, domain, self.version)
        self.outputs = max(outputs, self.schema.min_output if self.schema else 1)
        self.attrs: dict[str, Any] = {}
        self.operands: dict[int, Operand | None] = {}
        self._twin = grower.sites.get((domain, op)) if grower.draw.chance(TWIN_CHANCE) else None
        self._types: dict[str, int] = {}
        self._open: set[int] = set()
        """Positions among the remaining operands that are still to be made."""
        self._tail, self._fixed = _split_tail(call.args)
        self.count = self._count()
        if wish.elem_type and self.schema and self.schema.outputs:
            self._settle(self.schema.outputs[0].type_str, wish.elem_type)

    # -- operands ------------------------------------------------------------------------------------------------------

    def _count(self) -> int:
        fixed, least, most = len(self._fixed), 0, len(self._fixed)
        if self.schema is not None:
            least, most = self.schema.min_input, self.schema.max_input
        needed = [i for i, arg in enumerate(self._fixed) if not (isinstance(arg, Leaf) and arg.optional)]
        if needed and needed[-1] >= most:
            raise Unfit(f"{self.op} takes {most} operands at most")
        if self._tail is None:
            if fixed < least:
                raise Unfit(f"{self.op} takes {least} operands at least")
            return min(fixed, most)
        bound = self.grower.bindings.get(self._tail.name)
        if bound is None:
            length = self.draw.integer(max(0, least - fixed), max(least - fixed, min(most - fixed, REST_LIMIT)))
            bound = self.grower.bindings[self._tail.name] = [None] * length
            self._open = set(range(length))
        return fixed + len(bound)

    def argument(self, index: int) -> Any:
        """What the pattern has at an operand: a leaf, a call, anyof; None for none."""
        return self._fixed[index] if index < len(self._fixed) else None

    def name(self, index: int) -> str:
        """The name that the pattern has for an operand; '' where it has none."""
        arg = self.argument(index)
        return arg if isinstance(arg, str) else arg.name if isinstance(arg, Leaf) else ""

    def is_computed(self, index: int) -> bool:
        """Whether the pattern says how the operand is computed, so that its dims cannot simply be chosen."""
        return isinstance(self.argument(index), Call | Result | AnyOf)

    def is_bound(self, index: int) -> bool:
        """Whether the pattern met this operand before."""
        return self.name(index) in self.grower.bindings

    def is_free(self, index: int) -> bool:
        """Whether the operand may be anything: the pattern has a name for it that it has not met yet."""
        arg = self.argument(index)
        named = isinstance(arg, str) or (isinstance(arg, Leaf) and arg.kind == "value")
        return named and index < self.count and not self.is_bound(index)

    def place(self, index: int, made: Operand) -> Operand:
        """Let an operand that is free be a value that the sampler made itself."""
        self.grower.bindings[self.name(index)] = made
        self.operands[index] = made
        return made

    def hint(self, index: int) -> Hint:
        """What is known to make the rule apply, of a constant operand."""
        return self.grower.recipe.get(self.name(index), NO_HINT)

    def in_order(self, indices: Sequence[int]) -> list[int]:
        """Operands in the order in which to make them: those first that are least free."""
        return sorted(indices, key=lambda i: (not self.is_bound(i), not self.is_computed(i)))

    def operand(self, index: int, dims: Dims | None = None, **wishes: Any) -> Operand:
        """Make (or repeat) an operand that must be there; further arguments are those of `Wish`."""
        found = self.optional(index, dims, required=True, **wishes)
        if found is None:
            raise Unfit(f"{self.op} needs operand {index}")
        return found

    def optional(
        self, index: int, dims: Dims | None = None, *, required: bool = False, elem_type: int = 0, **wishes: Any
    ) -> Operand | None:
        """Make (or repeat) an operand; None where it is absent."""
        if index in self.operands:
            return self.operands[index]
        if index >= self.count:
            return None
        wishes.setdefault("side", index > 0)
        dims = self._imitated_dims(index, dims) if wishes["side"] else dims
        wish = Wish(dims, elem_type or self.elem_type(index), **wishes)
        wish = replace(wish, array=self._imitated_array(index, wish.array))
        if wish.array is not None:
            dtype = numpy_dtype(wish.elem_type) or np.dtype(np.int64)
            given = np.asarray(wish.array).astype(dtype)
            wish = replace(wish, dims=given.shape, array=given, filler=exactly(given))
        made = self._make(index, wish, required or self._is_required(index))
        self.operands[index] = made
        if made is not None and self.schema is not None:
            self._settle(self._formal(index).type_str, made.elem_type)
        return made

    def _imitated_dims(self, index: int, dims: Dims | None) -> Dims | None:
        other = self._twin.operands.get(index) if self._twin is not None else None
        fits = other is not None and dims is not None and len(other.dims) == len(dims)
        return other.dims if other is not None and fits else dims

    def _imitated_array(self, index: int, array: np.ndarray | None) -> np.ndarray | None:
        other = self._twin.operands.get(index) if self._twin is not None else None
        fits = other is not None and array is not None and other.dims == np.shape(array)
        return other.array if other is not None and fits and other.name in self.sketch.constants else array

    def _make(self, index: int, wish: Wish, required: bool) -> Operand | None:
        arg = self.argument(index)
        if arg is None:
            return self._make_rest(index - len(self._fixed), wish)
        may_lack = isinstance(arg, Leaf) and arg.optional and not self.is_bound(index) and not required
        if may_lack and self.draw.chance(ABSENT_CHANCE):
            self.grower.bindings[arg.name] = None
            return None
        return self.grower.grow(arg, wish)

    def _make_rest(self, position: int, wish: Wish) -> Operand | None:
        assert self._tail is not None
        items: list[Operand | None] = self.grower.bindings[self._tail.name]
        if position in self._open:
            self._open.remove(position)
            made = self.grower.leaf_value(wish)
            items = [made if place == position else item for place, item in enumerate(items)]
            self.grower.bindings[self._tail.name] = items
        return items[position]

    # -- types ---------------------------------------------------------------------------------------------------------

    def _formal(self, index: int) -> defs.OpSchema.FormalParameter:
        assert self.schema is not None
        return self.schema.inputs[min(index, len(self.schema.inputs) - 1)]

    def _is_required(self, index: int) -> bool:
        return self.schema is not None and self._formal(index).option == defs.OpSchema.FormalParameterOption.Single

    def _settle(self, variable: str, elem_type: int) -> None:
        """What one operand is, all that are made later and have the same type variable are."""
        if elem_type in self._allowed(variable):
            self._types[variable] = elem_type

    def _allowed(self, variable: str) -> tuple[int, ...]:
        return allowed_types(self.op, self.domain, self.version, variable)

    def elem_type(self, index: int) -> int:
        """The element type for an operand: that of others of its type variable, that of the instance, or any."""
        variable = self._formal(index).type_str if self.schema is not None and self.schema.inputs else "T"
        if variable in self._types:
            return self._types[variable]
        allowed = self._allowed(variable)
        base = self.grower.elem_type
        if self.schema is None or base in allowed:
            chosen = base
        else:
            chosen = self.draw.pick([kind for kind in PREFERRED if kind in allowed] or [base])
        self._types[variable] = chosen
        return chosen

    # -- attributes ----------------------------------------------------------------------------------------------------

    def takes(self, name: str) -> bool:
        """Whether the operator has this attribute in this version."""
        return self.schema is None or name in self.schema.attributes

    def decided(self, name: str, otherwise: Any = None) -> Any:
        """The value of an attribute that the pattern or an earlier choice has fixed; `otherwise` where it is free."""
        if name in self.attrs:
            return self.attrs[name]
        wanted = self.call.attrs.get(name)
        found = self.grower.bindings.get(wanted) if isinstance(wanted, str) else wanted
        if found is None and self._twin is not None:
            found = self._twin.attrs.get(name)
        return otherwise if found is None else found

    def attr(self, name: str, value: Any) -> Any:
        """Set an attribute, unless it is decided already or unknown in this version; returns what it is then."""
        if not self.takes(name):
            return value
        value = self.decided(name, value)
        self.attrs[name] = value
        return value

    def default(self, name: str) -> Any:
        """The default of an attribute."""
        return schemas.attribute_default(self.op, self.domain, self.version, name)

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self) -> list[Operand]:
        """Add the node; returns its results. Raises `Unfit`."""
        for index in range(self.count):
            if index not in self.operands and self._is_required(index):
                raise Unfit(f"nothing makes operand {index} of {self.op}")
            self.optional(index)
        for arg in self._fixed:
            if isinstance(arg, Leaf) and arg.optional:
                self.grower.bindings.setdefault(arg.name, None)
        self._settle_attributes()
        operands = [self.operands.get(index) for index in range(self.count)]
        attrs = {name: plain(value) for name, value in self.attrs.items() if self._is_written(name, value)}
        return self.sketch.node(self.op, operands, attrs, self.domain, self.outputs)

    def _is_written(self, name: str, value: Any) -> bool:
        if value is None:
            return False
        default = self.default(name)
        return default is None or default != plain(value) or not self.draw.chance(LEFT_OUT_CHANCE)

    def _settle_attributes(self) -> None:
        """Attributes as the pattern has them; names that it binds are bound."""
        for name, wanted in self.call.attrs.items():
            if isinstance(wanted, str):
                have = self.attrs.get(name, self.default(name))
                bound = self.grower.bindings.setdefault(wanted, have)
                if bound != have and self.takes(name):
                    self.attrs[name] = bound
            elif wanted is not None:
                if not self.takes(name):
                    raise Unfit(f"{self.op} has no attribute {name} in version {self.version}")
                self.attrs[name] = wanted


@cache
def allowed_types(op: str, domain: str, version: int, variable: str) -> tuple[int, ...]:
    """The element types that a type variable of an operator may be (or the one that it names itself)."""
    schema = schemas.schema(op, domain, version)
    listed: Sequence[str] = [variable]
    for constraint in schema.type_constraints if schema is not None else ():
        if constraint.type_param_str == variable:
            listed = constraint.allowed_type_strs
    names = {f"tensor({name.lower()})": number for name, number in TensorProto.DataType.items()}
    return tuple(names[text] for text in listed if text in names)


def plain(value: Any) -> Any:
    """An attribute value as `onnx.helper` takes it."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, np.ndarray):
        from onnx import numpy_helper

        return numpy_helper.from_array(value)
    return value


def _split_tail(args: tuple[Any, ...]) -> tuple[Leaf | None, tuple[Any, ...]]:
    """The leaf that takes all remaining operands, and the arguments before it."""
    if args and isinstance(args[-1], Leaf) and args[-1].kind == "rest":
        return args[-1], args[:-1]
    return None, args
