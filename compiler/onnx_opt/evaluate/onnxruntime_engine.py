"""Evaluate nodes with ONNX Runtime on the CPU, in waves: one session for up to 2,000 nodes.

One session for everything would take quadratic time, one session a node 0.2 ms each. Where a wave fails, the node that
the message names is taken out, or the wave is halved until the nodes at fault stand alone.

Some nodes are not handed over because the kernels stop the whole process instead of failing: integer division (the
smallest integer by -1), and some operators on tensors without elements.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from onnx import TensorProto

from onnx_opt import schemas, traits
from onnx_opt.evaluate import wave
from onnx_opt.evaluate.arrays import Arrays
from onnx_opt.ir.tensors import element_type

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

MAX_NODES = 2_000
MAX_FAILURES = 32
"""After so many failures of one operator in a batch, its other nodes are not tried."""

_HINTS = 3
"""How often the node that a message names is taken out before a wave is halved."""

_HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
_TRAPPING_KINDS = frozenset({TensorProto.UNDEFINED, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32}) | {
    TensorProto.INT64, TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
}  # fmt: skip


@cache
def is_installed() -> bool:
    """Whether the module `onnxruntime` can be imported."""
    return find_spec("onnxruntime") is not None


class OnnxRuntimeEngine:
    """Computes nodes of one batch and remembers what failed, so that nothing is tried twice.

    ``reasons``: why nodes were not computed.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.reasons: dict[Node, str] = {}
        self._arrays = arrays
        self._failures: Counter[str] = Counter()
        self._unsupported: set[tuple[Any, ...]] = set()

    def run(self, nodes: Sequence[Node]) -> list[Node]:
        """Compute what can be computed of `nodes`, given in topological order; returns those that are left."""
        if not is_installed():
            missing = "ONNX Runtime is not installed: pip install 'onnx-opt[gpu]' or 'onnx-opt[cpu]'"
            self.reasons.update(dict.fromkeys(nodes, missing))
            return list(nodes)
        able = [node for node in nodes if node not in self.reasons and self._is_able(node)]
        for part in _waves(able, self._arrays):
            self._run_wave(part)
        return [node for node in nodes if not self._arrays.is_done(node)]

    def _is_able(self, node: Node) -> bool:
        reason = _refusal(node, self._arrays)
        if reason:
            self.reasons[node] = reason
        return not reason

    def _run_wave(self, nodes: list[Node]) -> None:
        """Run the nodes in one session; where that fails, narrow it down to the nodes at fault."""
        work = [(nodes, _HINTS)]
        while work:
            part, hints = work.pop()
            part = _computable([node for node in part if not self._is_hopeless(node)], self._arrays)
            if not part:
                continue
            try:
                wave.run(part, self._arrays, {node.domain: runtime_version(node) for node in part})
                continue
            except Exception as error:
                message = _first_line(error)
            culprit = part[0] if len(part) == 1 else _named_node(message, part) if hints else None
            if culprit is None:
                middle = len(part) // 2
                work += [(part[middle:], _HINTS), (part[:middle], _HINTS)]
            else:
                self._note_failure(culprit, message)
                work.append(([node for node in part if node is not culprit], hints - 1))

    def _note_failure(self, node: Node, message: str) -> None:
        self.reasons[node] = f"ONNX Runtime: {message}"
        self._failures[node.op] += 1
        if "NOT_IMPLEMENTED" in message:
            self._unsupported.add(_signature(node, self._arrays))

    def _is_hopeless(self, node: Node) -> bool:
        """Whether nodes like this one failed already."""
        if self._failures[node.op] >= MAX_FAILURES:
            self.reasons[node] = f"ONNX Runtime failed on {MAX_FAILURES} nodes of this operator"
        elif self._unsupported and _signature(node, self._arrays) in self._unsupported:
            self.reasons[node] = "ONNX Runtime has no kernel for this operator and these types"
        else:
            return False
        return True


# -- which nodes, in which order ---------------------------------------------------------------------------------------


def _refusal(node: Node, arrays: Arrays) -> str:
    """Why a node is not handed to ONNX Runtime; '' if it is."""
    if node.subgraphs:
        return "carries subgraphs"
    if runtime_version(node) == 0:
        return f"ONNX Runtime knows no {node.op} of operator set {node.version} (it stops at {wave.newest()})"
    traps = traits.ask(node.domain, node.op, "overflow") == "traps"
    if traps and _elem_type(node.inputs[0], arrays) in _TRAPPING_KINDS:
        return "integer division that has no quotient would stop the process"
    if node.op == "Gather" and _elem_type(node.inputs[0], arrays) == TensorProto.STRING:
        return "ONNX Runtime copies only the first string of each block"
    if node.inputs and _is_empty(node.inputs[0], arrays):
        return "an operand has no elements"
    return ""


def runtime_version(node: Node) -> int:
    """The operator set version to run a node with: its own, or the newest that ONNX Runtime has if the operator did
    not change in between; 0 if it did."""
    version = node.version
    if node.domain or version <= wave.newest():
        return version
    return wave.newest() if 0 < schemas.since(node.op, "", version) <= wave.newest() else 0


def _elem_type(value: Value, arrays: Arrays) -> int:
    array = arrays.get(value)
    return element_type(array.dtype) if array is not None else value.elem_type


def _is_empty(value: Value, arrays: Arrays) -> bool:
    array = arrays.get(value)
    if array is not None:
        return array.size == 0
    dims = value.dims
    return dims is not None and any(dim == 0 for dim in dims)


def _waves(nodes: Iterable[Node], arrays: Arrays) -> Iterable[list[Node]]:
    """Group the nodes so that each group needs only earlier ones.

    ONNX Runtime computes half precision in single and keeps it so from node to node. Here every result is rounded as
    its type says: half-precision values pass between waves, never inside one.
    """
    levels: dict[Value, int] = {}
    groups: dict[tuple[int, int], list[Node]] = {}
    for node in nodes:
        level = max((levels[value] for value in node.inputs if value in levels), default=0)
        opsets = id(node.graph.opsets) if node.graph is not None else 0
        groups.setdefault((level, opsets), []).append(node)
        for value in node.outputs:
            levels[value] = level + _is_half(value, node, arrays)
    for key in sorted(groups, key=lambda key: key[0]):
        group = groups[key]
        for start in range(0, len(group), MAX_NODES):
            yield group[start : start + MAX_NODES]


def _is_half(value: Value, node: Node, arrays: Arrays) -> bool:
    """Whether a result has half precision; where its type is unknown, whether an operand has."""
    kinds = [value.elem_type] if value.elem_type else [_elem_type(operand, arrays) for operand in node.inputs]
    return any(kind in _HALF for kind in kinds)


# -- narrowing down ----------------------------------------------------------------------------------------------------


def _computable(nodes: Iterable[Node], arrays: Arrays) -> list[Node]:
    """The nodes whose operands are known or come from earlier nodes of the list."""
    produced: set[Value] = set()
    found = []
    for node in nodes:
        if all(not value.name or value in produced or arrays.get(value) is not None for value in node.inputs):
            produced.update(node.outputs)
            found.append(node)
    return found


def _signature(node: Node, arrays: Arrays) -> tuple[Any, ...]:
    """What decides whether there is a kernel: operator, version and types."""
    kinds = [_elem_type(value, arrays) for value in node.inputs] + [value.elem_type for value in node.outputs]
    return (node.domain, node.op, node.version, *kinds)


def _named_node(message: str, nodes: Sequence[Node]) -> Node | None:
    match = re.search(rf"\b{wave.NODE_NAME}(\d+)\b", message)
    return nodes[int(match[1])] if match and int(match[1]) < len(nodes) else None


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
