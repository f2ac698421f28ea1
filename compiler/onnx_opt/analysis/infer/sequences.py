"""Sequences, optionals and strings.

The type of a sequence says what holds of all its elements; a size that differs from element to element is a symbol that
the analysis made, and gets a new one for each element that is taken out.
"""

from __future__ import annotations

from onnx import TensorProto

from onnx_opt.analysis.infer.elementwise import broadcast
from onnx_opt.analysis.infer.registry import NodeView, Unknown, axis_of, infer
from onnx_opt.analysis.merge import join
from onnx_opt.types import OptionalType, SequenceType, TensorType, Type

BOOL, FLOAT, INT64 = int(TensorProto.BOOL), int(TensorProto.FLOAT), int(TensorProto.INT64)
STRING, UINT8 = int(TensorProto.STRING), int(TensorProto.UINT8)


def element(n: NodeView, index: int) -> Type | None:
    """The type of the elements of an operand; raises `Unknown` where it is no sequence."""
    kind = n.type(index)
    if not isinstance(kind, SequenceType):
        raise Unknown
    return kind.elem


@infer("SequenceEmpty", elem=-1)
def sequence_empty(n: NodeView) -> Type:
    """A sequence of nothing yet."""
    return SequenceType(TensorType(int(n.attr("dtype", FLOAT)), None))


@infer("SequenceConstruct", elem=-1)
def sequence_construct(n: NodeView) -> Type:
    """A sequence of the operands."""
    kind = n.type(0)
    for index in range(1, len(n.types)):
        kind = join(kind, n.type(index), n.shapes)
    return SequenceType(kind)


@infer("SequenceInsert", elem=-1)
def sequence_insert(n: NodeView) -> Type:
    """The sequence with one more element."""
    return SequenceType(join(element(n, 0), n.type(1), n.shapes))


@infer("SequenceErase", elem=-1)
def sequence_erase(n: NodeView) -> Type | None:
    """The sequence with one element less."""
    return n.type(0)


@infer("SequenceAt", elem=-1)
def sequence_at(n: NodeView) -> Type | None:
    """One element."""
    kind = element(n, 0)
    if not isinstance(kind, TensorType) or kind.shape is None:
        return kind
    return kind.with_shape([n.fresh() if n.shapes.is_made(dim) else dim for dim in kind.shape])


@infer("SequenceLength", kind=INT64)
def sequence_length(n: NodeView) -> Type:
    """The number of elements, as a scalar."""
    return TensorType(INT64, ())


@infer("ConcatFromSequence", elem=-1)
def concat_from_sequence(n: NodeView) -> Type:
    """The elements joined along `axis`, or stacked along a new one."""
    kind = element(n, 0)
    if not isinstance(kind, TensorType):
        raise Unknown
    if kind.shape is None:
        return kind
    dims = [n.fresh() if n.shapes.is_made(dim) else dim for dim in kind.shape]
    if n.attr("new_axis", 0):
        dims.insert(axis_of(int(n.attr("axis", 0)), len(dims) + 1), n.fresh())
    else:
        dims[axis_of(int(n.attr("axis", 0)), len(dims))] = n.fresh()
    return n.result(kind.elem_type, dims)


@infer("SplitToSequence", elem=-1)
def split_to_sequence(n: NodeView) -> Type:
    """The parts along `axis`: single slices, or of the sizes that the second operand gives."""
    data = n.tensor(0)
    if data.shape is None:
        return SequenceType(data)
    dims = list(data.shape)
    axis = axis_of(int(n.attr("axis", 0)), len(dims))
    if n.present(1):
        sizes = set(n.int_list(1) or ())
        even = len(sizes) == 1 and n.dims(1) != ()
        dims[axis] = sizes.pop() if even else n.fresh()
    elif n.attr("keepdims", 1):
        dims[axis] = 1
    else:
        del dims[axis]
    return SequenceType(n.result(data.elem_type, dims))


@infer("Optional", elem=-1)
def optional(n: NodeView) -> Type:
    """The operand, or nothing."""
    return OptionalType(n.type(0))


@infer("OptionalHasElement", kind=BOOL)
def optional_has_element(n: NodeView) -> Type:
    """Whether there is something, as a scalar."""
    return TensorType(BOOL, ())


@infer("OptionalGetElement", elem=-1)
def optional_get_element(n: NodeView) -> Type | None:
    """What there is."""
    kind = n.type(0)
    return kind.elem if isinstance(kind, OptionalType) else kind


@infer("StringConcat", kind=STRING)
def string_concat(n: NodeView) -> Type:
    """Two operands that broadcast."""
    return TensorType(STRING, broadcast(n.shapes, n.dims(0), n.dims(1)))


@infer("RegexFullMatch", kind=BOOL)
def regex_full_match(n: NodeView) -> Type:
    """A truth value for each string."""
    return TensorType(BOOL, n.dims(0))


@infer("StringSplit", kind=STRING)
def string_split(n: NodeView) -> list[Type | None]:
    """The parts of each string along a new last axis, and their number."""
    dims = n.dims(0)
    parts = None if dims is None else (*dims, n.fresh())
    return [TensorType(STRING, parts), TensorType(INT64, dims)]


@infer("ImageDecoder", kind=UINT8)
def image_decoder(n: NodeView) -> Type:
    """[height, width, channels]."""
    channels = 1 if n.text("pixel_format", "RGB") == "Grayscale" else 3
    return TensorType(UINT8, (n.fresh(), n.fresh(), channels))
