"""A model while it is made: nodes, constants and graph inputs, each value with what it holds at the present sizes.

ONNX Runtime computes every node as it is added, so whoever chooses the next operand knows dims, dtype and contents of
the others, and a node that ONNX Runtime rejects is noticed where it is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnx_opt.harness.draw import Dims, Filler
from onnx_opt.harness.runtime import Refused, run_model

IR_VERSION = 10
CONDITION, BRANCHES = "condition", ("then", "else")
NODE_LIMIT = 300
"""Nodes that are tried for one instance before it is given up."""


class Unfit(Exception):
    """The choices made so far do not go together; another seed may do."""


class Exhausted(Unfit):
    """An instance took too many attempts."""


@dataclass(frozen=True, eq=False)
class Operand:
    """A value of the model: its name, and what it holds."""

    name: str
    array: np.ndarray

    @property
    def dims(self) -> Dims:
        return tuple(self.array.shape)

    @property
    def elem_type(self) -> int:
        return elem_type_of(self.array)


@dataclass
class Sketch:
    """The parts of a model in the making."""

    version: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    fillers: dict[str, Filler] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    overridable: set[str] = field(default_factory=set)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """What every value holds."""
    as_nodes: set[str] = field(default_factory=set)
    """Constants that are results of Constant nodes instead of initializers."""
    branch_from: int | None = None
    """The first of the nodes that run in the branches of an If; those before it are outside."""
    counter: list[int] = field(default_factory=lambda: [0])

    def snapshot(self) -> Sketch:
        """A copy that later additions leave alone; the counter of names and attempts goes on."""
        other = copy(self)
        for name, part in vars(self).items():
            if isinstance(part, list | dict | set) and name != "counter":
                setattr(other, name, copy(part))
        return other

    def restore(self, earlier: Sketch) -> None:
        """Back to a snapshot."""
        vars(self).update(vars(earlier.snapshot()))

    def fresh(self, hint: str) -> str:
        self.counter[0] += 1
        return f"{hint}_{self.counter[0]}"

    def constant(self, array: np.ndarray, hint: str = "c", as_node: bool = False) -> Operand:
        name = self.fresh(hint)
        self.constants[name] = self.arrays[name] = np.asarray(array)
        if as_node:
            self.as_nodes.add(name)
        return Operand(name, self.constants[name])

    def input(self, array: np.ndarray, filler: Filler, hint: str = "x") -> Operand:
        name = self.fresh(hint)
        self.inputs[name] = self.arrays[name] = np.asarray(array)
        self.fillers[name] = filler
        return Operand(name, self.inputs[name])

    def node(
        self,
        op: str,
        operands: Sequence[Operand | None],
        attrs: Mapping[str, Any] | None = None,
        domain: str = "",
        outputs: int = 1,
    ) -> list[Operand]:
        """Add a node; returns its results. Raises `Unfit` where ONNX Runtime does not compute it."""
        if self.counter[0] > NODE_LIMIT:
            raise Exhausted("too many attempts")
        operands = list(operands)
        while operands and operands[-1] is None:
            operands.pop()
        names = [self.fresh(op.lower()) for _ in range(outputs)]
        proto = helper.make_node(
            op, [o.name if o else "" for o in operands], names, name=f"{op}_{names[0]}", domain=domain, **(attrs or {})
        )
        arrays = self._compute(proto, [o for o in operands if o])
        self.nodes.append(proto)
        self.arrays.update(zip(names, arrays, strict=True))
        return [Operand(name, array) for name, array in zip(names, arrays, strict=True)]

    def recompute(self, proto: onnx.NodeProto) -> None:
        """Note what a node computes that was changed. Raises `Unfit` where ONNX Runtime does not compute it."""
        operands = [Operand(name, self.arrays[name]) for name in proto.input if name]
        self.arrays.update(zip(proto.output, self._compute(proto, operands), strict=True))

    def _compute(self, proto: onnx.NodeProto, operands: list[Operand]) -> list[np.ndarray]:
        given = {o.name: o.array for o in operands}
        constants = {name: array for name, array in given.items() if name in self.constants}
        feed = {name: array for name, array in given.items() if name not in constants}
        single = assemble([proto], self.version, feed, constants, proto.output)
        results = run(single, [feed])[0]
        if not all(isinstance(result, np.ndarray) and result.dtype != object for result in results):
            raise Unfit(f"{proto.op_type} gives no numbers")
        return results

    def model(self) -> onnx.ModelProto:
        """The model, its inputs of known rank and unknown sizes, its outputs of any type."""
        constants = {name: array for name, array in self.constants.items() if name not in self.as_nodes}
        made = [
            helper.make_node("Constant", [], [name], name=f"Constant_{name}", value=numpy_helper.from_array(array))
            for name, array in self.constants.items()
            if name in self.as_nodes
        ]
        feed = self.inputs | {name: self.constants[name] for name in self.constants if name in self.overridable}
        nodes = self.nodes if self.branch_from is None else self._branched(self.branch_from)
        return assemble([*made, *nodes], self.version, feed, constants, self.outputs)

    def _branched(self, first: int) -> list[onnx.NodeProto]:
        """The nodes from `first` on in an If, both of whose branches are the same."""
        outside, inside = self.nodes[:first], self.nodes[first:]
        names = {name for node in inside for name in node.output}
        results = [name for name in self.outputs if name in names]
        graphs = {}
        for branch in BRANCHES:
            renamed = {name: f"{name}_{branch}" for name in names}
            nodes = [_renamed(node, renamed, f"_{branch}") for node in inside]
            infos = [
                helper.make_tensor_value_info(renamed[name], elem_type_of(self.arrays[name]), None) for name in results
            ]
            graphs[f"{branch}_branch"] = helper.make_graph(nodes, branch, [], infos)
        return [*outside, helper.make_node("If", [CONDITION], results, name="branches", **graphs)]


def assemble(
    nodes: Sequence[onnx.NodeProto],
    version: int,
    feed: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray],
    outputs: Sequence[str],
) -> onnx.ModelProto:
    """A model of these parts; sizes and results have no declared type."""
    infos = [helper.make_tensor_value_info(name, elem_type_of(a), [None] * a.ndim) for name, a in feed.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        infos,
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", version)]
    imports += [helper.make_opsetid(domain, 1) for domain in sorted({n.domain for n in nodes} - {"", "ai.onnx"})]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def run(model: onnx.ModelProto, feeds: Sequence[Mapping[str, np.ndarray]]) -> list[list[Any]]:
    """What ONNX Runtime computes for each feed. Raises `Unfit` where it rejects the model or a feed."""
    try:
        return run_model(model.SerializeToString(), feeds)
    except Refused as error:
        raise Unfit(f"ONNX Runtime: {error}") from error


def _renamed(node: onnx.NodeProto, names: Mapping[str, str], suffix: str) -> onnx.NodeProto:
    other = onnx.NodeProto()
    other.CopyFrom(node)
    other.name += suffix
    other.input[:] = [names.get(name, name) for name in node.input]
    other.output[:] = [names.get(name, name) for name in node.output]
    return other


def elem_type_of(array: np.ndarray) -> int:
    """The `onnx.TensorProto` element type of an array."""
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))
