"""Candidates that compute in half precision: how closely they are held, and how they are fed.

A candidate whose interface became half precision as well is fed the same values rounded, and what it gives is compared
as FP32. Whether rounding costs too much is for a tolerance to say: it is wider than that of a rewrite, for 11 (BF16: 8)
significant bits in every result inside add up to errors of this size in the outputs of common networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnx_opt.validate.compare import Tolerance, ToleranceLike
from onnx_opt.validate.run import Feed, Value
from onnx_opt.validate.signature import Signature, Slot, numpy_dtype

TOLERANCES: Mapping[str, Tolerance] = {"float16": Tolerance(1e-2, 1e-2), "bfloat16": Tolerance(6e-2, 6e-2)}
"""By the type that the candidate computes in."""


def tolerance_for(given: ToleranceLike, lowered: str) -> ToleranceLike:
    """The tolerance for FP32 outputs of a candidate that computes in the type `lowered`: the user's, else the default
    of that type."""
    if given is not None or not lowered:
        return given
    return {"float32": TOLERANCES[lowered], lowered: TOLERANCES[lowered]}


def allowed_types(original: Signature, candidate: Signature, lowered: str) -> Signature:
    """The signature of the original, with the type `lowered` wherever the candidate has that instead of FP32."""

    def slots(ours: Sequence[Slot], theirs: Sequence[Slot]) -> tuple[Slot, ...]:
        types = {slot.name: slot.type for slot in theirs if slot.type.elem == lowered}
        return tuple(
            Slot(slot.name, types[slot.name], slot.shape) if slot.name in types and slot.type.elem == "float" else slot
            for slot in ours
        )

    if not lowered:
        return original
    return Signature(
        slots(original.inputs, candidate.inputs), slots(original.outputs, candidate.outputs), original.overridable
    )


def fitted(feed: Feed, signature: Signature, lowered: str) -> Feed:
    """The feed with FP32 arrays rounded where the candidate takes the type `lowered`."""
    taken = {slot.name for slot in (*signature.inputs, *signature.overridable) if slot.type.elem == lowered}
    if not lowered or not taken:
        return feed
    dtype = numpy_dtype(lowered)
    with np.errstate(over="ignore"):
        return {name: value.astype(dtype) if name in taken else value for name, value in feed.items()}


def restored(values: Sequence[Value], like: Sequence[Value], lowered: str) -> list[Value]:
    """What the candidate gave, as FP32 where it is of the type `lowered` and the original gave FP32."""
    if not lowered:
        return list(values)
    return [
        value.astype(np.float32) if _name(value) == lowered and _name(old) == "float32" else value
        for value, old in zip(values, like, strict=True)
    ]


def _name(value: Value) -> str:
    return value.dtype.name if isinstance(value, np.ndarray) else ""
