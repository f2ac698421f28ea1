"""Graphs that grow: the values of a scope, and the nodes that were accepted in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import eager
from .draw import Dims, Draw, dtype_of
from .eager import Refused
from .undefined import why_undefined

Attributes = dict[str, Any]


@dataclass(eq=False)
class Val:
    """A value with what it holds in each world; `constant` where it is the same in all of them for sure."""

    name: str
    values: tuple[Any, ...]
    constant: bool = False
    initializer: bool = False
    is_result: bool = False
    """Whether a node computes it."""

    @property
    def is_sequence(self) -> bool:
        return isinstance(self.values[0], list)

    @property
    def dtype(self) -> str:
        first = self.values[0]
        return str(first[0].dtype.name if self.is_sequence else first.dtype.name)

    @property
    def elem_type(self) -> int:
        first = self.values[0][0] if self.is_sequence else self.values[0]
        return int(helper.np_dtype_to_tensor_dtype(first.dtype))

    @property
    def rank(self) -> int:
        return int(self.values[0].ndim)

    @property
    def shapes(self) -> list[Dims]:
        return [value.shape for value in self.values]

    @property
    def dims(self) -> tuple[int | None, ...]:
        """The sizes that are the same in all worlds; None for the others."""
        return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*self.shapes, strict=True))

    @property
    def is_empty(self) -> bool:
        return any(value.size == 0 for value in self.values)

    def size(self, axis: int) -> int:
        """The least size of an axis over the worlds."""
        return int(min(shape[axis] for shape in self.shapes))


@dataclass
class Plan:
    """What all scopes of a model share."""

    draw: Draw
    opset: int
    ir_version: int
    symbols: dict[str, list[int]]
    """The size of each dynamic dim in each world."""
    floats: Sequence[str]
    """The floating-point types of the model; the first is its favorite."""
    integers: Sequence[str]
    theme: str = ""
    """The group of samplers, or the sampler, that is drawn more often than others."""
    functions: dict[str, Any] = field(default_factory=dict)
    inner_results: set[str] = field(default_factory=set)
    """Names of results in bodies. What comes later outside may bear them too, unless it can be seen in the body."""
    refused: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)

    @property
    def worlds(self) -> int:
        return len(next(iter(self.symbols.values())))

    @property
    def opsets(self) -> list[onnx.OperatorSetIdProto]:
        domains = {"": self.opset} | ({"local": 1} if self.functions else {})
        return [helper.make_operatorsetid(domain, version) for domain, version in domains.items()]

    def holds(self, dtype: str) -> bool:
        """Whether a Constant node may hold this type: before operator set 9, floats alone."""
        return self.opset >= 9 or dtype in ("float16", "float32", "float64")

    @property
    def has_overridable(self) -> bool:
        return self.ir_version >= 4


class Scope:
    """A graph under construction. `parent`: the scope that it captures from; None for the main graph and functions."""

    def __init__(self, plan: Plan, parent: Scope | None = None, prefix: str = "v", is_function: bool = False):
        self.plan, self.parent, self.prefix, self.is_function = plan, parent, prefix, is_function
        self.draw = plan.draw
        self.values: list[Val] = []
        self.inputs: list[tuple[Val, list[int | str | None]]] = []
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.focus: Val | None = None
        """What operators take by preference, so that they form a chain."""
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.count = 0

    # -- values --------------------------------------------------------------------------------------------------------

    def fresh(self, everywhere: bool = False) -> str:
        """An unused name. Bodies side by side may use the same ones; `everywhere`: bodies that are there use it not."""
        self.count += 1
        while everywhere and f"{self.prefix}{self.count}" in self.plan.inner_results:
            self.count += 1
        return f"{self.prefix}{self.count}"

    def given(self) -> str:
        """A name for an input or an initializer: in a body now and then that of an outer result, which it hides. Hidden
        inputs and initializers would be what ONNX Runtime reads."""
        if self.parent is not None and self.draw.chance(0.1):
            hidden = {value.name for value in self.values} | {name for node in self.nodes for name in free_names(node)}
            outer = [value.name for value in self.parent.visible() if value.is_result and value.name not in hidden]
            if outer:
                return self.draw.pick(outer)
        return self.fresh(everywhere=True)

    def visible(self) -> list[Val]:
        """Every value that a node of this scope may read, outer ones first."""
        found: list[Val] = []
        scope: Scope | None = self
        while scope is not None:
            hidden = {value.name for value in found}
            found[:0] = [value for value in scope.values if value.name not in hidden]
            scope = scope.parent
        return found

    def find(self, where: Callable[[Val], bool], *, own: bool = False) -> Val | None:
        """A visible value that fits; recent ones are likelier."""
        fitting = [
            value for value in (self.values if own else self.visible()) if not value.is_sequence and where(value)
        ]
        if not fitting:
            return None
        return self.draw.weighted(fitting, [1.15 ** min(i, 40) for i in range(len(fitting))])

    def pick(
        self,
        dtypes: Collection[str] = (),
        rank: int | None = None,
        where: Callable[[Val], bool] = lambda value: True,
        least: int = 0,
    ) -> Val:
        """A value of one of these types; made anew where there is none, or now and then."""
        kinds = dtypes or (*self.plan.floats, *self.plan.integers)

        def fits(value: Val) -> bool:
            return (
                value.dtype in kinds and (rank is None or value.rank == rank) and value.rank >= least and where(value)
            )

        if self.focus is not None and fits(self.focus) and not self.draw.chance(0.1):
            return self.focus
        found = None if self.draw.chance(0.08) else self.find(fits)
        if found is not None:
            return found
        favorites = [
            name for name in (*self.plan.floats[:1] * 3, *self.plan.floats, *self.plan.integers) if name in kinds
        ]
        dtype = self.draw.pick(favorites or sorted(kinds))
        wanted = max(self.draw.pick([0, 1, 2, 2, 3, 3, 4]), least) if rank is None else rank
        made = self.source(dtype, wanted)
        if not where(made):
            raise Refused("no such value")
        return made

    def floating(self, rank: int | None = None, least: int = 0, wide: bool = False) -> Val:
        """A floating-point value; `wide`: no half precision."""
        kinds = [name for name in self.plan.floats if not wide or name in ("float32", "float64")]
        return self.pick(kinds or ["float32"], rank, least=least)

    def source(self, dtype: str, rank: int) -> Val:
        """A new graph input of some dims, or a constant where the scope can have no inputs of its own."""
        if self.parent is not None or self.is_function or self.draw.chance(0.15):
            return self.const(self.draw.array(dtype, [self.draw.integer(1, 4) for _ in range(rank)]))
        return self.input(dtype, [self.axis() for _ in range(rank)])

    def axis(self) -> int | str | None:
        """A dim of an input: a size, the name of a symbol, or a symbol whose name the model does not tell ('?...')."""
        if self.draw.chance(0.55):
            return self.draw.pick([1, 2, 3, 3, 4, 5])
        return self.draw.pick(list(self.plan.symbols))

    def input(self, dtype: str, axes: Sequence[int | str | None], arrays: Sequence[np.ndarray] = ()) -> Val:
        """A new graph input."""
        made = tuple(arrays) or tuple(self._feed(dtype, axes, world) for world in range(self.plan.worlds))
        value = Val(self.fresh(everywhere=True), made)
        self.values.append(value)
        self.inputs.append((value, list(axes)))
        return value

    def _feed(self, dtype: str, axes: Sequence[int | str | None], world: int) -> np.ndarray:
        dims = [self.plan.symbols[axis][world] if isinstance(axis, str) else int(axis or 0) for axis in axes]
        flavor = ["plain", self.draw.pick(["plain", "simple"]), self.draw.pick(["special", "plain", "extreme"])][
            world % 3
        ]
        if dtype not in ("bool", "object", *self.plan.floats, "float32") and flavor == "special":
            flavor = "extreme"
        return self.draw.array(dtype, dims, "plain" if flavor == "extreme" and dtype in self.plan.floats else flavor)

    def const(self, array: np.ndarray | Sequence[int] | int, *, shared: bool = True) -> Val:
        """A constant: an initializer (one that is there already, a copy, one that may be overridden) or a node."""
        array = np.asarray(array) if isinstance(array, np.ndarray | np.generic) else np.asarray(array, np.int64)
        if shared and self.draw.chance(0.35):
            twin = next((v for v in self.visible() if v.constant and _same_bits(v.values[0], array)), None)
            if twin is not None:
                return twin
        bare = self.is_function or (self.parent is not None and self.plan.ir_version < 4)
        if bare and not self.plan.holds(array.dtype.name):
            raise Refused("no Constant of this type yet")
        as_node = bare or (self.plan.holds(array.dtype.name) and self.draw.chance(0.15))
        name = self.fresh(everywhere=True) if as_node else self.given()
        value = Val(name, (array,) * self.plan.worlds, constant=True, initializer=not as_node)
        if as_node:
            self.plan.inner_results.update([name] if self.parent is not None else ())
            self.nodes.append(_constant_node(name, array, self.draw, self.plan.opset))
        elif self._overrides(value, array):
            value.constant = value.initializer = False
        else:
            self.initializers.append(self._tensor(name, array))
        self.values.append(value)
        return value

    def _overrides(self, value: Val, array: np.ndarray) -> bool:
        """Make it an initializer that is an input as well, fed with something else in some worlds."""
        if self.parent is not None or not self.plan.has_overridable or not self.draw.chance(0.04):
            return False
        self.initializers.append(self._tensor(value.name, array))
        self.inputs.append((value, list(array.shape)))
        if array.dtype.kind not in "biuO":
            other = self.draw.array(array.dtype.name, array.shape, "plain")
            value.values = (array, *[other] * (self.plan.worlds - 1))
        return True

    def _tensor(self, name: str, array: np.ndarray) -> onnx.TensorProto:
        tensor = numpy_helper.from_array(array, name)
        if array.dtype.name in ("float32", "int64") and not np.isnan(array).any() and self.draw.chance(0.3):
            tensor = helper.make_tensor(name, tensor.data_type, array.shape, array.reshape(-1).tolist())
        return tensor

    def scalar(self, number: float, dtype: str) -> Val:
        """A 0-d constant."""
        with np.errstate(all="ignore"):
            return self.const(np.asarray(number).astype(dtype_of(dtype)))

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def node(
        self, op: str, operands: Sequence[Val | None], outputs: int = 1, domain: str = "", **attributes: Any
    ) -> Any:
        """Add a node if ONNX Runtime runs it on every feed: its result, or a list of them if there are several."""
        given = {name: value for name, value in attributes.items() if value is not None}
        names = [value.name if value is not None else "" for value in operands]
        while names and not names[-1]:
            names.pop()
        results = [self.fresh() for _ in range(outputs)]
        made = helper.make_node(op, names, results, domain=domain, **given)
        return self.add(made)

    def add(self, node: onnx.NodeProto) -> Any:
        """As `node`, for a finished one."""
        plan = self.plan
        reads = self.reads(node)
        operands = {value.name: value.values for value in reads}
        constants = frozenset(value.name for value in reads if value.initializer and not value.is_sequence)
        functions = [function.proto for function in plan.functions.values()]
        if reason := why_undefined(node, operands):
            raise Refused(reason)
        try:
            columns = eager.run(node, operands, constants, plan.opsets, functions)
        except Refused:
            plan.refused[node.op_type] = plan.refused.get(node.op_type, 0) + 1
            raise
        plan.accepted[node.op_type] = plan.accepted.get(node.op_type, 0) + 1
        constant = bool(reads) and all(value.constant for value in reads)
        columns = [column * plan.worlds if len(column) == 1 else column for column in columns]
        results = [
            Val(name, column, constant, is_result=True)
            for name, column in zip([n for n in node.output if n], columns, strict=True)
        ]
        self.nodes.append(node)
        self.values.extend(results)
        if self.parent is not None:
            plan.inner_results.update(value.name for value in results)
        return results[0] if len(results) == 1 else results

    def reads(self, node: onnx.NodeProto) -> list[Val]:
        """The values that a node reads, captured ones included."""
        known = {value.name: value for value in self.visible()}
        return [known[name] for name in dict.fromkeys(free_names(node)) if name in known]

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Take back everything that was added if the block is refused; the exception goes on."""
        marks = [(items, len(items)) for items in (self.values, self.inputs, self.nodes, self.initializers)]
        try:
            yield
        except Refused:
            for items, length in marks:
                del items[length:]  # type: ignore[attr-defined]
            raise


def free_names(node: onnx.NodeProto) -> Iterator[str]:
    """The names that a node and the graphs in it read from outside."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
            inside = {v.name for v in graph.input} | {t.name for t in graph.initializer}
            inside |= {name for inner in graph.node for name in inner.output}
            for inner in graph.node:
                yield from (name for name in free_names(inner) if name not in inside)
            yield from (v.name for v in graph.output if v.name not in inside)


def _same_bits(value: Any, array: np.ndarray) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == array.dtype
        and value.shape == array.shape
        and value.tobytes() == array.tobytes()
    )


def _constant_node(name: str, array: np.ndarray, draw: Draw, opset: int) -> onnx.NodeProto:
    """A Constant node; the short forms of its attribute where they fit."""
    if opset >= 12 and array.ndim < 2 and array.dtype.name in ("float32", "int64") and draw.chance(0.5):
        kind = "float" if array.dtype.name == "float32" else "int"
        plural = "s" if array.ndim else ""
        if array.size:
            return helper.make_node("Constant", [], [name], **{f"value_{kind}{plural}": array.tolist()})
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
