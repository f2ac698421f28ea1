"""Operators that arrange the same elements anew."""

from __future__ import annotations

from typing import Any

from onnx_opt.analysis.infer.elementwise import broadcast
from onnx_opt.analysis.infer.registry import MICROSOFT, NodeView, Unknown, axes_of, axis_of, infer
from onnx_opt.shapes import Dim
from onnx_opt.types import Type

_MAX_RANK = 64


@infer("Transpose")
def transpose(n: NodeView) -> Type:
    """Result dim i is operand dim perm[i]; without `perm` the dims are reversed."""
    dims = n.known_dims(0)
    perm = n.ints("perm")
    if perm is None:
        return n.result(n.elem(0), reversed(dims))
    if sorted(perm) != list(range(len(dims))):
        raise Unknown
    return n.result(n.elem(0), [dims[axis] for axis in perm])


@infer("Reshape")
def reshape(n: NodeView) -> Type:
    """The dims that the second operand (an attribute before version 5) lists; 0 copies, -1 is what is left over."""
    wanted = n.elements(1) if n.version >= 5 else n.ints("shape")
    if wanted is None:
        return n.result(n.elem(0), n.unknown_dims(vector_length(n.dims(1))))
    return n.result(n.elem(0), _reshaped(n, wanted, bool(n.attr("allowzero", 0))))


def vector_length(dims: tuple[Any, ...] | None) -> int:
    """How many elements a vector has that lists dims or axes; raises `Unknown` where that is unknown or absurd."""
    if dims is None or len(dims) != 1 or not isinstance(dims[0], int) or dims[0] > _MAX_RANK:
        raise Unknown
    return dims[0]


def _reshaped(n: NodeView, wanted: list[Any], allow_zero: bool) -> list[Dim]:
    data = n.dims(0)
    copied = {i for i, item in enumerate(wanted) if isinstance(item, int) and item == 0 and not allow_zero}
    dims = [_wanted_dim(n, data, i, item, i in copied) for i, item in enumerate(wanted)]
    open_at = [i for i, item in enumerate(wanted) if isinstance(item, int) and item == -1]
    if len(open_at) > 1:
        raise Unknown
    if not open_at:
        return _settle_last(n, data, dims)
    at = open_at[0]
    if data is not None and all(dim is not None for i, dim in enumerate(dims) if i != at):
        dims[at] = _left_over(n, list(data), [dim for i, dim in enumerate(dims) if i != at])
    return [n.fresh() if dim is None else dim for dim in dims]


def _wanted_dim(n: NodeView, data: Any, index: int, item: Any, copied: bool) -> Any:
    """One result dim, None where it is left open or unknown."""
    if copied:
        if data is None:
            return None
        if index >= len(data):
            raise Unknown
        return data[index]
    if isinstance(item, int):
        return item if item >= 0 else None
    if n.shapes.positive_unless_empty(item):
        return item
    unmoved = data is not None and index < len(data) and item == data[index]
    return item if unmoved and n.shapes.at_least(item, 0) else None


def _left_over(n: NodeView, data: list[Any], others: list[Any]) -> Dim | None:
    """The dim that -1 stands for: what the other dims leave of the elements."""
    shapes = n.shapes
    for other in list(others):  # equal dims cancel, whatever they are
        at = next((i for i, dim in enumerate(data) if dim is other or dim == other), None)
        if at is not None and other != 0:
            del data[at]
            others.remove(other)
    total, divisor = shapes.product(data), shapes.product(others)
    if divisor == 1:
        return total
    if isinstance(total, int) and isinstance(divisor, int):
        return shapes.quotient(total, divisor)
    return None if divisor == 0 else shapes.floordiv(total, divisor)


def _settle_last(n: NodeView, data: Any, dims: list[Any]) -> list[Dim]:
    """If one dim alone is unknown, the number of elements tells it."""
    unknown = [i for i, dim in enumerate(dims) if dim is None]
    if len(unknown) == 1 and data is not None:
        at = unknown[0]
        others = [dim for dim in dims if dim is not None]
        if all(n.shapes.positive_unless_empty(other) for other in others):
            dims[at] = _left_over(n, list(data), others)
    return [n.fresh() if dim is None else dim for dim in dims]


@infer("Flatten")
def flatten(n: NodeView) -> Type:
    """[product of the dims before `axis`, product of the others]."""
    dims = n.dims(0)
    axis = int(n.attr("axis", 1))
    if dims is None:
        return n.result(n.elem(0), n.unknown_dims(2))
    if not -len(dims) <= axis <= len(dims):
        raise Unknown
    at = axis + len(dims) if axis < 0 else axis
    return n.result(n.elem(0), (n.shapes.product(dims[:at]), n.shapes.product(dims[at:])))


def _axes(n: NodeView) -> list[int] | None:
    """The axes of Squeeze and Unsqueeze, an operand since version 13; None where they are not given or unknown."""
    return n.ints("axes") if n.version < 13 else n.int_list(1)


@infer("Squeeze")
def squeeze(n: NodeView) -> Type:
    """Drops dims of 1: those on `axes`, else all of them."""
    dims = n.known_dims(0)
    axes = _axes(n)
    if axes is None and n.version >= 13 and n.present(1):
        raise Unknown
    if axes is None:
        if not all(isinstance(dim, int) or n.shapes.at_least(dim, 2) for dim in dims):
            raise Unknown
        return n.result(n.elem(0), [dim for dim in dims if dim != 1])
    dropped = {axis_of(axis, len(dims)) for axis in axes}
    return n.result(n.elem(0), [dim for axis, dim in enumerate(dims) if axis not in dropped])


@infer("Unsqueeze")
def unsqueeze(n: NodeView) -> Type:
    """Puts dims of 1 at `axes` of the result."""
    dims = n.known_dims(0)
    axes = _axes(n)
    if axes is None:
        return n.result(n.elem(0), n.unknown_dims(len(dims) + vector_length(n.dims(1))))
    rank = len(dims) + len(axes)
    added = set(axes_of(axes, rank))
    rest = iter(dims)
    return n.result(n.elem(0), [1 if axis in added else next(rest) for axis in range(rank)])


@infer("DepthToSpace")
def depth_to_space(n: NodeView) -> Type:
    """[N, C, H, W] -> [N, C / b^2, b H, b W]."""
    batch, channels, height, width, block = _blocked(n)
    shapes = n.shapes
    left = shapes.quotient(channels, block * block)
    depth = shapes.floordiv(channels, block * block) if left is None and not isinstance(channels, int) else left
    return n.result(n.elem(0), (batch, _known(depth), shapes.mul(height, block), shapes.mul(width, block)))


@infer("SpaceToDepth")
def space_to_depth(n: NodeView) -> Type:
    """[N, C, H, W] -> [N, b^2 C, H / b, W / b]."""
    batch, channels, height, width, block = _blocked(n)
    shapes = n.shapes
    return n.result(
        n.elem(0),
        (batch, shapes.mul(channels, block * block), shapes.floordiv(height, block), shapes.floordiv(width, block)),
    )


def _blocked(n: NodeView) -> tuple[Any, Any, Any, Any, int]:
    dims = n.known_dims(0)
    block = int(n.attr("blocksize", 0))
    if len(dims) != 4 or block < 1:
        raise Unknown
    return (*dims, block)


def _known(dim: Any) -> Any:
    if dim is None:
        raise Unknown
    return dim


@infer("Tile")
def tile(n: NodeView) -> Type:
    """Each dim times its repeat count."""
    dims = n.known_dims(0)
    repeats = n.elements(1)
    if repeats is None or len(repeats) != len(dims):
        return n.result(n.elem(0), n.unknown_dims(len(dims)))
    return n.result(n.elem(0), [n.shapes.mul(dim, times) for dim, times in zip(dims, repeats, strict=True)])


@infer("Expand")
def expand(n: NodeView) -> Type:
    """The operand broadcast to the dims that the second operand lists."""
    dims = n.known_dims(0)
    wanted = n.elements(1)
    if wanted is None:
        raise Unknown
    if any(isinstance(item, int) and item < 0 for item in wanted):
        raise Unknown
    return n.result(n.elem(0), broadcast(n.shapes, dims, wanted))


@infer("NhwcMaxPool", "NhwcConv", domain=MICROSOFT)
def unknown_layout(n: NodeView) -> Type:
    """Channels-last operators of ONNX Runtime's own: only the rank is certain."""
    return n.result(n.elem(0), n.unknown_dims(len(n.known_dims(0))))
