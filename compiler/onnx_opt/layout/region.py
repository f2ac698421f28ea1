"""Regions: tensors that hang together through the nodes that could run on either form of them.

A tensor here is what the values before and after a Transpose have in common: the same elements, in form 0 or in form 1.
A region grows from one Transpose: to the producer and the readers of its tensor, through those that could run in the
other form to their other tensors, and so on. What can't is fixed, with the reason kept for whoever asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_opt import traits
from onnx_opt.layout.behaviour import Behaviour, Placed, Refused, Retransposing, Slot, behaviour_of
from onnx_opt.layout.perms import Perm, inverse, is_identity, perm_of

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value

RETRANSPOSING = Retransposing()


def regions(graph: Graph) -> Iterator[Region]:
    """A region for each Transpose that moves something, but for those that an earlier one holds. Regions may be
    rewritten while they are iterated over."""
    seen: set[Node] = set()
    for node in list(graph):
        if not node.alive or node in seen:
            continue
        perm = perm_of(node)
        if perm is None or is_identity(perm) or node.inputs[0].constant is not None:
            continue
        region = Region(graph, node)
        seen.update(inside for tensor in region.tensors for inside in tensor.transposes)
        yield region


@dataclass(eq=False)
class Site:
    """A node that can run in either form. In the model it runs in `form`; in the other one as `placed` says."""

    node: Node
    behaviour: Behaviour
    placed: Placed
    form: int


@dataclass(eq=False)
class Tensor:
    """The values before and after Transposes, each with its form. Transposing form 0 by `perm` gives form 1."""

    root: Value
    perm: Perm
    members: dict[Value, int] = field(default_factory=dict)
    transposes: dict[Node, None] = field(default_factory=dict)
    producer: Site | None = None
    readers: list[tuple[Site | None, int]] = field(default_factory=list)
    """Who reads it (None: something fixed), in which form it does so in the model."""

    def perm_from(self, form: int) -> Perm:
        """What turns it from `form` into the other form."""
        return inverse(self.perm) if form else self.perm


class Region:
    """What is reached from one Transpose. `fixed` holds the reason why a node is bound to its layout."""

    def __init__(self, graph: Graph, seed: Node):
        self.graph = graph
        self.seed = seed
        self.tensors: list[Tensor] = []
        self.sites: dict[Node, Site] = {}
        self.fixed: dict[Node, str] = {}
        self.absorbing: set[Node] = set()
        """Nodes that take an operand in either form at the same cost."""
        self.tensor_of: dict[Value, Tensor] = {}
        self.channels_first = [0, 0]
        """For each form, how many operators are bound to it that want the channels in dim 1."""
        self._queue: deque[Tensor] = deque()
        perm = perm_of(seed)
        assert perm is not None
        self._add_tensor(seed.inputs[0], perm, 0)
        while self._queue:
            self._grow(self._queue.popleft())

    @property
    def preferred_form(self) -> int | None:
        """The form in which most operators want it that are bound to channels first; None where there are none."""
        votes = self.channels_first
        return None if votes[0] == votes[1] else votes.index(max(votes))

    def form(self, value: Value) -> int:
        """The form in which the model has a value."""
        return self.tensor_of[value].members[value]

    def perm(self, value: Value) -> Perm:
        """What turns a value into its other form."""
        tensor = self.tensor_of[value]
        return tensor.perm_from(tensor.members[value])

    # -- tensors ---------------------------------------------------------------------------------------------------

    def _add_tensor(self, value: Value, perm: Perm, form: int) -> None:
        """The tensor of `value`, which is in `form` and becomes the other by `perm`."""
        root = value
        while (own := self._transpose_before(root)) is not None and inverse(own) == perm:
            assert root.producer is not None
            if root.producer.inputs[0] in self.tensor_of:
                break
            root, perm, form = root.producer.inputs[0], own, 1 - form
        tensor = Tensor(root, inverse(perm) if form else perm)
        self.tensors.append(tensor)
        self._queue.append(tensor)
        stack = [(root, form)]
        while stack:
            member, form = stack.pop()
            tensor.members[member] = form
            self.tensor_of[member] = tensor
            for node in member.users:
                if node.graph is not self.graph or node.outputs[0] in self.tensor_of:
                    continue
                if perm_of(node) == tensor.perm_from(form):
                    tensor.transposes[node] = None
                    stack.append((node.outputs[0], 1 - form))

    def _transpose_before(self, value: Value) -> Perm | None:
        node = value.producer
        return perm_of(node) if node is not None and node.graph is self.graph else None

    # -- growing ---------------------------------------------------------------------------------------------------

    def _grow(self, tensor: Tensor) -> None:
        node = tensor.root.producer
        if node is not None and node.graph is self.graph:
            index = list(node.outputs).index(tensor.root)
            site = self._site(node, Slot(index, True), tensor.root)
            tensor.producer = site if site is not None and index in site.placed.results else None
        for member, form in tensor.members.items():
            for user, index in list(member.uses):
                if user in tensor.transposes:
                    continue
                if user.is_graph or user.graph is not self.graph:
                    tensor.readers.append((None, form))
                    continue
                self._read(tensor, user, index, member, form)

    def _read(self, tensor: Tensor, node: Node, index: int, member: Value, form: int) -> None:
        perm = tensor.perm_from(form)
        if self._is_indifferent(node) and self._behaviour(node).absorbs(node, index, perm):
            self.absorbing.add(node)
            return
        site = self._site(node, Slot(index), member)
        if site is not None and index not in site.placed.operands:
            site = None  # the node may run in either form, but reads this operand in one
        tensor.readers.append((site, form))

    def _is_indifferent(self, node: Node) -> bool:
        """Whether what a node costs is independent of the form of its result."""
        site = self.sites.get(node)
        if site is None:
            return True
        return isinstance(site.behaviour, Retransposing) and site.behaviour.costs_the_same(node, site.placed)

    def _behaviour(self, node: Node) -> Behaviour:
        return RETRANSPOSING if perm_of(node) is not None else behaviour_of(node)

    def _site(self, node: Node, slot: Slot, value: Value) -> Site | None:
        """The site of a node that has `value` in `slot`, None where it is fixed."""
        if node in self.sites or node in self.fixed:
            return self.sites.get(node)
        form, perm = self.form(value), self.perm(value)
        behaviour = self._behaviour(node)
        try:
            site = Site(node, behaviour, self._placed(node, behaviour, slot, perm), form)
            self._claim(site)
        except Refused as reason:
            self.fixed[node] = str(reason)
            if behaviour.channels_first:
                self.channels_first[form] += 1
            return None
        self.sites[node] = site
        return site

    def _placed(self, node: Node, behaviour: Behaviour, slot: Slot, perm: Perm) -> Placed:
        if node.has_attribute_refs:
            raise Refused("an attribute depends on the call of the local function")
        if node.bodies or not traits.is_pure(node):
            raise Refused(f"{node.op} depends on more than its operands")
        if any(value.pinned for value in node.outputs):
            raise Refused("something outside of the graph names its result")
        placed = behaviour.place(node, slot, perm, self._wishes)
        if node in self.absorbing and not (
            isinstance(behaviour, Retransposing) and behaviour.costs_the_same(node, placed)
        ):
            raise Refused("it takes its operand in either layout already")
        return placed

    def _wishes(self, value: Value) -> list[Perm]:
        """By what a value is transposed next to it, or is stored in this region already."""
        if value in self.tensor_of:
            return [self.perm(value)]
        before = self._transpose_before(value)
        found = [perm for node in value.users if (perm := perm_of(node)) is not None]
        return [inverse(before), *found] if before is not None else found

    def _claim(self, site: Site) -> None:
        """Bring the other tensors of a site into the region. Raises Refused where one is stored otherwise already."""
        for slot, perm in site.placed.slots():
            value = slot.of(site.node)
            if is_identity(perm):
                raise Refused("it does not matter to all of its operands")
            if value not in self.tensor_of:
                self._add_tensor(value, perm, site.form)
            if self.perm(value) != perm or self.form(value) != site.form:
                raise Refused(f"'{value.name}' is wanted in another layout beside it")
