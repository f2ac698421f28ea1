"""A region as a problem, and the reasons of its solution in words."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt.layout.behaviour import Retransposing
from onnx_opt.layout.mincut import solve
from onnx_opt.layout.perms import moves_nothing
from onnx_opt.layout.problem import FIXED, Problem, Weight

if TYPE_CHECKING:
    from onnx_opt.layout.region import Region, Site, Tensor
    from onnx_opt.layout.weigh import Weights
    from onnx_opt.target import Layout

LEVELS = 3
"""Transposed bytes; then the number of nodes that move dims; then sites that are not in their preferred form.

That is the one in which the operator is fastest, or else that of what feeds it: so a Transpose stands after the scales,
biases and activations that a runtime, or another pass, fuses with the Conv or MatMul before them. What comes straight
from an input is best in the layout of the convolutions it goes to.
"""

LOOK_BACK = 100
"""How many tensors a reason is looked for in."""


@dataclass(frozen=True)
class Choice:
    """The best forms of the sites of a region, and what they cost now and then."""

    forms: dict[Site, int]
    before: Weight
    after: Weight

    @property
    def is_cheaper(self) -> bool:
        """Whether fewer bytes are transposed, or fewer nodes do it."""
        return self.after[:2] < self.before[:2]

    @property
    def is_preferred(self) -> bool:
        """Whether more operators have the form that is best for them, at no higher cost."""
        return self.after < self.before


def choose(region: Region, weights: Weights, prefer: Layout = "nchw") -> Choice:
    """The forms with the fewest transposed bytes. Where several are equal, fewer nodes, then what is preferred."""
    problem = Problem(LEVELS)
    numbers: dict[Site | None, int] = {}
    preferred = _preferred_forms(region, prefer)
    for site in region.sites.values():
        numbers[site] = problem.site(*_biases(site, preferred[site], weights))
    for tensor in region.tensors:
        root = FIXED[tensor.members[tensor.root]]
        producer = numbers[tensor.producer] if tensor.producer is not None else root
        readers = [numbers[site] if site is not None else FIXED[form] for site, form in tensor.readers]
        problem.edge(producer, readers, weight_of(tensor, weights))
    found = solve(problem)
    now = [site.form for site in region.sites.values()]
    forms = dict(zip(region.sites.values(), found, strict=True))
    return Choice(forms, problem.cost(now), problem.cost(found))


def weight_of(tensor: Tensor, weights: Weights) -> Weight:
    """What it costs to have a tensor in both forms. Where only dims of size 1 move, no bytes do."""
    root = tensor.root
    if moves_nothing(tensor.perm_from(tensor.members[root]), root.dims or ()):
        return (0, 1, 0)
    return (weights.bytes_of(root), 1, 0)


def _preferred_forms(region: Region, prefer: Layout) -> dict[Site, int]:
    """For each site the form in which it is fastest, or that of the first thing before it that has one; channels last,
    if that is preferred, for all that do not say what they want themselves."""
    wanted = region.preferred_form
    if prefer == "nhwc" and wanted is not None:
        fastest = {site: site.behaviour.prefers(site.node, site.placed) for site in region.sites.values()}
        return {site: 1 - wanted if other is None else site.form ^ other for site, other in fastest.items()}
    found: dict[Site, int] = {}
    for site in region.sites.values():
        path: dict[Site, None] = {}
        here: Site | None = site
        form = site.form if wanted is None else wanted
        while here is not None and here not in path:
            if here in found:
                form = found[here]
                break
            path[here] = None
            own = here.behaviour.prefers(here.node, here.placed)
            if own is not None:
                form = 1 - here.form if own else here.form
                break
            tensors = {region.tensor_of[here.node.inputs[index]] for index in here.placed.operands}
            if len(tensors) > 1:
                form = here.form  # what joins several things is best left as it is
            if len(tensors) != 1:
                break
            tensor = tensors.pop()
            if tensor.producer is None and tensor.root.producer is not None:
                form = tensor.members[tensor.root]
            here = tensor.producer
        found.update(dict.fromkeys(path, form))
    return found


def _biases(site: Site, preferred: int, weights: Weights) -> tuple[Weight, Weight]:
    biases = [[0] * LEVELS, [0] * LEVELS]
    biases[1 - preferred][2] = 1
    if isinstance(site.behaviour, Retransposing):
        size = weights.bytes_of(site.node.inputs[0])
        biases[site.form][0] += size * site.behaviour.moves(site.node)
        biases[1 - site.form][0] += size * site.behaviour.moves(site.node, site.placed)
    for value in site.behaviour.repacks(site.node, site.placed):
        biases[1 - site.form][0] += weights.bytes_of(value)
    for index, perm in site.placed.aligned.items():
        value = site.node.inputs[index]
        dims = (1,) * (len(perm) - len(value.dims or ())) + tuple(value.dims or ())
        biases[1 - site.form][0] += 0 if moves_nothing(perm, dims) else weights.bytes_of(value)
        biases[1 - site.form][1] += 1
    return tuple(biases[0]), tuple(biases[1])


def why_transposed(tensor: Tensor, region: Region, forms: dict[Site, int]) -> str:
    """Why a tensor is needed in both forms where sites have `forms`: who gives it in one, and who wants the other."""
    source = tensor.root.producer
    giver = f"{source.op} '{source.label()}'" if source is not None else f"input '{tensor.root.name}'"
    giver += _bound_behind(tensor, region)
    given = _form(tensor.producer, tensor.members[tensor.root], forms)
    for member, form in tensor.members.items():
        for user, _ in member.uses:
            if user.is_graph or user.graph is not region.graph:
                if form != given:
                    kind = "graph output" if user.is_graph else "a subgraph's"
                    return f"{giver} gives another layout than {kind} '{member.name}' has"
            elif user not in tensor.transposes and _form(region.sites.get(user), form, forms) != given:
                reason = region.fixed.get(user, "the rest of its region is cheapest so")
                return f"{giver} gives another layout than {user.op} '{user.label()}' wants: {reason}"
    return f"{giver} is read in another order of its dims"


def _bound_behind(tensor: Tensor, region: Region) -> str:
    """The first operator before a tensor that is bound to its layout, and why, in parentheses."""
    queue, seen = deque([tensor]), {tensor}
    while queue and len(seen) <= LOOK_BACK:
        here = queue.popleft()
        node = here.root.producer
        if node is not None and node in region.fixed:
            who = "" if here is tensor else f"like {node.op} '{node.label()}': "
            return f" ({who}{region.fixed[node]})"
        site = here.producer
        before = [region.tensor_of[site.node.inputs[index]] for index in site.placed.operands] if site else []
        queue.extend(each for each in before if each not in seen)
        seen.update(before)
    return ""


def _form(site: Site | None, fixed: int, forms: dict[Site, int]) -> int:
    return forms[site] if site is not None else fixed
