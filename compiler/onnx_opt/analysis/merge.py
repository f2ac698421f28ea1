"""Combining types: what holds on either of two ways, and what an older and a newer fact say together."""

from __future__ import annotations

from typing import Any

from onnx_opt.shapes import Shapes
from onnx_opt.types import OptionalType, SequenceType, TensorType, Type


class FactConflict(Exception):
    """Two facts about one value contradict each other: an edit changed what it is, or a shape function is wrong."""

    def __init__(self, name: str, kept: Type, found: Type) -> None:
        super().__init__(f"value '{name}' was {kept} and is now inferred as {found}")
        self.name = name
        self.kept = kept
        self.found = found


class Contradiction(Exception):
    """No value can be of both types."""


def join(a: Type | None, b: Type | None, shapes: Shapes) -> Type | None:
    """What holds of a value that is of type `a` or of type `b`."""
    if a == b or a is None or b is None:
        return a if a == b else None
    if isinstance(a, TensorType) and isinstance(b, TensorType):
        elem_type = a.elem_type if a.elem_type == b.elem_type else 0
        if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
            return TensorType(elem_type, None)
        pairs = zip(a.shape, b.shape, strict=True)
        return TensorType(elem_type, tuple(x if shapes.equal(x, y) else shapes.fresh() for x, y in pairs))
    if isinstance(a, SequenceType) and isinstance(b, SequenceType):
        return SequenceType(join(a.elem, b.elem, shapes))
    if isinstance(a, OptionalType) and isinstance(b, OptionalType):
        return OptionalType(join(a.elem, b.elem, shapes))
    return None


def sharpen(kept: Type | None, found: Type | None, shapes: Shapes) -> Type | None:
    """What holds of a value that is of both types. Raises `Contradiction` where that can't be."""
    if found is None or kept == found:
        return kept
    if kept is None:
        return found
    if isinstance(kept, TensorType) and isinstance(found, TensorType):
        if kept.elem_type and found.elem_type and kept.elem_type != found.elem_type:
            raise Contradiction
        sharper = TensorType(kept.elem_type or found.elem_type, _sharpen_dims(kept.shape, found.shape, shapes))
        return kept if sharper == kept else sharper
    if isinstance(kept, SequenceType) and isinstance(found, SequenceType):
        return SequenceType(sharpen(kept.elem, found.elem, shapes))
    if isinstance(kept, OptionalType) and isinstance(found, OptionalType):
        return OptionalType(sharpen(kept.elem, found.elem, shapes))
    if type(kept) is not type(found):
        raise Contradiction
    return kept


def _sharpen_dims(kept: Any, found: Any, shapes: Shapes) -> Any:
    if kept is None or found is None:
        return found if kept is None else kept
    if len(kept) != len(found):
        raise Contradiction
    return tuple(sharper_dim(old, new, shapes) for old, new in zip(kept, found, strict=True))


def sharper_dim(kept: Any, found: Any, shapes: Shapes) -> Any:
    """The more telling of two forms of one size: an int, then what is made of the model's own symbols alone."""
    if isinstance(kept, int) and isinstance(found, int):
        if kept != found:
            raise Contradiction
        return kept
    if isinstance(kept, int) or isinstance(found, int):
        return kept if isinstance(kept, int) else found
    return found if shapes.is_made(kept) and not shapes.is_made(found) else kept


def without_dims(kind: Type | None) -> Type | None:
    """A type of which only the element type is known to hold."""
    if isinstance(kind, TensorType):
        return TensorType(kind.elem_type, None)
    if isinstance(kind, SequenceType):
        return SequenceType(without_dims(kind.elem))
    return OptionalType(without_dims(kind.elem)) if isinstance(kind, OptionalType) else None
