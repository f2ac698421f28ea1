"""The rewrite of a region: nodes made anew in their new form, one Transpose for each tensor that is needed in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnx_opt import shapes
from onnx_opt.ir import Graph, Node, Origin, Value
from onnx_opt.layout.behaviour import Edit, Refused
from onnx_opt.layout.perms import Perm, permuted

if TYPE_CHECKING:
    from onnx_opt.layout.region import Region, Site, Tensor

AXES_ARE_AN_OPERAND = 13
"""The operator set from which Unsqueeze takes its axes as an operand."""


def apply(region: Region, forms: dict[Site, int], rule: str) -> list[Node]:
    """Bring the sites of a region into their forms. Returns the Transposes that remain. Raises Refused where a node
    can't be made; the caller takes everything back then."""
    rewriter = _Rewriter(region, forms, rule)
    rewriter.run()
    return [node for node in rewriter.remaining if node.alive and node.outputs[0].uses]


class _Rewriter:
    def __init__(self, region: Region, forms: dict[Site, int], rule: str):
        self.region = region
        self.graph: Graph = region.graph
        self.rule = rule
        self.changed = {site: None for site, form in forms.items() if form != site.form}
        self.forms = forms
        self.made: dict[Node, Node] = {}
        """Nodes in their old form -> in their new one."""
        self.order: dict[Node, list[int]] = {}
        """Nodes whose operands change places -> the old places."""
        self.stored: dict[tuple[Tensor, int], Value] = {}
        """The value that holds a tensor in a form."""
        self.operands = {
            site: {index: region.tensor_of[site.node.inputs[index]] for index in site.placed.operands}
            for site in self.changed
        }
        self.moved = Origin.merge(rule, [node.origin for tensor in region.tensors for node in tensor.transposes])
        """Where a Transpose comes from that stands where there was none: all of the region's had a part in it."""
        self.remaining: list[Node] = []

    def run(self) -> None:
        for site in self.changed:
            self._remake(site)
        for tensor in self.region.tensors:
            self._note_stored(tensor)
        for site in self.changed:
            self._rewire(site)
        for tensor in self.region.tensors:
            for member, form in tensor.members.items():
                self._redirect(tensor, member, form)
        for site in self.changed:
            self._check(site)
            self._replace_other_results(site)

    # -- nodes -----------------------------------------------------------------------------------------------------

    def _remake(self, site: Site) -> None:
        """The node with its new attributes, beside the old one, still with the old operands."""
        node, edit = site.node, Edit(site.node)
        site.behaviour.rebuild(node, site.placed, edit)
        operands: list[Value] = list(node.inputs)
        origin = Origin.merge(self.rule, [node.origin])
        for index, array in edit.arrays.items():
            constant = self.graph.add_constant(array, node.inputs[index].name if index < len(operands) else "shape")
            operands[index : index + 1] = [constant]
        for index, order in edit.picked.items():
            operands[index] = self._picked(node, operands[index], order, origin)
        if edit.order is not None:
            operands = [operands[index] for index in edit.order]
            self.order[node] = edit.order
        results = max(index + 1 for index, value in enumerate(node.outputs) if value.name)
        new = self.graph.make_node(edit.op, operands, edit.attrs, node.domain, results, node.label(), origin)
        self.graph.insert(new, node)
        for index, perm in site.placed.aligned.items():
            self.graph.set_input(new, index, self._aligned(new, index, perm))
        self.made[node] = new

    def _picked(self, node: Node, value: Value, order: list[int], origin: Origin) -> Value:
        indices = self.graph.add_constant(np.array(order, np.int64), f"{value.name}_order")
        gather = self.graph.make_node("Gather", [value, indices], {"axis": 0}, name=value.name, origin=origin)
        return self.graph.insert(gather, node).outputs[0]

    def _aligned(self, new: Node, index: int, perm: Perm) -> Value:
        """An operand of lower rank with leading dims of 1, transposed."""
        value = new.inputs[index]
        axes = list(range(len(perm) - (value.rank or 0)))
        graph = self.graph
        if graph.opsets.get("", 0) < AXES_ARE_AN_OPERAND:
            wide = graph.make_node("Unsqueeze", [value], {"axes": axes}, name=value.name, origin=new.origin)
        else:
            listed = graph.add_constant(np.array(axes, np.int64), "axes")
            wide = graph.make_node("Unsqueeze", [value, listed], name=value.name, origin=new.origin)
        graph.insert(wide, new)
        return self._transpose(wide.outputs[0], perm, new, new.origin)

    def _transpose(self, value: Value, perm: Perm, before: Node | None, origin: Origin) -> Value:
        node = self.graph.make_node("Transpose", [value], {"perm": list(perm)}, name=value.name, origin=origin)
        return self.graph.insert(node, before).outputs[0]

    def _rewire(self, site: Site) -> None:
        """Give the new node its operands in its new form."""
        order = self.order.get(site.node)
        for old, tensor in self.operands[site].items():
            index = old if order is None else order.index(old)
            self.graph.set_input(self.made[site.node], index, self._stored(tensor, self.forms[site]))

    def _replace_other_results(self, site: Site) -> None:
        """Results that have no layout, such as a mean over all dims that differ."""
        new = self.made[site.node]
        for index, old in enumerate(list(site.node.outputs[: len(new.outputs)])):
            if index not in site.placed.results and old.name and old.uses:
                self.graph.replace_value(old, new.outputs[index])

    def _check(self, site: Site) -> None:
        """What is known of the results must be what was known of the old ones, transposed."""
        for index, (old, new) in enumerate(zip(site.node.outputs, self.made[site.node].outputs, strict=False)):
            perm = site.placed.results.get(index)
            if not old.name or old.dims is None or new.dims is None:
                continue
            wanted = permuted(old.dims, perm) if perm is not None else list(old.dims)
            if len(wanted) != len(new.dims) or any(map(_contradict, wanted, new.dims)):
                raise Refused(f"{site.node.op} '{site.node.label()}' would give other dims")

    # -- tensors ---------------------------------------------------------------------------------------------------

    def _note_stored(self, tensor: Tensor) -> None:
        """Where a tensor is in the form that its producer gives, and in the other one where the model has that."""
        producer, form = tensor.producer, tensor.members[tensor.root]
        if producer in self.changed:
            assert producer is not None
            new = self.made[producer.node]
            self.stored[tensor, 1 - form] = new.outputs[list(producer.node.outputs).index(tensor.root)]
            return
        self.stored[tensor, form] = tensor.root
        for node in tensor.transposes:
            if node.inputs[0] is tensor.root:
                self.stored[tensor, 1 - form] = node.outputs[0]
                self.remaining.append(node)
                break

    def _stored(self, tensor: Tensor, form: int) -> Value:
        """The value that holds a tensor in a form; where there is none yet, a Transpose makes it."""
        found = self.stored.get((tensor, form))
        if found is not None:
            return found
        base = self.stored[tensor, 1 - form]
        before = base.producer.next if base.producer is not None and base.graph is self.graph else self.graph.head
        own = [node.origin for node in tensor.transposes]
        origin = Origin.merge(self.rule, own or [self.moved])
        value = self._transpose(base, tensor.perm_from(1 - form), before, origin)
        assert value.producer is not None
        self.remaining.append(value.producer)
        self.stored[tensor, form] = value
        return value

    def _redirect(self, tensor: Tensor, member: Value, form: int) -> None:
        """Let whoever reads a value, and is not made anew, read the one that holds it now."""
        if member is self.stored.get((tensor, form)) or not any(map(self._stays, member.uses)):
            return
        new = self._stored(tensor, form)
        if member.producer is None or member.graph is not self.graph:
            raise Refused(f"'{member.name}' can't be replaced")
        giver = new.producer
        self.graph.replace_value(member, new)
        if member.producer is giver and giver is not None:
            self.stored[tensor, form] = member  # it took the name of a graph output, and the place with it

    def _stays(self, use: tuple[Node | Graph, int]) -> bool:
        """Whether a use remains: not that of a Transpose within a tensor, nor of a node that is made anew on it."""
        user, _ = use
        if user.is_graph:
            return True
        site = self.region.sites.get(user)
        if site in self.changed:
            return False
        return not (user.op == "Transpose" and self._is_inside(user))

    def _is_inside(self, node: Node) -> bool:
        tensor = self.region.tensor_of.get(node.inputs[0])
        return tensor is not None and node in tensor.transposes


def _contradict(a: object, b: object) -> bool:
    return shapes.is_static((a, b)) and a != b
