"""A copy of a model that also measures its own inner values while it runs, and holds no more of them for it.

Every measured value leaves as a scalar. ONNX Runtime would postpone those reductions to the end of the run, and keep
each activation until then; so what reads a measured value reads it through a Reshape to its own shape, which copies
nothing and waits for the measurement: its shape operand is joined to the (empty) shapes of the measured scalars.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt import types
from onnx_opt.validate.source import Source

if TYPE_CHECKING:
    import onnx

    from onnx_opt.ir import Value

PREFIX = "onnx_opt.measured"
OLDEST_OPSET = 7
"""Before it, operators broadcast by attributes and cannot be measured with the nodes written here."""


class Probe:
    """A graph of `source`, node by node, with measurements: the main one, or a subgraph `depth` levels inside of it.
    Weights stay where they are."""

    depth = 0

    def __init__(self, source: Source) -> None:
        self.source = source
        self.model = source.skeleton()
        self.opset = next((o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), 0)
        self._constants: dict[bytes, str] = {}
        self._count = count(1)
        self._start(self.model.graph)

    def _start(self, proto: onnx.GraphProto) -> None:
        self.graph = proto
        self.originals = list(proto.node)
        self.nodes: list[onnx.NodeProto] = []
        self.measured: list[str] = []
        self._declared = {info.name for info in (*proto.value_info, *proto.output)}

    def inside(self, proto: onnx.GraphProto) -> Probe:
        """A probe of a subgraph. Its constants are initializers of the main graph, too."""
        inner = copy(self)
        inner._start(proto)
        inner.depth += 1
        return inner

    # -- writing nodes -------------------------------------------------------------------------------------------------

    def fresh(self) -> str:
        """A name of its own."""
        return f"{PREFIX}.{next(self._count)}"

    def add(self, op: str, *inputs: str, result: str = "", **attrs: Any) -> str:
        """Append a node of the standard domain; the name of its result."""
        from onnx import helper

        result = result or self.fresh()
        self.nodes.append(helper.make_node(op, list(inputs), [result], name=f"{result}.node", **attrs))
        return result

    def constant(self, values: Any) -> str:
        """The name of an initializer with these values, made once."""
        from onnx import numpy_helper

        array = np.asarray(values)
        key = array.dtype.char.encode() + repr(array.shape).encode() + array.tobytes()
        if key not in self._constants:
            self._constants[key] = name = self.fresh()
            self.model.graph.initializer.append(numpy_helper.from_array(array, name))
        return self._constants[key]

    def renamed_result(self, node: onnx.NodeProto, index: int, known: Value) -> str:
        """Give result `index` of a node, which is `known`, another name, and return that."""
        node.output[index] = self.fresh()
        self.declare(node.output[index], known)
        return node.output[index]

    def declare(self, name: str, known: Value) -> None:
        """State that a value has the type of `known`.

        Inference stops at a Reshape to a computed shape, and ONNX Runtime takes a time quadratic in the number of
        values of unknown size to plan their memory.
        """
        from onnx import ValueInfoProto

        if known.dims is not None and known.elem_type and name not in self._declared:
            kind = types.to_proto(types.TensorType(known.elem_type, known.dims))
            self.graph.value_info.append(ValueInfoProto(name=name, type=kind))

    # -- measuring -----------------------------------------------------------------------------------------------------

    def reduced(self, op: str, value: str, may_be_empty: bool) -> str:
        """A value reduced to a scalar. Where it may be empty it counts as one zero: a reduction over nothing fails."""
        if may_be_empty:
            flat = self.add("Reshape", value, self.constant(np.array([-1], np.int64)))
            value = self.add("Concat", flat, self.constant(np.zeros(1, np.float32)), axis=0)
        return self.add(op, value, keepdims=0)

    def keep(self, scalar: str) -> None:
        """Let a float scalar be part of the measured vector."""
        self.measured.append(self.add("Reshape", scalar, self.constant(np.array([1], np.int64))))

    def hand_over(self, value: str, known: Value, scalars: Iterable[str]) -> None:
        """Let the value `known` of the graph be `value`, but not before `scalars` are there."""
        shapes = [self.add("Shape", name) for name in (value, *scalars)]
        self.add("Reshape", value, self.add("Concat", *shapes, axis=0), result=known.name)
        self.declare(known.name, known)

    def close(self, result: str) -> None:
        """Let the graph have one more output, the last: the vector of everything kept, in order."""
        from onnx import TensorProto, helper

        if self.measured:
            self.add("Concat", *self.measured, result=result, axis=0)
        else:
            self.add("Identity", self.constant(np.zeros(0, np.float32)), result=result)
        self.graph.output.append(helper.make_tensor_value_info(result, TensorProto.FLOAT, [None]))
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)

    def finished(self) -> Source:
        """The instrumented model, of which the main graph is closed."""
        self.close(PREFIX)
        return self.source.with_proto(self.model)


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The subgraphs among a node's attributes, in the order of `Node.bodies`."""
    return [g for a in node.attribute for g in ([a.g] if a.HasField("g") else a.graphs)]


def may_be_empty(dims: Sequence[Any] | None) -> bool:
    """Whether a value of these dims may have no elements."""
    return dims is None or not all(isinstance(dim, int) and dim > 0 for dim in dims)
