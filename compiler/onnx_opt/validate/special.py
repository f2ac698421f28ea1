"""Feeds with NaN or infinities among the inputs: what a rewrite does to them shows nowhere else.

They are fed where the outcome is defined: tables say of every operator whether NaN keeps on, or decides something
(trait 'nan'); where it depends on the order in which elements are visited, as the greatest of several does, a rewrite
may rightly change it. Few elements are replaced, since a sum over all of them would leave nothing but NaN to compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.traits import ask
from onnx_opt.validate.compare import leaves
from onnx_opt.validate.figures import is_float
from onnx_opt.validate.signature import Signature
from onnx_opt.validate.values import generator, is_mask, is_size
from onnx_opt.validate.walk import all_nodes

if TYPE_CHECKING:
    import onnx

    from onnx_opt.validate.run import Value

SPECIAL_VALUES: Mapping[str, tuple[float, ...]] = {"NaN": (np.nan,), "infinities": (np.inf, -np.inf)}
"""What is fed, by the name that a report has for it."""
ELEMENTS_EACH, MOST_ELEMENTS = 50, 4
"""One element in so many is replaced, each special value once at least, and so many at most."""
FEWEST_ELEMENTS = 2
"""Smaller inputs are numbers that control the model rather than data."""


def undefined_operators(model: onnx.ModelProto) -> set[str]:
    """The operators of a model for which it is not defined what becomes of a NaN."""
    called = {(f.domain, f.name) for f in model.functions}
    heads = {(node.domain, node.op_type) for node in all_nodes(model)} - called
    return {op for domain, op in heads if ask(domain, op, "nan", "open") == "open"}


def with_special_values(
    feed: Mapping[str, Value], signature: Signature, numbers: tuple[float, ...], seed: int
) -> dict[str, Value] | None:
    """`feed` with some elements of its floating-point tensors replaced; None where there are none to replace."""
    names = {slot.name for slot in signature.inputs if slot.type.kind == "tensor"}
    changed = dict(feed)
    for name, value in feed.items():
        if name in names and isinstance(value, np.ndarray) and _is_data(name, value):
            changed[name] = _sprinkled(value, numbers, generator(seed, name, ELEMENTS_EACH))
    return changed if any(changed[name] is not feed[name] for name in feed) else None


def says_something(outputs: Iterable[Value]) -> bool:
    """Whether anything came out that is no NaN."""
    arrays = [array for value in outputs for _, array in leaves(value)]
    return any(array.size and not (is_float(array.dtype) and np.isnan(array).all()) for array in arrays)


def fed_values(absent: Iterable[str]) -> list[str]:
    """What to feed where the user says that those in `absent` do not occur; of infinities, NaN comes."""
    absent = frozenset(absent)
    return [] if "NaN" in absent else [name for name in SPECIAL_VALUES if name not in absent]


def where_present(before: Value, after: Value, absent: Iterable[str]) -> tuple[Value, Value]:
    """Both outputs without what the original gives that is not to occur: there, nothing is promised."""
    kinds = frozenset(absent)
    alike = isinstance(before, np.ndarray) and isinstance(after, np.ndarray) and before.shape == after.shape
    if not kinds or not alike or not is_float(before.dtype) or before.dtype != after.dtype:
        return before, after
    skipped = np.zeros(before.shape, bool)
    if "NaN" in kinds:
        skipped |= np.isnan(before)
    if "infinities" in kinds:
        skipped |= np.isinf(before)
    if not skipped.any():
        return before, after
    return tuple(np.where(skipped, np.zeros((), array.dtype), array) for array in (before, after))  # type: ignore[return-value]


def _is_data(name: str, value: np.ndarray) -> bool:
    return is_float(value.dtype) and value.size >= FEWEST_ELEMENTS and not is_mask(name) and not is_size(name)


def _sprinkled(value: np.ndarray, numbers: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    mixed = value.copy()
    flat = mixed.reshape(-1)
    count = max(min(max(1, flat.size // ELEMENTS_EACH), MOST_ELEMENTS), len(numbers))
    for i, place in enumerate(rng.permutation(flat.size)[:count].tolist()):
        flat[place] = numbers[i % len(numbers)]
    return mixed
