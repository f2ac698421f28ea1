"""Inputs for any model: shapes for its dynamic dims and values for its types, tried until the model accepts them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

# Sizes to try for dims other than the batch, those of images first at 224: the first that the model takes is measured.
SIZES = (64, 32, 128, 224, 256, 512, 16, 8, 1024, 16000)
IMAGE_SIZE = 224
# Sizes that broadcasting hides much at: the last resort.
SMALL_SIZES = (2, 1)
# Upper ends of integer inputs: token ids first, then masks and flags.
INTEGER_RANGES = (10, 2, 1)
DOUBLED = 16

Feeds = dict[str, Any]


def is_batch(name: str, axis: int) -> bool:
    lowered = name.lower()
    return lowered in ("n", "b", "bs") or "batch" in lowered or (axis == 0 and not re.search(r"seq|len|time", lowered))


def numpy_type(ort_type: str) -> np.dtype[Any] | None:
    """`tensor(float16)` -> float16; None for what is no tensor."""
    match = re.fullmatch(r"tensor\((\w+)\)", ort_type)
    if not match:
        return None
    known = {"float": "FLOAT", "double": "DOUBLE", "string": "STRING", "bool": "BOOL"}
    elem_type = TensorProto.DataType.Value(known.get(match[1], match[1].upper()))
    return helper.tensor_dtype_to_np_dtype(elem_type)


def resolve(dim: int | str | None, axis: int, batch: int, size: int, fixed: Mapping[str, int]) -> int:
    """The number for one declared dim. Expressions over named dims (`past + seq`) are added and multiplied up."""
    if isinstance(dim, int):
        return dim
    name = dim or ""
    if name in fixed:
        return fixed[name]
    if (terms := re.split(r"\s*\+\s*", name)) and len(terms) > 1:
        return sum(int(t) if t.isdigit() else resolve(t, axis, batch, size, fixed) for t in terms)
    return batch if is_batch(name, axis) else size


def values(dtype: np.dtype[Any], shape: tuple[int, ...], high: int, scale: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    if dtype.kind == "O":
        return np.full(shape, "text", object)
    if dtype.kind == "b":
        return np.asarray(random.random(shape) < 0.5)
    if dtype.kind in "iu":
        top = high if dtype.itemsize > 1 else min(high * 100, np.iinfo(dtype).max)
        return np.asarray(random.integers(0, top, shape)).astype(dtype)
    return np.asarray(random.standard_normal(shape) * scale).astype(dtype)


def make(session: ort.InferenceSession, batch: int, size: int, high: int, fixed: Mapping[str, int], seed: int) -> Feeds:
    """One set of inputs; raises ValueError for an input that is no tensor."""
    feeds = {}
    for index, entry in enumerate(session.get_inputs()):
        dtype = numpy_type(entry.type)
        if dtype is None:
            raise ValueError(f"input {entry.name} is a {entry.type}")
        shape = tuple(resolve(dim, axis, batch, size, fixed) for axis, dim in enumerate(entry.shape))
        scale = (1.0, 0.1, 10.0)[seed % 3]
        feeds[entry.name] = values(dtype, shape, high, scale, seed * 1000 + index)
    return feeds


def dynamic_dims(session: ort.InferenceSession) -> list[str]:
    """Names of the dims that are not fixed, each once, unnamed ones as the empty string."""
    dims = (dim for entry in session.get_inputs() for dim in entry.shape)
    return list(dict.fromkeys(dim or "" for dim in dims if not isinstance(dim, int)))


def recipes(session: ort.InferenceSession) -> Iterator[tuple[int, int, dict[str, int]]]:
    """(size, integer range, dims of another size) in the order to try them.

    First all dims alike; then one dim twice the others, as a mask over past and present tokens is.
    """
    names = dynamic_dims(session)
    if not names:
        yield from ((1, high, {}) for high in INTEGER_RANGES)
        return
    images = any(len(entry.shape) == 4 and not isinstance(entry.shape[2], int) for entry in session.get_inputs())
    alike = ((IMAGE_SIZE,) if images else ()) + SIZES
    yield from ((size, high, {}) for size, high in itertools.product(alike, INTEGER_RANGES))
    yield from ((DOUBLED, INTEGER_RANGES[0], {name: 2 * DOUBLED}) for name in names if name)
    yield from ((size, high, {}) for size, high in itertools.product(SMALL_SIZES, INTEGER_RANGES))


def samples(session: ort.InferenceSession, count: int, fixed: Mapping[str, int]) -> list[Feeds]:
    """`count` inputs of several magnitudes that the model runs with, then one at batch 2 if it takes that.

    Raises ValueError with the model's first complaint when it takes none.
    """
    complaint = ""
    for size, high, others in recipes(session):
        sizes = {**others, **fixed}
        accepted = [make(session, 1, size, high, sizes, seed) for seed in range(count)]
        try:
            for feeds in accepted:
                session.run(None, feeds)
        except Exception as error:  # ONNX Runtime raises classes of its own for every kind of refusal
            complaint = complaint or str(error).splitlines()[0]
            continue
        return accepted + second_batch(session, size, high, sizes)
    raise ValueError(f"the original runs with none of the generated inputs; try --dim NAME=VALUE: {complaint}")


def second_batch(session: ort.InferenceSession, size: int, high: int, fixed: Mapping[str, int]) -> list[Feeds]:
    if not dynamic_dims(session):
        return []
    try:
        feeds = make(session, 2, size, high, fixed, 0)
        session.run(None, feeds)
    except Exception:  # the original does not take a batch of two, so the result need not
        return []
    return [feeds]
