"""How operators behave when their tensors are stored transposed.

Elementwise operators need no row: `algebra` says which they are. An operator without a row is bound to its layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.layout.axes import Along, Listed, PerAxis
from onnx_opt.layout.behaviour import TRAIT, Absorbing, Behaviour, Fixed
from onnx_opt.layout.perms import Perm
from onnx_opt.layout.views import Contracting, Gathering, Inserting, Reducing, View
from onnx_opt.traits import declare

if TYPE_CHECKING:
    from onnx_opt.ir import Node


# -- what rows ask of a node -------------------------------------------------------------------------------------------


def _before(version: int) -> Callable[[Node], bool]:
    """Until `version`, the operator flattened all dims from its axis on."""
    return lambda node: node.version < version


def _always(node: Node) -> bool:
    return True


def _samples_channels_first(node: Node, perm: Perm) -> str:
    """Runtimes resize the last dims fast and others slowly or not at all: only towards that does Resize move."""
    if node.input(0) is not None and _untouched(node, range(2)):
        return "Resize has its channels first"
    return "" if _untouched(node, perm[:2]) else "Resize would not have its channels first"


def _untouched(node: Node, axes: range | Perm) -> bool:
    """Whether Resize or Upsample leaves these axes as they are."""
    if node.attribute("axes") is not None:
        return not {int(axis) % len(node.inputs[0].dims or (0,)) for axis in node.attribute("axes")} & set(axes)
    scales = node.input(2 if node.op == "Resize" and node.version >= 11 else 1)
    known = scales.constant if scales is not None else None
    if known is None:
        known = np.array(node.attribute("scales") or [])
    if known.size:
        return all(known.flat[axis] == 1 for axis in axes)
    before, after = node.inputs[0].dims, node.outputs[0].dims
    return before is not None and after is not None and all(before[axis] == after[axis] for axis in axes)


def _bound_to_two_axes(node: Node, perm: Perm) -> str:
    """Trilu and the like work on the last two axes."""
    return "" if perm[-2:] == (len(perm) - 2, len(perm) - 1) else f"{node.op} works on the last two axes"


# -- the rows ----------------------------------------------------------------------------------------------------------

CHANNELS_FIRST = Fixed(channels_first=True)
PER_CHANNEL = Along(data=(0,), results=(0,), pinned=(1,), channels_first=True)
POOLED = Along(data=(0,), results=(0,), pinned=(0, 1), channels_first=True)
NORMALIZED = Along(data=(0,), axis="axis", reaches_end=_always, parameters=(1, 2))
REDUCING = Reducing(axes=Listed("axes", 1))
SELECTING = Reducing(axis="axis")
ON_MATRICES = Along(refuses=_bound_to_two_axes)
QUANTIZED = PerAxis()

ROWS: dict[str, Behaviour] = {
    # bound to their layout
    "AveragePool LRN LpPool MaxPool MaxRoiPool MaxUnpool RoiAlign": CHANNELS_FIRST,
    "Conv ConvInteger ConvTranspose DeformConv QLinearConv": CHANNELS_FIRST,
    "AffineGrid Col2Im DepthToSpace GridSample GroupNormalization SpaceToDepth": CHANNELS_FIRST,
    "BatchNormalization": PER_CHANNEL,
    "GlobalAveragePool GlobalLpPool GlobalMaxPool InstanceNormalization": POOLED,
    "Gemm": Absorbing((0, 1), ((1, 0),)),
    "Shape": Absorbing((0,)),
    "Size": Absorbing((0,)),
    # along axes
    "Compress": Along(axis="axis"),
    "Concat": Along(data=None, axis="axis"),
    "CumSum": Along(axis_operand=1),
    "DynamicQuantizeLinear": Along(results=(0,)),
    "Expand": Along(per_dim=(Listed(operand=1),)),
    "GatherElements": Along(data=(0, 1), axis="axis"),
    "Hardmax LogSoftmax Softmax": Along(axis="axis", reaches_end=_before(13), best_last=True),
    "LayerNormalization RMSNormalization": NORMALIZED,
    "LpNormalization": Along(axis="axis", best_last=True),
    "Pad": Along(axes=Listed(operand=3), per_dim=(Listed("pads", 1, halves=2),)),
    "DequantizeLinear QuantizeLinear": QUANTIZED,
    "Resize": Along(
        axes=Listed("axes"),
        per_dim=(Listed(operand=1, halves=2), Listed(operand=2), Listed(operand=3)),
        channels_first=True,
        refuses=_samples_channels_first,
    ),
    "Scatter ScatterElements": Along(data=(0, 1, 2), axis="axis"),
    "Slice": Along(axes=Listed("axes", 3), per_dim=(Listed("starts", 1), Listed("ends", 2), Listed(operand=4))),
    "Split": Along(axis="axis"),
    "Tile": Along(per_dim=(Listed(operand=1),)),
    "TopK": Along(axis="axis"),
    "Trilu": ON_MATRICES,
    # along axes that go, come, or shrink to 1
    "ArgMax ArgMin": SELECTING,
    "Gather": Gathering(),
    "MatMul": Contracting(),
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum": REDUCING,
    "ReduceSumSquare": REDUCING,
    "Squeeze": Inserting(drops=True),
    "Unsqueeze": Inserting(drops=False),
    # views
    "Flatten": View(),
    "Reshape": View(shape=1),
}

for _ops, _row in ROWS.items():
    declare("", _ops, **{TRAIT: _row})
