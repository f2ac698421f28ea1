"""Evaluate a batch of nodes: numpy kernels first, ONNX Runtime for what is left, in turns until nothing moves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from onnx_opt import traits
from onnx_opt.evaluate import kernels
from onnx_opt.evaluate.arrays import Arrays, Known
from onnx_opt.evaluate.kernels import Declined

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value


@dataclass
class Evaluation:
    """What came of a batch.

    ``arrays``: the wanted values that were computed, C-contiguous; they may share memory with operands: do not write.
    ``declined``: the nodes that were not computed, each with the reason.
    """

    arrays: dict[Value, np.ndarray] = field(default_factory=dict)
    declined: dict[Node, str] = field(default_factory=dict)


def evaluate(
    nodes: Sequence[Node],
    wanted: Collection[Value] | None = None,
    known: Known = attrgetter("constant"),
    onnxruntime: bool = True,
) -> Evaluation:
    """Compute `nodes`, given in topological order, from operands that are constants or results of the batch.

    ``wanted``: the values to return; by default those that something outside of the batch, or a node of it that is
    declined, reads. ``known`` gives the array of a value or None. ``onnxruntime=False`` leaves only the numpy kernels.

    Never raises for what a node does: a node that can't be computed is declined, and so are those that depend on it.
    Sizes are not limited here: ask `result_bytes` before. Raises ModelError where the data of a constant can't be read.
    """
    from onnx_opt.evaluate.onnxruntime_engine import OnnxRuntimeEngine

    arrays = Arrays(nodes, wanted, known)
    engine = OnnxRuntimeEngine(arrays)
    outcome = Evaluation()
    reasons: dict[Node, str] = {}
    left = _only_foldable(nodes, outcome)
    with np.errstate(all="ignore"):
        while left:
            left = _run_kernels(left, arrays, reasons)
            if not left or not onnxruntime:
                break
            before = len(left)
            left = engine.run(left)
            if len(left) == before:
                break
    reasons.update(engine.reasons)
    outcome.declined.update((node, reasons.get(node, "an operand was not computed")) for node in left)
    outcome.arrays = arrays.wanted_arrays()
    for node in nodes:
        if any(value in arrays.wanted and value not in outcome.arrays for value in node.outputs):
            outcome.declined.setdefault(node, "a result is no tensor, or of a type that ONNX Runtime can't return")
    return outcome


def _only_foldable(nodes: Iterable[Node], outcome: Evaluation) -> list[Node]:
    """The nodes that may be computed ahead of time at all."""
    kept = []
    for node in nodes:
        if node.has_attribute_refs:
            outcome.declined[node] = "takes attributes from the call of its function"
        elif not traits.is_foldable(node):
            outcome.declined[node] = "not known to be a function of its operands alone"
        else:
            kept.append(node)
    return kept


def _run_kernels(nodes: Iterable[Node], arrays: Arrays, reasons: dict[Node, str]) -> list[Node]:
    """Compute what the numpy kernels can. Returns the nodes that are left; adds to `reasons` why a kernel declined."""
    left: list[Node] = []
    for node in nodes:
        operands = arrays.operands(node)
        if operands is None:
            left.append(node)
            continue
        try:
            kernel = kernels.find(node.domain, node.op, node.version)
            if kernel is None:
                raise Declined(f"no kernel for {node.op}")
            arrays.store(node, kernel(node, *operands))
        except Declined as reason:
            reasons[node] = str(reason)
            left.append(node)
        except Exception as error:  # operands that ONNX does not allow: numpy has many ways to say so
            reasons[node] = f"{type(error).__name__}: {error}"
            left.append(node)
    return left
