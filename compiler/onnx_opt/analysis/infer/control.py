"""If, Loop and Scan: what is known of their results from their bodies, and of their bodies' inputs from them.

A body of a Loop or Scan runs many times, so a symbol that the analysis made inside it means something else each time:
only ints and what is made of the sizes of the model's inputs passes its border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import TensorProto

from onnx_opt.analysis.infer.registry import NodeView, Unknown, axis_of, infer
from onnx_opt.analysis.merge import join, without_dims
from onnx_opt.types import OptionalType, SequenceType, TensorType, Type

if TYPE_CHECKING:
    from onnx_opt.analysis.facts import Facts
    from onnx_opt.ir import Graph, Node, Value

_MAX_IDENTITIES = 8
BOOL, INT64 = int(TensorProto.BOOL), int(TensorProto.INT64)


def _body(node: Node, name: str) -> Graph:
    for attribute, _, graph in node.bodies:
        if attribute == name:
            return graph
    raise Unknown


@infer("If", elem=-1)
def if_(n: NodeView) -> list[Type | None]:
    """What holds of both branches, or of the one that a known condition takes."""
    found = [[n.facts.type_or_need(value) for value in branch.outputs] for branch in branches_taken(n)]
    if len(found) == 1:
        return found[0]
    if len(found[0]) != len(found[1]):
        raise Unknown
    return [join(a, b, n.shapes) for a, b in zip(*found, strict=True)]


def branches_taken(n: NodeView) -> list[Graph]:
    """Both branches of an If, or the one that a known condition takes."""
    branches = [_body(n.node, "then_branch"), _body(n.node, "else_branch")]
    condition = n.scalar(0)
    if not isinstance(condition, int):
        return branches
    return branches[:1] if condition else branches[1:]


@infer("Loop", elem=-1)
def loop(n: NodeView) -> list[Type | None]:
    """The carried values after the last iteration (or before the first), then those collected from each one."""
    body = _body(n.node, "body")
    carried = len(n.node.inputs) - 2
    if carried < 0 or len(body.outputs) < carried + 1:
        raise Unknown
    types = [n.facts.type_or_need(value) for value in body.outputs]
    results: list[Type | None] = []
    for index in range(carried):
        before, after = n.type(index + 2), _outside(n, types[index + 1])
        results.append(before if is_invariant(body, index + 2, index + 1) else join(before, after, n.shapes))
    count = n.fresh()
    return results + [_stacked(n, kind, count, 0) for kind in types[carried + 1 :]]


@infer("Scan", elem=-1)
def scan(n: NodeView) -> list[Type | None]:
    """The states after the last step, then what was collected from each step along the scanned axis."""
    if n.version < 9:
        raise Unknown
    body = _body(n.node, "body")
    states = len(n.node.inputs) - int(n.attr("num_scan_inputs", 0))
    types = [n.facts.type_or_need(value) for value in body.outputs]
    if not 0 <= states <= len(types):
        raise Unknown
    results: list[Type | None] = []
    for index in range(states):
        before, after = n.type(index), _outside(n, types[index])
        results.append(before if is_invariant(body, index, index) else join(before, after, n.shapes))
    axes = n.ints("scan_output_axes") or [0] * (len(types) - states)
    count = _scan_length(n, states)
    return results + [_stacked(n, kind, count, axis) for kind, axis in zip(types[states:], axes, strict=True)]


def _scan_length(n: NodeView, states: int) -> Any:
    dims = n.dims(states)
    if not dims:
        return n.fresh()
    axes = n.ints("scan_input_axes") or [0]
    return dims[axis_of(axes[0], len(dims))]


def _stacked(n: NodeView, kind: Type | None, count: Any, axis: int) -> Type | None:
    kind = _outside(n, kind)
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind if isinstance(kind, TensorType) else None
    at = axis_of(axis, len(kind.shape) + 1)
    return kind.with_shape((*kind.shape[:at], count, *kind.shape[at:]))


def _outside(n: NodeView, kind: Type | None) -> Type | None:
    """A type as it holds outside of the body: without the symbols that mean something else in each iteration."""
    if isinstance(kind, TensorType):
        if kind.shape is None:
            return kind
        return kind.with_shape([n.fresh() if n.shapes.is_made(dim) else dim for dim in kind.shape])
    if isinstance(kind, SequenceType):
        return SequenceType(_outside(n, kind.elem))
    return OptionalType(_outside(n, kind.elem)) if isinstance(kind, OptionalType) else kind


def is_invariant(body: Graph, inner: int, outer: int) -> bool:
    """Whether a body hands its input `inner` on unchanged as output `outer`."""
    value: Value | None = body.outputs[outer]
    for _ in range(_MAX_IDENTITIES):
        node = value.producer if value is not None else None
        if node is None or node.op != "Identity" or node.domain:
            break
        value = node.input(0)
    return value is body.inputs[inner]


# -- the inputs of bodies ----------------------------------------------------------------------------------------------


def body_input(facts: Facts, owner: Node, body: Graph, index: int) -> Type | None:
    """The type of a body's input in every iteration. Raises `Needed` for the operands that it comes from."""
    if owner.op == "Loop" and not owner.domain:
        return _loop_input(facts, owner, body, index)
    if owner.op == "Scan" and not owner.domain and owner.version >= 9:
        return _scan_input(facts, owner, body, index)
    return without_dims(body.inputs[index].declared)


def _loop_input(facts: Facts, owner: Node, body: Graph, index: int) -> Type | None:
    if index < 2:  # the iteration number and the condition, which may be scalars or vectors of one
        shape = getattr(body.inputs[index].declared, "shape", None)
        return TensorType(INT64 if index == 0 else BOOL, None if shape is None or len(shape) > 1 else (1,) * len(shape))
    operand = owner.input(index)
    if operand is None:
        return None
    kind = facts.type_or_need(operand)
    invariant = index - 1 < len(body.outputs) and is_invariant(body, index, index - 1)
    return kind if invariant else without_dims(kind)


def _scan_input(facts: Facts, owner: Node, body: Graph, index: int) -> Type | None:
    operand = owner.input(index)
    if operand is None:
        return None
    kind = facts.type_or_need(operand)
    states = len(owner.inputs) - int(owner.attrs.get("num_scan_inputs") or 0)
    if not 0 <= states <= len(owner.inputs):
        return None
    if index < states:
        return kind if index < len(body.outputs) and is_invariant(body, index, index) else without_dims(kind)
    if not isinstance(kind, TensorType) or not kind.shape:
        return without_dims(kind)
    axes = owner.attrs.get("scan_input_axes") or [0] * (len(owner.inputs) - states)
    at = axes[index - states]
    if not -len(kind.shape) <= at < len(kind.shape):
        return without_dims(kind)
    at %= len(kind.shape)
    return kind.with_shape((*kind.shape[:at], *kind.shape[at + 1 :]))
