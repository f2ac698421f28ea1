"""The placement of casts as a graph problem: which nodes run in half precision so that the fewest bytes are cast?

The problem and its solver are those of layouts (`onnx_opt.layout.problem`): form 0 is FP32, form 1 half precision. An
edge is a value, a site the operands and results of a node that have one type. What computes runs in half precision
unless there is a reason against it; what only moves elements is free. Types that are tied across nodes (the carried
values of a Loop, the results of both branches of an If) are one site.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx_opt.ir.values import Constant
from onnx_opt.layout.mincut import solve
from onnx_opt.layout.problem import FIXED, Problem, Weight, form_of
from onnx_opt.layout.weigh import Weights
from onnx_opt.precision.constraints import only_moves, signature
from onnx_opt.precision.control import ties
from onnx_opt.precision.groups import Constraints, Group, is_wide, main_group

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Model, Node, Value
    from onnx_opt.target import Target

WIDE, HALF = 0, 1
LEVELS = 4
"""Bytes of casts, their number, bytes of constants that are needed in both types, preferences."""
CARRIED = "V"
"""What the schemas of If, Loop and Scan call the types of the values that pass through them."""
ITERATIONS = 8
"""How often the body of a loop is taken to run."""
UNKNOWN_RANK = 1 << 14
"""Bytes that a value of unknown rank is taken to have."""


@dataclass
class Forms:
    """The solution: the type of every FP32 value as it is computed, and of every place where it is read."""

    producer: dict[Value, int]
    reader: dict[tuple[Node | Graph, int], int]
    bytes_of: dict[Value, int]
    """About how many bytes a value that is no constant has in FP32, over all iterations."""


@dataclass(frozen=True)
class Wishes:
    """What is decided beforehand: nodes that stay as they are, nodes that had rather stay, whether the interface
    stays, and nodes that must not stay."""

    kept: Mapping[Node, str]
    quantized: Collection[Node]
    keep_io: bool
    lowered: Collection[Node] = ()


class Plan:
    """The problem of one model. `groups` has the groups of every node outside of local functions."""

    def __init__(self, model: Model, elem_type: int, target: Target):
        self.model = model
        self.elem_type = elem_type
        self.graphs: list[Graph] = list(model.graph.nested())
        self.groups: dict[Node, list[Group]] = {}
        self.problems: dict[Node, str] = {}
        """Why nodes can't run in half precision."""
        self.weights = Weights(model.graph.inputs)
        constraints = Constraints(model, elem_type, target)
        for node in self.nodes():
            if node.bodies:
                continue
            found = constraints.groups(node)
            if found:
                self.groups[node] = found
                if problem := main_group(found).problem:
                    self.problems[node] = problem

    def nodes(self) -> Iterator[Node]:
        for graph in self.graphs:
            yield from graph

    def computing(self) -> list[Node]:
        """The nodes that run in half precision unless there is a reason against it."""
        return [
            node
            for node, groups in self.groups.items()
            if node not in self.problems and not only_moves(node) and any(group.results for group in groups)
        ]

    def solve(self, wishes: Wishes) -> Forms:
        """The types that cost the fewest bytes of casts."""
        return _Solver(self, wishes).solve()


class _Solver:
    def __init__(self, plan: Plan, wishes: Wishes):
        self.plan = plan
        self.wishes = wishes
        self.problem = Problem(LEVELS)
        self.producer: dict[Value, int] = {}
        self.reader: dict[tuple[Any, int], int] = {}
        self.bytes_of: dict[Value, int] = {}

    def solve(self) -> Forms:
        for node in self.plan.nodes():
            if node.bodies:
                self._tie(node)
            else:
                self._place(node)
        self._interface()
        for value in self.producer:
            self._edge(value)
        forms = solve(self.problem)
        return Forms(
            {value: form_of(end, forms) for value, end in self.producer.items()},
            {use: form_of(end, forms) for use, end in self.reader.items()},
            self.bytes_of,
        )

    # -- sites -----------------------------------------------------------------------------------------------------

    def _place(self, node: Node) -> None:
        for group in self.plan.groups.get(node, ()):
            end = self._endpoint(node, group)
            for index in group.operands:
                self.reader[node, index] = end
            for index in group.results:
                self.producer[node.outputs[index]] = end

    def _endpoint(self, node: Node, group: Group) -> int:
        reads_only = node.op == "Cast" and not group.results  # a Cast that stays may yet read the other type
        if group.problem or (node in self.wishes.kept and not reads_only):
            return FIXED[WIDE]
        if node.op == "Constant" and not node.domain:
            return self.problem.site() if is_constant(node.outputs[0]) else FIXED[WIDE]
        if node in self.wishes.lowered:
            return FIXED[HALF]
        if node in self.wishes.quantized:
            return self.problem.site(as_form_1=(0, 0, 0, 1))
        if only_moves(node) or not group.results:
            return self.problem.site(as_form_0=self._needless(node))
        return FIXED[HALF]

    def _needless(self, node: Node) -> Weight | None:
        """A Cast between FP32 and the half type is saved where its FP32 end becomes half, too."""
        if node.op != "Cast" or node.domain:
            return None
        source, result = node.inputs[0], node.outputs[0]
        if self.plan.elem_type in (source.elem_type, result.elem_type):
            return (self._bytes(result), 1, 0, 0)
        return None

    def _tie(self, node: Node) -> None:
        """The types that a node with subgraphs shares with them."""
        known = signature(node.op, node.domain, node.version, self.plan.elem_type)
        allowed = known is not None and CARRIED in known.allowed and node not in self.wishes.kept
        for tie in ties(node):
            free = allowed and tie.may_change and all(map(is_wide, tie.values))
            end = self.problem.site() if free else FIXED[WIDE]
            for use in tie.uses:
                self.reader[use] = end
            for value in filter(is_wide, tie.produced):
                self.producer[value] = end

    def _interface(self) -> None:
        graph = self.plan.model.graph
        end = FIXED[WIDE if self.wishes.keep_io else HALF]
        for value in filter(is_wide, graph.inputs):
            # A weight that callers may replace, though hardly ever do, is no reason for a cast.
            self.producer[value] = self.problem.site() if isinstance(value, Constant) else end
        for index in range(len(graph.outputs)):
            self.reader[graph, index] = end
        for inner in self.plan.graphs:
            for constant in filter(is_wide, inner.constants):
                if constant not in self.producer:
                    self.producer[constant] = FIXED[WIDE] if constant.pinned else self.problem.site()

    # -- edges -----------------------------------------------------------------------------------------------------

    def _edge(self, value: Value) -> None:
        readers = [self.reader.setdefault(use, FIXED[WIDE]) for use in value.uses]
        self.problem.edge(self.producer[value], readers, self._weight(value))

    def _weight(self, value: Value) -> Weight:
        if is_constant(value):
            return (0, 0, self.plan.weights.bytes_of(value), 0)
        return (self._bytes(value), 1, 0, 0)

    def _bytes(self, value: Value) -> int:
        if value not in self.bytes_of:
            size = self.plan.weights.bytes_of(value) if value.dims is not None else UNKNOWN_RANK
            self.bytes_of[value] = size * ITERATIONS ** _loops_around(value)
        return self.bytes_of[value]


def is_constant(value: Value) -> bool:
    """Whether a value can be converted at rest: an initializer that nobody may override or names from outside of the
    nodes (training does), or what a Constant node gives."""
    node = value.producer
    if node is not None:
        return node.op == "Constant" and not node.domain and value.constant is not None
    return isinstance(value, Constant) and not value.overridable and not value.pinned


def _loops_around(value: Value) -> int:
    """The number of loops that compute a value; more than three make no difference."""
    depth, graph = 0, value.graph
    while graph is not None and graph.owner is not None and depth < 3:
        depth += graph.owner.op in ("Loop", "Scan")
        graph = graph.owner.graph
    return depth
