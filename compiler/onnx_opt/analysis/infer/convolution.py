"""Convolutions and pools: operators that slide a window over the spatial dims.

With d the size along one spatial axis, k the kernel, s the stride, t the dilation and p the two pads together:

    convolution, pool    floor((d + p - t (k - 1) - 1) / s) + 1
    transposed           s (d - 1) + output_padding + t (k - 1) + 1 - p
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnx import TensorProto

from onnx_opt.analysis.infer.registry import MICROSOFT, NodeView, Unknown, infer
from onnx_opt.shapes import Dim
from onnx_opt.types import TensorType, Type

INT32, INT64 = int(TensorProto.INT32), int(TensorProto.INT64)
_EXACT_IN_FLOAT32 = 2**24
"""ONNX Runtime rounds up through float32; past this, what it gets need not be the true quotient."""


@dataclass(frozen=True, slots=True)
class Window:
    """What slides along one axis."""

    kernel: Any
    stride: int
    dilation: int
    pad_begin: int
    pad_end: int
    auto_pad: str
    ceil_mode: bool = False

    @property
    def pads(self) -> int:
        return self.pad_begin + self.pad_end


def _windows(n: NodeView, kernel: Sequence[Any], ceil_mode: bool = False) -> list[Window]:
    rank = len(kernel)
    strides = n.ints("strides") or [1] * rank
    dilations = n.ints("dilations") or [1] * rank
    pads = n.ints("pads") or [0] * (2 * rank)
    auto_pad = n.text("auto_pad", "NOTSET") or "NOTSET"
    if auto_pad != "NOTSET":
        pads = [0] * (2 * rank)
    if not len(strides) == len(dilations) == rank or len(pads) != 2 * rank or min(strides + dilations, default=1) < 1:
        raise Unknown
    return [
        Window(kernel[i], strides[i], dilations[i], pads[i], pads[i + rank], auto_pad, ceil_mode) for i in range(rank)
    ]


def _extent(n: NodeView, window: Window) -> Dim:
    """What the dilated kernel covers: t (k - 1) + 1."""
    return n.shapes.add(n.shapes.mul(n.shapes.sub(window.kernel, 1), window.dilation), 1)


def _slide(n: NodeView, size: Any, window: Window) -> Dim:
    """The number of places that the window takes along an axis of `size`."""
    shapes = n.shapes
    if window.auto_pad in {"SAME_UPPER", "SAME_LOWER"}:
        return _slide_same(n, size, window)
    room = shapes.sub(shapes.add(size, window.pads), _extent(n, window))
    if isinstance(room, int) and room < 0:
        raise Unknown
    if not window.ceil_mode:
        return shapes.add(shapes.floordiv(room, window.stride), 1)
    return _slide_up(n, size, room, window)


def _slide_same(n: NodeView, size: Any, window: Window) -> Dim:
    """ceil(d / s), as far as padding achieves it; runtimes differ about dilated windows and those smaller than s."""
    if window.dilation != 1 or not n.shapes.at_least(window.kernel, window.stride):
        return _left_open(n, size, window)
    return n.shapes.ceildiv(size, window.stride)


def _slide_up(n: NodeView, size: Any, room: Any, window: Window) -> Dim:
    """ceil(room / s) + 1, but a window never starts past the data, which versions of the operator disagree about."""
    shapes = n.shapes
    count = shapes.add(shapes.ceildiv(room, window.stride), 1)
    exact = shapes.quotient(room, window.stride) is not None
    if window.auto_pad != "NOTSET" and not exact:
        return _left_open(n, size, window)
    if isinstance(room, int) and room >= _EXACT_IN_FLOAT32:
        return _left_open(n, size, window)
    last_start = shapes.mul(shapes.sub(count, 1), window.stride)
    starts_inside = shapes.at_least(shapes.add(size, window.pad_begin), shapes.add(last_start, 1))
    always_inside = shapes.at_least(_extent(n, window), window.pad_end + window.stride)
    return count if exact or starts_inside or always_inside else _left_open(n, size, window)


def _left_open(n: NodeView, size: Any, window: Window, extra: int = 0) -> Dim:
    """A size that the runtime chooses: the same one wherever the operator slides the same window over as much."""
    kind = ("Conv", 0) if n.node.op in ("Conv", "FusedConv") else (n.node.op, n.version)
    return n.shapes.opaque(("window", kind, size, window, extra))


def _spatial(n: NodeView, data: Sequence[Any], kernel: Sequence[Any], ceil_mode: bool = False) -> list[Dim]:
    if len(kernel) != len(data) - 2:
        raise Unknown
    windows = _windows(n, kernel, ceil_mode)
    return [_slide(n, size, window) for size, window in zip(data[2:], windows, strict=True)]


# -- convolutions ------------------------------------------------------------------------------------------------------


@infer("Conv")
@infer("FusedConv", domain=MICROSOFT)
def conv(n: NodeView) -> Type:
    """[N, C, d...] * [M, C / group, k...] -> [N, M, d'...]."""
    return _conv(n, 1, n.elem(0))


@infer("ConvInteger", kind=INT32)
def conv_integer(n: NodeView) -> Type:
    """A convolution of 8-bit integers, accumulated in 32 bits."""
    return _conv(n, 1, INT32)


@infer("QLinearConv", elem=7)
@infer("QLinearConv", domain=MICROSOFT, elem=7)
def qlinear_conv(n: NodeView) -> Type:
    """A convolution of quantized data; the zero point of the result gives its type."""
    if n.node.domain and n.attr("channels_last", 0):
        raise Unknown
    return _conv(n, 3, n.elem(7))


def _conv(n: NodeView, weight: int, elem_type: int) -> Type:
    data = n.dims(0)
    filters = n.dims(weight)
    if data is None or len(data) < 3:
        if filters is None or len(filters) < 3:
            raise Unknown
        return n.result(elem_type, (n.fresh(), filters[0], *n.unknown_dims(len(filters) - 2)))
    kernel = n.ints("kernel_shape") or (filters[2:] if filters is not None else None)
    channels = filters[0] if filters is not None else n.fresh()
    spatial = n.unknown_dims(len(data) - 2) if kernel is None else _spatial(n, data, kernel)
    return n.result(elem_type, (data[0], channels, *spatial))


@infer("ConvTranspose")
def conv_transpose(n: NodeView) -> Type:
    """[N, C, d...] and [C, M / group, k...] -> [N, M, d'...]."""
    data = n.known_dims(0)
    filters = n.dims(1)
    channels = n.shapes.mul(filters[1], int(n.attr("group", 1))) if filters is not None else n.fresh()
    kernel = n.ints("kernel_shape") or (filters[2:] if filters is not None else None)
    rank = len(data) - 2
    output_shape = n.ints("output_shape")
    if output_shape:
        spatial: Sequence[Any] = output_shape[-rank:]
    elif kernel is None or len(kernel) != rank:
        spatial = n.unknown_dims(rank)
    else:
        extra = n.ints("output_padding") or [0] * rank
        spatial = [_spread(n, *each) for each in zip(data[2:], _windows(n, kernel), extra, strict=True)]
    return n.result(n.elem(0), (data[0], channels, *spatial))


def _spread(n: NodeView, size: Any, window: Window, extra: int) -> Dim:
    shapes = n.shapes
    if window.auto_pad in {"SAME_UPPER", "SAME_LOWER"}:
        reached = shapes.at_least(shapes.add(_extent(n, window), extra), window.stride)
        return shapes.mul(size, window.stride) if reached else _left_open(n, size, window, extra)
    full = shapes.add(shapes.mul(shapes.sub(size, 1), window.stride), _extent(n, window))
    return shapes.add(full, extra - window.pads)


@infer("DeformConv")
def deform_conv(n: NodeView) -> Type:
    """A convolution whose offsets are data: dims as of Conv."""
    return _conv(n, 1, n.elem(0))


# -- pools -------------------------------------------------------------------------------------------------------------


@infer("AveragePool", "LpPool")
def pool(n: NodeView) -> TensorType:
    """[N, C, d...] -> [N, C, d'...]."""
    data = n.known_dims(0)
    kernel = n.ints("kernel_shape")
    if not kernel:
        raise Unknown
    spatial = _spatial(n, data, kernel, bool(n.attr("ceil_mode", 0)))
    return n.result(n.elem(0), (*data[:2], *spatial))


@infer("MaxPool")
def max_pool(n: NodeView) -> list[Type | None]:
    """The maxima, and where they were found."""
    kind = pool(n)
    return [kind, TensorType(INT64, kind.shape)]


@infer("QLinearAveragePool", domain=MICROSOFT)
def qlinear_average_pool(n: NodeView) -> Type:
    """A pool of quantized data."""
    if n.attr("channels_last", 0):
        raise Unknown
    return pool(n)


@infer("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(n: NodeView) -> TensorType:
    """[N, C, d...] -> [N, C, 1...]."""
    data = n.known_dims(0)
    return n.result(n.elem(0), (*data[:2], *[1] * (len(data) - 2)))


@infer("QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_global_pool(n: NodeView) -> Type:
    """A global pool of quantized data."""
    if n.attr("channels_last", 0):
        raise Unknown
    return global_pool(n)


@infer("MaxUnpool")
def max_unpool(n: NodeView) -> Type:
    """Maxima put back to where they were found."""
    data = n.known_dims(0)
    if n.present(2):
        wanted = n.elements(2)
        if wanted is None or len(wanted) != len(data):
            return n.result(n.elem(0), n.unknown_dims(len(data)))
        return n.result(n.elem(0), wanted)
    kernel = n.ints("kernel_shape") or []
    if len(kernel) != len(data) - 2:
        raise Unknown
    spatial = [_spread(n, *each, 0) for each in zip(data[2:], _windows(n, kernel), strict=True)]
    return n.result(n.elem(0), (*data[:2], *spatial))


@infer("MaxRoiPool")
def max_roi_pool(n: NodeView) -> Type:
    """[N, C, H, W] and [regions, 5] -> [regions, C, h, w]."""
    regions = n.dims(1)
    data = n.known_dims(0)
    size = n.ints("pooled_shape") or []
    if len(data) != 4 or len(size) != 2:
        raise Unknown
    return n.result(n.elem(0), (regions[0] if regions else n.fresh(), data[1], *size))


@infer("RoiAlign")
def roi_align(n: NodeView) -> Type:
    """[N, C, H, W] and [regions, 4] -> [regions, C, h, w]."""
    data, regions = n.known_dims(0), n.dims(1)
    if len(data) != 4:
        raise Unknown
    size = (int(n.attr("output_height", 1)), int(n.attr("output_width", 1)))
    return n.result(n.elem(0), (regions[0] if regions else n.fresh(), data[1], *size))


@infer("Col2Im")
def col2im(n: NodeView) -> Type:
    """[N, C * kernel, blocks] -> [N, C, image...]."""
    data, image, block = n.known_dims(0), n.elements(1), n.elements(2)
    if image is None or len(data) != 3:
        raise Unknown
    channels = n.shapes.quotient(data[1], n.shapes.product(block)) if block is not None else None
    return n.result(n.elem(0), (data[0], n.fresh() if channels is None else channels, *image))
