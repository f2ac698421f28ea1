"""The contents of small integer tensors, as far as they are known before the model runs.

Shape arithmetic (Shape, Gather, Concat, Reshape...) works on such tensors. Each element is an int or an expression over
the model's sizes; truth values are 0 and 1. Functions are registered by operator like shape functions, and are told
which result is asked for; the type of that result is known by then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from onnx import TensorProto

from onnx_opt.analysis.infer.registry import NodeView
from onnx_opt.analysis.merge import sharper_dim
from onnx_opt.shapes import Shapes
from onnx_opt.types import TensorType, Type, is_integer, numpy_dtype

ContentFunction: TypeAlias = Callable[[NodeView, int, TensorType], Any]
"""(node, index of the result, its type) -> its elements as a list or an object array; None where they are unknown."""

MAX_ELEMENTS = 256
MAX_RANK = 2
MAX_UNKNOWN_ELEMENTS = 16
BOOL, INT32, INT64 = int(TensorProto.BOOL), int(TensorProto.INT32), int(TensorProto.INT64)

_functions: dict[str, ContentFunction] = {}


def content(*ops: str) -> Callable[[ContentFunction], ContentFunction]:
    """Register a content function for operators of the standard domain."""

    def register(function: ContentFunction) -> ContentFunction:
        for op in ops:
            _functions[op] = function
        return function

    return register


# -- which tensors have content ----------------------------------------------------------------------------------------


def is_small(kind: Type | None) -> bool:
    """Whether contents are kept for tensors of this type."""
    return (
        isinstance(kind, TensorType)
        and kind.shape is not None
        and len(kind.shape) <= MAX_RANK
        and (is_integer(kind.elem_type) or kind.elem_type == BOOL)
        and all(isinstance(dim, int) for dim in kind.shape)
        and math.prod(kind.shape) <= MAX_ELEMENTS
    )


def from_array(array: np.ndarray) -> np.ndarray | None:
    """The content of a constant."""
    if array.size > MAX_ELEMENTS:
        return None
    return objects([int(item) for item in array.reshape(-1).tolist()], array.shape)


def unknown_elements(kind: Type | None, shapes: Shapes) -> np.ndarray | None:
    """A symbol of unknown sign for each element of a short vector or scalar; None for other tensors."""
    if not is_small(kind) or not isinstance(kind, TensorType) or kind.elem_type not in {INT32, INT64}:
        return None
    assert kind.shape is not None
    count = math.prod(kind.shape)
    if len(kind.shape) > 1 or count > MAX_UNKNOWN_ELEMENTS:
        return None
    return objects([shapes.fresh(lower=None) for _ in range(count)], kind.shape)


def is_settled(found: np.ndarray | None) -> bool:
    """Whether every element is an int, so that there is no more to learn."""
    return found is not None and all(isinstance(item, int) for item in found.reshape(-1).tolist())


def sharpen(kept: np.ndarray | None, found: np.ndarray | None, shapes: Shapes) -> np.ndarray | None:
    """What an older and a newer finding say together; `kept` itself where the newer one adds nothing."""
    if found is None or kept is None:
        return kept if found is None else found
    pairs = list(zip(kept.reshape(-1).tolist(), found.reshape(-1).tolist(), strict=True))
    items = [sharper_dim(old, new, shapes) for old, new in pairs]
    if all(new is old for new, (old, _) in zip(items, pairs, strict=True)):
        return kept
    return objects(items, kept.shape)


def of_node(n: NodeView, index: int, kind: TensorType) -> np.ndarray | None:
    """The content of result `index` of a node, None where it is unknown. Raises `Needed`, `Unknown`."""
    function = None if n.node.domain else _functions.get(n.node.op)
    if function is None:
        return None
    found = function(n, index, kind)
    if found is None:
        return None
    items = found.reshape(-1).tolist() if isinstance(found, np.ndarray) else list(found)
    assert kind.shape is not None
    if len(items) != math.prod(kind.shape) or not all(_fits(n.shapes, item, kind.elem_type) for item in items):
        return None
    return objects(items, kind.shape)


def objects(items: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """An object array of these elements."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)


def _fits(shapes: Shapes, item: Any, elem_type: int) -> bool:
    """Whether a number is one of its element type. What is made of sizes is taken to fit 32 bits, as sizes do."""
    if elem_type == BOOL:
        return True
    if not isinstance(item, int):
        return elem_type == INT64 or (elem_type == INT32 and None not in shapes.bounds(item)[:1])
    dtype = numpy_dtype(elem_type)
    if dtype is None or dtype.kind not in "iu":
        return False
    info = np.iinfo(dtype)
    return bool(info.min <= item <= info.max)
