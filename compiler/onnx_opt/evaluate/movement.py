"""Kernels that move elements without looking at them, for every type: layout, shape, padding, repetition."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.evaluate.kernels import axes_of, int_list, kernel, normal_axis, require

if TYPE_CHECKING:
    from onnx_opt.ir import Node


@kernel("Identity")
def identity(node: Node, x: np.ndarray) -> np.ndarray:
    return x


@kernel("Reshape")
def reshape(node: Node, x: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
    """0 copies the dimension of the operand (unless `allowzero`), -1 takes what is left."""
    wanted = list(node.attribute("shape", [])) if node.version < 5 else int_list(shape)
    if 0 in wanted and (node.version < 14 or node.attribute("allowzero", 0) != 1):
        wanted = [x.shape[i] if dim == 0 else dim for i, dim in enumerate(wanted)]
    require(min(wanted, default=0) >= -1, f"reshape to {wanted}")
    return x.reshape(wanted)


@kernel("Flatten")
def flatten(node: Node, x: np.ndarray) -> np.ndarray:
    axis = node.attribute("axis", 1)
    require(-x.ndim <= axis <= x.ndim, f"axis {axis} of a tensor of rank {x.ndim}")
    if axis < 0:
        axis += x.ndim
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@kernel("Squeeze")
def squeeze(node: Node, x: np.ndarray, axes_operand: np.ndarray | None = None) -> np.ndarray:
    axes = axes_of(node, axes_operand)
    if axes is None:
        return x.reshape([dim for dim in x.shape if dim != 1])
    gone = {normal_axis(axis, x.ndim) for axis in axes}
    require(all(x.shape[axis] == 1 for axis in gone), f"axes {axes} of {list(x.shape)} are not all 1")
    return x.reshape([dim for axis, dim in enumerate(x.shape) if axis not in gone])


@kernel("Unsqueeze")
def unsqueeze(node: Node, x: np.ndarray, axes_operand: np.ndarray | None = None) -> np.ndarray:
    axes = axes_of(node, axes_operand)
    require(axes is not None, "no axes")
    assert axes is not None
    rank = x.ndim + len(axes)
    new = {normal_axis(axis, rank) for axis in axes}
    require(len(new) == len(axes), "an axis is named twice")
    dims = iter(x.shape)
    return x.reshape([1 if axis in new else next(dims) for axis in range(rank)])


@kernel("Transpose")
def transpose(node: Node, x: np.ndarray) -> np.ndarray:
    perm = node.attribute("perm")
    require(perm is None or sorted(perm) == list(range(x.ndim)), f"perm {perm} of a tensor of rank {x.ndim}")
    return x.transpose(perm)


@kernel("Concat", since=4)
def concat(node: Node, *parts: np.ndarray) -> np.ndarray:
    axis = normal_axis(node.attribute("axis", 0), parts[0].ndim)
    require(parts[0].ndim and all(part.dtype == parts[0].dtype for part in parts), "scalars, or types that differ")
    return np.concatenate(parts, axis)


@kernel("Split")
def split(node: Node, x: np.ndarray, sizes_operand: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    axis = normal_axis(node.attribute("axis", 0), x.ndim)
    given = int_list(sizes_operand) if sizes_operand is not None else node.attribute("split")
    sizes = list(given) if given else _even_sizes(node, x.shape[axis])
    require(len(sizes) == len(node.outputs) and min(sizes) >= 0, "as many sizes as results are needed")
    require(sum(sizes) == x.shape[axis], f"sizes {sizes} of a dimension of {x.shape[axis]}")
    ends = np.cumsum(sizes)[:-1].tolist()
    return tuple(np.split(x, ends, axis))


def _even_sizes(node: Node, dim: int) -> list[int]:
    parts = len(node.outputs)
    if node.version < 18:
        require(dim % parts == 0, f"{dim} can't be split into {parts}")
        return [dim // parts] * parts
    require(node.attribute("num_outputs", parts) == parts, "num_outputs is not the number of results")
    size = -(-dim // parts)
    require(dim > size * (parts - 1), f"{dim} can't be split into {parts}")
    return [size] * (parts - 1) + [dim - size * (parts - 1)]


@kernel("Expand")
def expand(node: Node, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Both the operand and the shape may stretch."""
    dims = int_list(shape)
    require(all(dim >= 0 for dim in dims), f"expand to {dims}")
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(dims)))


@kernel("Tile", since=6)
def tile(node: Node, x: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    times = int_list(repeats)
    require(len(times) == x.ndim and all(n >= 0 for n in times), f"repeats {times} of a tensor of rank {x.ndim}")
    return np.tile(x, times)


@kernel("Pad", since=2)
def pad(
    node: Node,
    x: np.ndarray,
    pads_operand: np.ndarray | None = None,
    value: np.ndarray | None = None,
    axes_operand: np.ndarray | None = None,
) -> np.ndarray:
    """Negative pads crop."""
    mode = node.attribute("mode", "constant")
    pads = int_list(pads_operand) if node.version >= 11 else list(node.attribute("pads"))
    axes = range(x.ndim) if axes_operand is None else [normal_axis(a, x.ndim) for a in int_list(axes_operand)]
    require(len(pads) == 2 * len(axes) and len(set(axes)) == len(axes), "pads and axes disagree")
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        widths[axis] = (pads[i], pads[i + len(axes)])
    require(all(-min(w) <= dim for w, dim in zip(widths, x.shape, strict=True)), "crops more than there is")
    cropped = x[tuple(slice(max(-a, 0), max(dim - max(-b, 0), 0)) for (a, b), dim in zip(widths, x.shape, strict=True))]
    grown = [(max(a, 0), max(b, 0)) for a, b in widths]
    if mode == "constant":
        return np.pad(cropped, grown, constant_values=_pad_value(node, x, value)) if x.ndim else x
    require(mode in {"edge", "reflect"} and all(a >= 0 <= b for a, b in widths), f"no exact kernel for mode {mode}")
    if mode == "reflect":
        require(all(max(w) < dim for w, dim in zip(widths, x.shape, strict=True)), "pads further than it can reflect")
    require(x.size, "nothing to repeat")
    return np.pad(cropped, grown, mode=mode)


def _pad_value(node: Node, x: np.ndarray, value: np.ndarray | None) -> np.ndarray:
    if node.version < 11:
        return np.asarray(node.attribute("value", 0.0), x.dtype)
    if value is None:
        require(x.dtype.kind != "O", "no value to pad strings with")
        return np.zeros((), x.dtype)
    require(value.size == 1 and value.dtype == x.dtype, "the value is no scalar of the tensor's type")
    return value.reshape(())


@kernel("Trilu")
def trilu(node: Node, x: np.ndarray, k: np.ndarray | None = None) -> np.ndarray:
    require(x.ndim >= 2 and (k is None or k.size == 1), "no matrix, or no scalar")
    diagonal = 0 if k is None else int(k.item())
    rows, columns = np.ogrid[: x.shape[-2], : x.shape[-1]]
    kept = columns - rows >= diagonal if node.attribute("upper", 1) else columns - rows <= diagonal
    return np.where(kept, x, np.zeros((), x.dtype))


def _blocks(node: Node, x: np.ndarray) -> int:
    block = int(node.attribute("blocksize"))
    require(x.ndim == 4 and block > 0, "not four dimensions")
    return block


@kernel("DepthToSpace")
def depth_to_space(node: Node, x: np.ndarray) -> np.ndarray:
    block = _blocks(node, x)
    n, c, h, w = x.shape
    require(c % (block * block) == 0, f"{c} channels are no blocks of {block}")
    depth = c // (block * block)
    if node.attribute("mode", "DCR") == "DCR":
        moved = x.reshape(n, block, block, depth, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        moved = x.reshape(n, depth, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    return moved.reshape(n, depth, h * block, w * block)


@kernel("SpaceToDepth")
def space_to_depth(node: Node, x: np.ndarray) -> np.ndarray:
    block = _blocks(node, x)
    n, c, h, w = x.shape
    require(h % block == 0 and w % block == 0, f"{h} x {w} are no blocks of {block}")
    order = (0, 3, 5, 1, 2, 4) if node.attribute("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    moved = x.reshape(n, c, h // block, block, w // block, block).transpose(order)
    return moved.reshape(n, c * block * block, h // block, w // block)
