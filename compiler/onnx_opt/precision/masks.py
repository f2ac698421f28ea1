"""Masks: huge negative numbers that hide elements from a softmax, and numbers of a half format that do the same.

A mask such as -1e9 or the lowest FP32 number overflows FP16. The lowest half number hides as well: exp(mask - max) is 0
beside any score of common size. Rows that are hidden altogether are the difficulty. In FP32 they come out uniform,
whatever the scores, since a mask that is added absorbs them; minus infinity would make them NaN. The lowest half number
absorbs what is below half a unit in its last place (16 for FP16), so that they stay uniform where the scores that were
measured are smaller than that, and where everything from the mask to the softmax runs in half precision.

A kernel that adds in FP32 and does not round before its softmax absorbs less; there, rows that are hidden altogether
follow their scores. The proof in ONNX Runtime, which does so on processors, takes the substitute back where the samples
have such rows. A mask that is selected instead of added (Where) means the same in any kernel.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from onnx_opt import traits, types
from onnx_opt.precision.constraints import ADDS, CARRIES, ENDS, MASK, SCALES
from onnx_opt.precision.formats import FORMATS, HEADROOM, Format
from onnx_opt.precision.groups import is_wide
from onnx_opt.precision.problem import is_constant

if TYPE_CHECKING:
    from onnx_opt.ir import Graph, Node, Value
    from onnx_opt.precision.static import Constants

LARGEST_SWITCH = 1.0
"""A mask may be multiplied by whole numbers up to that: by 0 where it shows, by 1 where it hides."""

FP32_ERROR = 2.0**-24


@dataclass
class Mask:
    """Values that share masked elements, and the nodes that read them or compute them."""

    constants: list[Value] = field(default_factory=list)
    values: dict[Value, None] = field(default_factory=dict)
    nodes: dict[Node, None] = field(default_factory=dict)
    problem: str = ""
    """Why no half number has the same meaning."""

    def carriers(self) -> list[Node]:
        """The nodes that hand the mask on. The softmaxes at its ends read the same in FP32."""
        return [node for node in self.nodes if _role(node) not in ("", ENDS)]

    def way(self) -> list[Node]:
        """The nodes from the constants to the softmaxes, these included."""
        return [node for node in self.nodes if _role(node)]


def find_masks(graphs: Collection[Graph], constants: Constants, magnitudes: Mapping[str, float]) -> list[Mask]:
    """The masks of a model that the half type of `constants` cannot hold. `magnitudes` are the largest of values by
    name, as measured."""
    form = FORMATS[constants.elem_type]
    overflowing = [value for value in _constants(graphs) if constants.rounding(value).overflows]
    least = {value: lowest for value in overflowing if (lowest := _least_mask(value, form)) is not None}
    masked = _spread(least)
    masks = list(_connected(masked))
    for mask in masks:
        mask.constants = [value for value in mask.values if value in least]
        judge = _Judge(mask, form, magnitudes, max(least[value] for value in mask.constants))
        mask.problem = next(filter(None, map(judge.problem, mask.nodes)), "") or judge.outputs()
    return masks


# -- where masks are ---------------------------------------------------------------------------------------------------


def _constants(graphs: Collection[Graph]) -> Iterator[Value]:
    """The constants that an operator reads which does something to a mask."""
    for graph in graphs:
        made = [node.outputs[0] for node in graph if node.op == "Constant" and not node.domain]
        for value in (*graph.constants, *made):
            if is_wide(value) and is_constant(value) and any(_role(user) for user in value.users):
                yield value


def _least_mask(value: Value, form: Format) -> float | None:
    """The masked element of a constant that is the nearest to 0; None where it has no such elements, or others that
    the format does not hold."""
    array = value.constant
    most = form.largest / HEADROOM
    if array is None or not array.size or float(array.min()) >= -form.largest or float(array.max()) > most:
        return None
    hidden = array < -most
    nearest = float(array[hidden].max())
    return nearest if np.isfinite(array).all() and nearest < -form.largest else None


def _role(node: Node) -> str:
    role: str = traits.ask(node.domain, node.op, MASK, "")
    return role


def _spread(starts: Collection[Value]) -> set[Value]:
    """The values that may hold masked elements."""
    found: set[Value] = set()
    pending = list(starts)
    while pending:
        value = pending.pop()
        if value not in found:
            found.add(value)
            for user in value.users:
                if _role(user) not in ("", ENDS):
                    pending += [result for result in user.outputs if result.name and is_wide(result)]
    return found


def _connected(masked: set[Value]) -> Iterator[Mask]:
    """The values that are connected through nodes, together."""
    seen: set[Value] = set()
    for start in sorted(masked, key=lambda value: value.name):
        if start in seen:
            continue
        mask, pending = Mask(), [start]
        while pending:
            value = pending.pop()
            if value in mask.values:
                continue
            mask.values[value] = None
            for node in (*value.users, *([value.producer] if value.producer is not None else [])):
                if node not in mask.nodes and node.op != "Constant":
                    mask.nodes[node] = None
                    pending += [other for other in (*node.inputs, *node.outputs) if other in masked]
        seen |= mask.values.keys()
        yield mask


# -- whether a half number has the same meaning ------------------------------------------------------------------------


@dataclass
class _Judge:
    mask: Mask
    form: Format
    magnitudes: Mapping[str, float]
    nearest: float

    def problem(self, node: Node) -> str:
        """Why a node does not treat the lowest half number as it does the mask; '' where it does."""
        role = _role(node)
        if not role:
            return f"no other number means the same to '{node.label()}' ({node.op})"
        others = [value for value in node.inputs if value.name and is_wide(value) and value not in self.mask.values]
        masked = [value for value in node.inputs if value in self.mask.values]
        if role == SCALES:
            return self._scaled(node, masked, others)
        if role == ADDS and len(masked) > 1:
            return f"'{node.label()}' adds two masks"
        limit = self._absorbed() if role == ADDS else self.form.largest
        return next(filter(None, (self._too_large(value, limit) for value in others)), "")

    def outputs(self) -> str:
        """That a masked value is a result of its graph."""
        shown = next((v for v in self.mask.values if any(user.is_graph for user, _ in v.uses)), None)
        return f"'{shown.name}' shows a mask" if shown is not None else ""

    def _absorbed(self) -> float:
        """What the lowest half number absorbs when it is added, and the mask in FP32 as well."""
        return min(_half_unit(self.form.largest, self.form.error), _half_unit(-self.nearest, FP32_ERROR))

    def _too_large(self, value: Value, limit: float) -> str:
        array = value.constant if is_constant(value) else None
        known = float(np.abs(array).max(initial=0.0)) if array is not None else self.magnitudes.get(value.name)
        if known is None:
            return f"how large '{value.name}' becomes beside the mask was not measured"
        if known * HEADROOM > limit:
            return f"'{value.name}' beside the mask reaches {known:.3g}, more than {limit / HEADROOM:g}"
        return ""

    def _scaled(self, node: Node, masked: list[Value], others: list[Value]) -> str:
        if len(masked) != 1 or masked[0] not in self.mask.constants or len(others) != 1:
            return f"'{node.label()}' scales a mask"
        size = self.magnitudes.get(others[0].name, math.inf)
        if size > LARGEST_SWITCH or not is_whole(others[0]):
            return f"'{others[0].name}' by which the mask is multiplied is not known to be 0 or 1"
        return ""


def _half_unit(magnitude: float, error: float) -> float:
    """Half a unit in the last place of a number, where `error` is the relative rounding error."""
    return float(2.0 ** math.floor(math.log2(magnitude)) * error)


def is_whole(value: Value) -> bool:
    """Whether a value is computed from integers and booleans so that it is whole itself."""
    seen: set[Value] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        if current in seen or not current.name:
            continue
        seen.add(current)
        array, node = current.constant, current.producer
        if array is not None:
            if not (np.isfinite(array).all() and (array == np.round(array)).all()):
                return False
        elif node is None or node.domain:
            return False
        elif node.op == "Cast":
            source = node.inputs[0]
            if not (types.is_integer(source.elem_type) or source.elem_type == TensorProto.BOOL):
                pending.append(source)
        elif node.op in ("Add", "Sub", "Mul") or _role(node) == CARRIES:
            pending += [operand for operand in node.inputs if is_wide(operand)]
        else:
            return False
    return True
