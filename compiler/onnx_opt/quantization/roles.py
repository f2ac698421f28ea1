"""The part that an operator takes in a quantized graph: rows of a table, declared as the trait `quantization`.

Runtimes make one integer kernel of an operator between DequantizeLinear and QuantizeLinear. Which operators have such a
kernel, which operands it reads quantized, and what it takes into itself (the activation behind a convolution) is what
the rows say; `onnx_opt.quantization.placement` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx_opt import traits

if TYPE_CHECKING:
    from onnx_opt.ir import Node

TRAIT = "quantization"
traits.define(TRAIT, "the part that the operator takes in a quantized graph (a role of onnx_opt.quantization.roles)")

Problem = Callable[["Node"], str]


def fine(node: Node) -> str:
    """No problem."""
    return ""


@dataclass(frozen=True)
class Layer:
    """A product of operand `data` and the constant operand `weight`. `channels(node, rank)` is the axis of the weight
    along which each output channel has a scale of its own (None: there is none), `summed(node, rank)` the one that the
    product sums over; `bias` is the operand that is added up in the integer kernel. `packs`: kernels take weights of
    four bits. `floats`: of the kernels that give integers, some give FP32 as well."""

    channels: Callable[[Node, int], int | None]
    summed: Callable[[Node, int], int]
    data: int = 0
    weight: int = 1
    bias: int | None = 2
    packs: bool = False
    floats: bool = False
    problem: Problem = fine


@dataclass(frozen=True)
class Sum:
    """An elementwise sum of two activations, as at the end of a residual block."""


@dataclass(frozen=True)
class Pool:
    """Averages operand 0, in integers where what computes that does so too."""

    problem: Problem = fine


@dataclass(frozen=True)
class Move:
    """Gives elements of `operands` (None: of all) as they are: before and after there is one scale."""

    operands: tuple[int, ...] | None = (0,)
    problem: Problem = fine

    def moved(self, node: Node) -> list[int]:
        """The operands of which the results consist."""
        indices = range(len(node.inputs)) if self.operands is None else self.operands
        return [index for index in indices if node.input(index) is not None]


@dataclass(frozen=True)
class Activation:
    """Elementwise on operand 0, computed by the kernel of what stands before it. `saturates`: it only cuts values off,
    which the range of its result does by itself, so that every integer kernel can compute it."""

    saturates: bool = False


Role = Layer | Sum | Pool | Move | Activation


def role_of(node: Node) -> Role | None:
    """The row for a node's operator."""
    found: Role | None = traits.ask(node.domain, node.op, TRAIT)
    return found
