"""When an operator is the identity: its first result equals an operand to the bit, NaN and the sign of zero included.

Each entry is a function of the node that returns the index of that operand, or None where it is not proven. Dims are
ints or symbolic expressions; two are the same only if they compare equal, which for expressions is a proof.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from onnx_opt.laws import laws
from onnx_opt.parameters import Parameter, parameter, place_of
from onnx_opt.traits import ask, declare

if TYPE_CHECKING:
    from onnx_opt.ir import Node, Value

Dims = tuple[Any, ...]
IdentityOf = Callable[["Node"], "int | None"]

_UNSIGNED = frozenset({TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64})
_INTEGERS = _UNSIGNED | {TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64}


# -- proofs ------------------------------------------------------------------------------------------------------------


def _when(condition: Callable[[Node], bool]) -> IdentityOf:
    """The identity of operand 0 where `condition` holds."""
    return lambda node: 0 if condition(node) else None


def _dims(value: Value | None) -> Dims | None:
    return None if value is None else value.dims


def _constant(node: Node, index: int) -> np.ndarray | None:
    value = node.input(index)
    return None if value is None else value.constant


def _keeps_dims(node: Node, index: int = 0) -> bool:
    before, after = _dims(node.input(index)), _dims(node.output(0))
    return before is not None and before == after


# -- broadcasting ------------------------------------------------------------------------------------------------------


def _broadcast_keeps(dims: Dims | None, other: Dims | None) -> bool:
    """Whether broadcasting a value of `dims` with one of `other` leaves `dims` as they are."""
    if dims is None or other is None or len(other) > len(dims):
        return False
    return all(o == 1 or o == d for o, d in zip(reversed(other), reversed(dims), strict=False))


def _neutral_operand(node: Node) -> int | None:
    """x where the other operand is a constant that a law says to be neutral, in every element."""
    for kept, other in ((0, 1), (1, 0))[: 2 if node.version >= 7 else 1]:
        array = _constant(node, other)
        if array is None or array.dtype.kind == "O" or not _same_size(node, kept, array):
            continue
        value = node.inputs[kept]
        if any(
            not law.needs and law.holds_for(array, other)
            for law in laws(node.domain, node.op, "neutral", value.elem_type)
        ):
            return kept
    return None


def _same_size(node: Node, kept: int, other: np.ndarray) -> bool:
    if node.version < 7:  # the second operand was stretched to the first, never the other way round
        return True
    return _broadcast_keeps(_dims(node.input(kept)), other.shape)


def _same_operands(node: Node) -> int | None:
    return 0 if len(node.inputs) == 2 and node.inputs[0] is node.inputs[1] else None


def _or(*finders: IdentityOf) -> IdentityOf:
    """The first answer of several."""
    return lambda node: next((index for find in finders if (index := find(node)) is not None), None)


def _one_operand(node: Node) -> bool:
    return len(node.inputs) == 1


def _where(node: Node) -> int | None:
    condition = node.input(0)
    if condition is None:
        return None
    array = condition.constant
    if node.input(1) is node.input(2):
        candidates = [1]
    elif array is not None and array.size:
        candidates = [1] * bool(array.all()) + [2] * (not array.any())
    else:
        return None
    for kept in candidates:
        dims = _dims(node.input(kept))
        if _broadcast_keeps(dims, condition.dims) and _broadcast_keeps(dims, _dims(node.input(3 - kept))):
            return kept
    return None


# -- types -------------------------------------------------------------------------------------------------------------


def _same_type(node: Node) -> bool:
    operand, result = node.input(0), node.output(0)
    if operand is None or result is None or not operand.elem_type:
        return False
    return node.attribute("to") == operand.elem_type


def _same_type_as_second(node: Node) -> bool:
    first, second = node.input(0), node.input(1)
    return first is not None and second is not None and 0 != first.elem_type == second.elem_type


def _of_type(kinds: frozenset[int]) -> Callable[[Node], bool]:
    def holds(node: Node) -> bool:
        operand = node.input(0)
        return operand is not None and operand.elem_type in kinds

    return holds


def _clips_nothing(node: Node) -> bool:
    """Integers without bounds. Of floats, an absent bound means the largest finite number: infinities are clipped."""
    return _of_type(_INTEGERS)(node) and node.version >= 11 and node.input(1) is None and node.input(2) is None


# -- movement ----------------------------------------------------------------------------------------------------------


def _transposes_nothing(node: Node) -> bool:
    """The permutation keeps the order of all dimensions but those of size 1, and the dims stay the same."""
    dims = _dims(node.input(0))
    perm = node.attribute("perm")
    if perm is None and dims is not None:
        perm = list(range(len(dims)))[::-1]
    if perm is None:
        return False
    if list(perm) == list(range(len(perm))):
        return True
    if dims is None or sorted(perm) != list(range(len(dims))):
        return False
    moved = [axis for axis in perm if dims[axis] != 1]
    return moved == sorted(moved) and all(dims[axis] == dim for axis, dim in zip(perm, dims, strict=True))


def _slices_everything(node: Node) -> bool:
    """With positive steps, a slice of full length starts at 0 with step 1. A negative one reverses."""
    if not _keeps_dims(node):
        return False
    steps = parameter(node, "steps")
    return steps.known and all(step > 0 for step in steps.numbers or ())


def _pads_nothing(node: Node) -> bool:
    pads = parameter(node, "pads").numbers
    return pads is not None and not any(pads)


def _concatenates_one(node: Node) -> int | None:
    """Only one operand has elements along the axis."""
    axis = node.attribute("axis", 1)
    full = [i for i, value in enumerate(node.inputs) if not _is_empty_along(value, axis)]
    return full[0] if len(full) == 1 else None


def _is_empty_along(value: Value, axis: int) -> bool:
    dims = value.dims
    return dims is not None and -len(dims) <= axis < len(dims) and dims[axis] == 0


def _splits_nothing(node: Node) -> bool:
    return len(node.outputs) == 1 and node.attribute("num_outputs", 1) == 1


def _gathers_in_order(node: Node) -> bool:
    dims = _dims(node.input(0))
    indices = _constant(node, 1)
    axis = node.attribute("axis", 0)
    if dims is None or indices is None or indices.ndim != 1 or not -len(dims) <= axis < len(dims):
        return False
    return dims[axis] == indices.size and bool((indices == np.arange(indices.size)).all())


def _scatters_nothing(node: Node) -> bool:
    """There are no updates. (Indices without elements are not enough: an index of length 0 is the whole tensor.)"""
    dims = _dims(node.input(2))
    return dims is not None and any(dim == 0 for dim in dims)


def _reduces_nothing(node: Node) -> bool:
    """No axes, and told to take that as none instead of all."""
    if parameter(node, "noop_with_empty_axes").value != 1:
        return False
    return node.input(1) is None or _dims(node.input(1)) == (0,)


def _repeats_in_order(node: Node) -> bool:
    """An equation such as 'bij->bij'."""
    left, arrow, right = str(node.attribute("equation", "")).replace(" ", "").partition("->")
    return bool(arrow) and left == right and left.isalpha() and len(set(left)) == len(left) and _one_operand(node)


def _resizes_nothing(node: Node) -> bool:
    """All scales are exactly 1, so that every sample falls on an element; ONNX Runtime copies then, whatever the mode.

    Left out: sampling inside of a box, filters over neighbours, and sizes that an aspect ratio changes again.
    """
    if node.attribute("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        return False
    if node.attribute("antialias", 0) != 0 or node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return False
    return _all_ones(parameter(node, "scales")) or _keeps_sizes(node)


def _keeps_sizes(node: Node) -> bool:
    place = place_of(node.op, node.domain, node.version, "sizes")
    return isinstance(place, int) and node.input(place) is not None and _keeps_dims(node)


def _upsamples_nothing(node: Node) -> bool:
    if node.version < 7:
        return node.attribute("height_scale") == 1 and node.attribute("width_scale") == 1
    return _all_ones(parameter(node, "scales"))


def _all_ones(scales: Parameter) -> bool:
    return bool(scales.numbers) and all(scale == 1 for scale in scales.numbers or ())


def _has(attribute: str, value: Any) -> Callable[[Node], bool]:
    return lambda node: node.attribute(attribute) == value


def _infers(node: Node) -> bool:
    """Dropout that drops nothing is pure, and the other way round."""
    pure = ask("", "Dropout", "pure")
    return bool(pure and pure(node))


def _is_no_optional(node: Node) -> bool:
    operand = node.input(0)
    return operand is not None and operand.elem_type != 0  # known to be a tensor


NOOPS: dict[str, IdentityOf] = {
    "Abs": _when(_of_type(_UNSIGNED)),
    "Add": _neutral_operand,
    "And": _or(_neutral_operand, _same_operands),
    "BitCast": _when(_same_type),
    "BitShift": _neutral_operand,
    "BitwiseAnd": _or(_neutral_operand, _same_operands),
    "BitwiseOr": _or(_neutral_operand, _same_operands),
    "BitwiseXor": _neutral_operand,
    "Cast": _when(_same_type),
    "CastLike": _when(_same_type_as_second),
    "CenterCropPad": _when(_keeps_dims),
    "Clip": _when(_clips_nothing),
    "Concat": _concatenates_one,
    "DepthToSpace": _when(_has("blocksize", 1)),
    "Div": _neutral_operand,
    "Dropout": _when(_infers),
    "Einsum": _when(_repeats_in_order),
    "Expand": _when(_keeps_dims),
    "Flatten": _when(_keeps_dims),
    "Gather": _when(_gathers_in_order),
    "Identity": _when(lambda node: True),
    "Max": _or(_when(_one_operand), _same_operands),
    "Mean": _when(_one_operand),
    "Min": _or(_when(_one_operand), _same_operands),
    "Mul": _neutral_operand,
    "OptionalGetElement": _when(_is_no_optional),
    "Or": _or(_neutral_operand, _same_operands),
    "Pad": _when(_pads_nothing),
    "Pow": _neutral_operand,
    "ReduceMax": _when(_reduces_nothing),
    "ReduceMean": _when(_reduces_nothing),
    "ReduceMin": _when(_reduces_nothing),
    "ReduceProd": _when(_reduces_nothing),
    "ReduceSum": _when(_reduces_nothing),
    "Reshape": _when(_keeps_dims),
    "Resize": _when(_resizes_nothing),
    "ScatterElements": _when(_scatters_nothing),
    "ScatterND": _when(_scatters_nothing),
    "Slice": _when(_slices_everything),
    "SpaceToDepth": _when(_has("blocksize", 1)),
    "Split": _when(_splits_nothing),
    "Squeeze": _when(_keeps_dims),
    "Sub": _neutral_operand,
    "Sum": _when(_one_operand),
    "Tile": _when(_keeps_dims),
    "Transpose": _when(_transposes_nothing),
    "Unsqueeze": _when(_keeps_dims),
    "Upsample": _when(_upsamples_nothing),
    "Where": _where,
    "Xor": _neutral_operand,
}

for _op, _find in NOOPS.items():
    declare("", _op, identity=_find)
declare("com.microsoft", "Pad", identity=_when(_pads_nothing))
