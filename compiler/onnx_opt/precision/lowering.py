"""The lowering of a graph: what it is asked, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node
    from onnx_opt.passes import PassContext


@dataclass(frozen=True)
class Rounding:
    """What became of the elements of one constant.

    `count` elements in all; `overflows` finite ones beyond the largest half number; `underflows` non-zero ones that
    became 0; `worst` the largest relative error of an element that did neither; `error` the relative error of the
    whole, ||x - half(x)|| / ||x|| (Euclidean norm, 0 where x is 0, inf where an element overflows).
    """

    name: str
    count: int
    overflows: int
    underflows: int
    worst: float
    error: float


@dataclass
class Lowering:
    """What `lower` did."""

    elem_type: int
    lowered: list[Node] = field(default_factory=list)
    """The nodes that compute in half precision now."""
    kept: dict[Node, str] = field(default_factory=dict)
    """The nodes with FP32 operands or results that could have been lowered, or lack the type, and why they were not."""
    casts: list[Node] = field(default_factory=list)
    """The Cast nodes that were inserted."""
    cast_bytes: int = 0
    """About how many bytes they read and write in one run."""
    constants: list[Rounding] = field(default_factory=list)
    """Each constant that was converted."""


def static_reasons(graph: Graph, context: PassContext, elem_type: int) -> dict[Node, str]:
    """The nodes of the model that `lower` would keep in FP32 without being told, and why. Changes nothing."""
    raise NotImplementedError


def lower(
    graph: Graph, context: PassContext, elem_type: int, *, keep: Mapping[Node, str] | None = None, keep_io: bool = True
) -> Lowering:
    """Let every node compute in `elem_type` (`TensorProto.FLOAT16` or `BFLOAT16`) that may, but those of `keep`.

    `keep` maps nodes of the main graph, its subgraphs and local functions to the reason that the report gives. With
    `keep_io` the inputs and outputs of the model keep their types, else they become half precision as well; names
    stay either way. Each lowered node is one rewrite of `context` (rule `lower`), so that validation can take it back.
    """
    raise NotImplementedError
