"""Convolutional networks as they are published, but for their widths: every block has `width` channels or a multiple.

Small images, few blocks, random weights: what counts is how blocks are wired.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from builder import FLOAT, Builder, value
from generate import batch_norm, convolution

CLASSES = 10
SIDE = 32


def conv(
    build: Builder,
    x: str,
    channels: tuple[int, int],
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    bias: bool = True,
) -> str:
    """A plain Conv that keeps the size of the image."""
    scale = (2.0 * groups / (channels[0] * kernel**2)) ** 0.5
    weight = build.normal(channels[1], channels[0] // groups, kernel, kernel, scale=scale)
    operands = [x, weight, *([build.normal(channels[1], scale=0.1)] if bias else [])]
    return build.node("Conv", *operands, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)


def grouped(build: Builder, x: str, channels: int, groups: int, stride: int = 1) -> str:
    """A 3x3 Conv in groups with BatchNormalization."""
    return batch_norm(build, conv(build, x, (channels, channels), 3, stride, groups, bias=False), channels, spread=0.1)


def relu(build: Builder, x: str) -> str:
    return build.node("Relu", x)


def silu(build: Builder, x: str) -> str:
    return build.node("Mul", x, build.node("Sigmoid", x))


def classifier(build: Builder, x: str, channels: int) -> str:
    flat = build.node("Flatten", build.node("GlobalAveragePool", x))
    return build.node("Gemm", flat, build.normal(CLASSES, channels, scale=0.1), build.normal(CLASSES), transB=1)


def finished(
    build: Builder, name: str, outputs: dict[str, tuple[int | str, ...]], side: int | str = SIDE
) -> onnx.ModelProto:
    infos = [value(output, FLOAT, *dims) for output, dims in outputs.items()]
    return build.model(name, [value("image", FLOAT, "N", 3, side, side)], infos)


def resnet(width: int) -> onnx.ModelProto:
    """Basic blocks (He et al., 2016)."""
    build = Builder()
    x, channels = relu(build, convolution(build, "image", (3, width), 3)), width
    for stage, blocks in enumerate((2, 2)):
        wide = width << stage
        for block in range(blocks):
            stride = 2 if stage and block == 0 else 1
            y = relu(build, convolution(build, x, (channels, wide), 3, stride))
            y = convolution(build, y, (wide, wide), 3)
            short = x if channels == wide else convolution(build, x, (channels, wide), 1, stride)
            x, channels = relu(build, build.node("Add", y, short)), wide
    return finished(build, "resnet", {classifier(build, x, channels): ("N", CLASSES)})


def inverted(build: Builder, x: str, channels: tuple[int, int], stride: int, excite: bool) -> str:
    """MobileNetV2's block, with squeeze and excite as in EfficientNet where asked for."""
    wide, activate = 3 * channels[0], silu if excite else relu6
    y = activate(build, convolution(build, x, (channels[0], wide), 1))
    y = activate(build, grouped(build, y, wide, wide, stride))
    if excite:
        small = max(channels[0] // 4, 1)
        gate = silu(build, conv(build, build.node("GlobalAveragePool", y), (wide, small)))
        y = build.node("Mul", y, build.node("Sigmoid", conv(build, gate, (small, wide))))
    y = convolution(build, y, (wide, channels[1]), 1)
    return build.node("Add", x, y) if stride == 1 and channels[0] == channels[1] else y


def relu6(build: Builder, x: str) -> str:
    return build.node("Clip", x, build.scalar(0.0), build.scalar(6.0))


def mobilenet(width: int, excite: bool = False) -> onnx.ModelProto:
    build = Builder()
    x, channels = relu6(build, convolution(build, "image", (3, width), 3, 2)), width
    for wide, stride in ((width, 1), (width + width // 2, 2), (width + width // 2, 1), (2 * width, 1)):
        x, channels = inverted(build, x, (channels, wide), stride, excite), wide
    x = relu6(build, convolution(build, x, (channels, 4 * width), 1))
    return finished(build, "mobilenet", {classifier(build, x, 4 * width): ("N", CLASSES)})


def efficientnet(width: int) -> onnx.ModelProto:
    """MobileNetV2's blocks with squeeze and excite and SiLU (Tan and Le, 2019)."""
    return mobilenet(width, excite=True)


def shufflenet(width: int) -> onnx.ModelProto:
    """ShuffleNetV2 (Ma et al., 2018): split, transform one half, concatenate, shuffle."""
    build, half = Builder(), width
    x = relu(build, convolution(build, "image", (3, 2 * half), 3, 2))
    for _ in range(3):
        keep = build.node("Split", x, build.integers(half, half), outputs=2, axis=1)
        other = keep.removesuffix("0") + "1"
        y = relu(build, convolution(build, other, (half, half), 1))
        y = relu(build, convolution(build, grouped(build, y, half, half), (half, half), 1))
        x = build.node("Concat", keep, y, axis=1)
        side = SIDE // 2
        x = build.node("Reshape", x, build.integers(-1, 2, half, side, side))
        x = build.node("Transpose", x, perm=[0, 2, 1, 3, 4])
        x = build.node("Reshape", x, build.integers(-1, 2 * half, side, side))
    return finished(build, "shufflenet", {classifier(build, x, 2 * half): ("N", CLASSES)})


def unet(width: int) -> onnx.ModelProto:
    """U-Net (Ronneberger et al., 2015): transposed convolutions up, concatenated with what came down; any size."""
    build, skips = Builder(), []
    x, channels = "image", 3
    for depth in range(3):
        wide = width << depth
        x = relu(build, convolution(build, x, (channels, wide), 3))
        x, channels = relu(build, convolution(build, x, (wide, wide), 3)), wide
        if depth < 2:
            skips.append((x, channels))
            x = build.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    for skip, wide in reversed(skips):
        weight = build.normal(channels, wide, 2, 2, scale=0.2)
        up = build.node("ConvTranspose", x, weight, build.normal(wide), strides=[2, 2])
        x = build.node("Concat", up, skip, axis=1)
        x, channels = relu(build, convolution(build, x, (2 * wide, wide), 3)), wide
    mask = build.node("Sigmoid", conv(build, x, (channels, 3)))
    return finished(build, "unet", {mask: ("N", 3, SIDE, SIDE)})


def c2f(build: Builder, x: str, channels: tuple[int, int], blocks: int) -> str:
    """YOLOv8's cross-stage block: split, a chain of bottlenecks, everything concatenated."""
    half = channels[1] // 2
    y = silu(build, convolution(build, x, (channels[0], 2 * half), 1))
    first = build.node("Split", y, build.integers(half, half), outputs=2, axis=1)
    parts = [first, first.removesuffix("0") + "1"]
    for _ in range(blocks):
        y = silu(build, convolution(build, parts[-1], (half, half), 3))
        parts.append(build.node("Add", parts[-1], silu(build, convolution(build, y, (half, half), 3))))
    y = build.node("Concat", *parts, axis=1)
    return silu(build, convolution(build, y, ((2 + blocks) * half, channels[1]), 1))


def yolov8(width: int) -> onnx.ModelProto:
    """Backbone, pyramid pooling, one level up, a head with box distribution and classes (Jocher et al., 2023)."""
    build, classes, bins = Builder(), width, 16
    x = silu(build, convolution(build, "image", (3, width), 3, 2))
    low = c2f(build, x, (width, 2 * width), 2)
    x = silu(build, convolution(build, low, (2 * width, 2 * width), 3, 2))
    x = silu(build, convolution(build, x, (2 * width, width), 1))
    pools = [x]
    for _ in range(3):
        pools.append(build.node("MaxPool", pools[-1], kernel_shape=[5, 5], pads=[2] * 4))
    x = silu(build, convolution(build, build.node("Concat", *pools, axis=1), (4 * width, 2 * width), 1))
    up = build.node("Resize", x, "", build.weight(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    x = c2f(build, build.node("Concat", up, low, axis=1), (4 * width, width), 1)
    box = conv(build, silu(build, convolution(build, x, (width, width), 3)), (width, 4 * bins))
    score = conv(build, silu(build, convolution(build, x, (width, width), 3)), (width, classes))
    side = (SIDE // 2) ** 2
    joined = build.node("Concat", box, score, axis=1)
    flat = build.node("Reshape", joined, build.integers(-1, 4 * bins + classes, side))
    boxes = build.node("Split", flat, build.integers(4 * bins, classes), outputs=2, axis=1)
    scores = build.node("Sigmoid", boxes.removesuffix("0") + "1")
    bins_last = build.node(
        "Transpose", build.node("Reshape", boxes, build.integers(-1, 4, bins, side)), perm=[0, 2, 1, 3]
    )
    weights = build.node("Softmax", bins_last, axis=1)
    mean = build.weight(np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1))
    distances = build.node("Reshape", build.node("Conv", weights, mean), build.integers(-1, 4, side))
    found = build.node("Concat", distances, scores, axis=1)
    return finished(build, "yolov8", {found: ("N", 4 + classes, side)})


def ghost(build: Builder, x: str, channels: tuple[int, int], active: bool) -> str:
    """GhostNet's module (Han et al., 2020): half of the channels from the other half by a depthwise Conv."""
    first = (channels[1] + 1) // 2
    y = convolution(build, x, (channels[0], first), 1)
    y = relu(build, y) if active else y
    cheap = grouped(build, y, first, first)
    both = build.node("Concat", y, relu(build, cheap) if active else cheap, axis=1)
    ends = (build.integers(0), build.integers(channels[1]), build.integers(1))
    return build.node("Slice", both, *ends) if 2 * first > channels[1] else both


def ghostnet(width: int) -> onnx.ModelProto:
    build = Builder()
    x, channels = relu(build, convolution(build, "image", (3, width), 3, 2)), width
    for wide in (width, width, width + width // 2):
        y = ghost(build, ghost(build, x, (channels, 3 * width), True), (3 * width, wide), False)
        short = (
            x if wide == channels else convolution(build, grouped(build, x, channels, channels), (channels, wide), 1)
        )
        x, channels = build.node("Add", y, short), wide
    return finished(build, "ghostnet", {classifier(build, x, channels): ("N", CLASSES)})


def regnet(width: int) -> onnx.ModelProto:
    """RegNetX blocks (Radosavovic et al., 2020): grouped convolutions, `width` channels in each of four groups."""
    build, wide = Builder(), 4 * width
    x, channels = relu(build, convolution(build, "image", (3, width), 3, 2)), width
    for block in range(3):
        stride = 2 if block == 0 else 1
        y = relu(build, convolution(build, x, (channels, wide), 1))
        y = convolution(build, relu(build, grouped(build, y, wide, 4, stride)), (wide, wide), 1)
        short = x if block else convolution(build, x, (channels, wide), 1, stride)
        x, channels = relu(build, build.node("Add", y, short)), wide
    return finished(build, "regnet", {classifier(build, x, channels): ("N", CLASSES)})


NETWORKS: dict[str, Callable[[int], onnx.ModelProto]] = {
    make.__name__: make for make in (resnet, mobilenet, efficientnet, shufflenet, unet, yolov8, ghostnet, regnet)
}
WIDTHS = (3, 10, 20, 37, 63)
