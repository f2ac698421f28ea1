"""A region as a problem, and the reasons of its solution in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt.layout.mincut import solve
from onnx_opt.layout.perms import moves_nothing
from onnx_opt.layout.problem import FIXED, Problem, Weight

if TYPE_CHECKING:
    from onnx_opt.layout.region import Region, Site, Tensor
    from onnx_opt.layout.weigh import Weights

LEVELS = 3
"""Transposed bytes; then the number of nodes that move dims; then sites that are not in the preferred form."""


@dataclass(frozen=True)
class Choice:
    """The best forms of the sites of a region, and what they cost now and then."""

    forms: dict[Site, int]
    before: Weight
    after: Weight

    @property
    def is_better(self) -> bool:
        return self.after < self.before


def choose(region: Region, weights: Weights) -> Choice:
    """The forms with the fewest transposed bytes. Where several are equal, fewer nodes, then the channels first."""
    problem = Problem(LEVELS)
    numbers: dict[Site | None, int] = {}
    for site in region.sites.values():
        numbers[site] = problem.site(*_biases(site, region, weights))
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


def _biases(site: Site, region: Region, weights: Weights) -> tuple[Weight, Weight]:
    votes = region.channels_first
    preferred = votes.index(max(votes)) if votes[0] != votes[1] else site.form
    biases = [[0] * LEVELS, [0] * LEVELS]
    biases[1 - preferred][2] = 1
    for index, perm in site.placed.aligned.items():
        value = site.node.inputs[index]
        dims = (1,) * (len(perm) - len(value.dims or ())) + tuple(value.dims or ())
        biases[1 - site.form][0] += 0 if moves_nothing(perm, dims) else weights.bytes_of(value)
        biases[1 - site.form][1] += 1
    return tuple(biases[0]), tuple(biases[1])


def why_transposed(tensor: Tensor, region: Region, forms: dict[Site, int]) -> str:
    """Why a tensor is still transposed under a choice: who gives it in one form, and who wants the other."""

    def form(site: Site | None, fixed: int) -> int:
        return forms[site] if site is not None else fixed

    given = form(tensor.producer, tensor.members[tensor.root])
    source = tensor.root.producer
    giver = f"{source.op} '{source.label()}'" if source is not None else f"input '{tensor.root.name}'"
    for member, member_form in tensor.members.items():
        for user, _ in member.uses:
            if user in tensor.transposes:
                continue
            if user.is_graph or user.graph is not region.graph:
                if member_form != given:
                    what = f"graph output '{member.name}'" if user.is_graph else f"a subgraph that reads '{member.name}'"
                    return f"{giver} gives the other layout than {what} has"
                continue
            site = region.sites.get(user)  # type: ignore[call-overload]
            if form(site, member_form) != given:
                reason = region.fixed.get(user, "the rest of the region is cheaper so")  # type: ignore[call-overload]
                return f"{giver} gives the other layout than {user.op} '{user.label()}' wants: {reason}"  # type: ignore[union-attr]
    return f"{giver} is read in another order of the dims"
