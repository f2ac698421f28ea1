"""Channels-last networks as TensorFlow's converter writes them before its own optimizer: a Transpose before and after
each operator that ONNX defines channels first, biases and everything else in NHWC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from builder import BOOL, FLOAT, Builder, value
from onnx import helper

NCHW, NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
SIDE, CHANNELS = 32, 16
IMAGE = ("batch", SIDE, SIDE, 3)
OPSET = 17  # the converter writes no newer one than 18


def first(build: Builder, op: str, x: str, *operands: str, **attributes: Any) -> str:
    """An operator that wants its channels first, between two Transposes."""
    made = build.node(op, build.node("Transpose", x, perm=NCHW), *operands, **attributes)
    return build.node("Transpose", made, perm=NHWC)


def conv(build: Builder, x: str, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> str:
    """Conv, then the bias of BatchNormalization or of the layer in NHWC."""
    scale = (2.0 / (inputs // groups * kernel**2)) ** 0.5
    weight = build.normal(outputs, inputs // groups, kernel, kernel, scale=scale)
    made = first(build, "Conv", x, weight, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)
    return build.node("Add", made, build.normal(outputs, scale=0.1))


def batch_norm(build: Builder, x: str, channels: int) -> str:
    scaled = build.node("Mul", x, build.normal(channels, scale=0.1, mean=1.0))
    return build.node("Add", scaled, build.normal(channels, scale=0.1))


def mean(build: Builder, x: str) -> str:
    """Over height and width."""
    return build.node("ReduceMean", x, axes=[1, 2], keepdims=0)


def residual(build: Builder, x: str, channels: int) -> str:
    y = build.node("Relu", batch_norm(build, conv(build, x, channels, channels), channels))
    return build.node("Relu", build.node("Add", x, conv(build, y, channels, channels)))


def squeeze_excite(build: Builder, x: str, channels: int) -> str:
    """As in EfficientNet: the mean is reshaped to one pixel and goes through two convolutions."""
    pixel = build.node("Reshape", mean(build, x), build.integers(-1, 1, 1, channels))
    hidden = conv(build, pixel, channels, 4, kernel=1)
    hidden = build.node("Mul", hidden, build.node("Sigmoid", hidden))
    return build.node("Mul", x, build.node("Sigmoid", conv(build, hidden, 4, channels, kernel=1)))


def separable(build: Builder, x: str, channels: int) -> str:
    """Explicit padding in NHWC, a depthwise convolution, a pointwise one, activations written as Clip."""
    pads = build.integers(0, 1, 1, 0, 0, 1, 1, 0)
    y = build.node("Slice", build.node("Pad", x, pads), *(build.integers(*n) for n in ((1, 1), (-1, -1), (1, 2))))
    y = conv(build, y, channels, channels, groups=channels)
    y = build.node("Clip", y, build.scalar(0.0), build.scalar(6.0))
    return conv(build, y, channels, channels, kernel=1)


def finish(build: Builder, name: str, y: str, *shape: int | str) -> onnx.ModelProto:
    build.rename_last("y")
    return build.model(name, [value("x", FLOAT, *IMAGE)], [value("y", FLOAT, *shape)])


def resnet(blocks: int) -> onnx.ModelProto:
    build = Builder(opset=OPSET)
    y = conv(build, "x", 3, CHANNELS)
    for _ in range(blocks):
        y = residual(build, y, CHANNELS)
    return finish(build, "nhwc-resnet", mean(build, y), "batch", CHANNELS)


def senet(blocks: int) -> onnx.ModelProto:
    """Separable convolutions with squeeze and excitation, a Softmax over the classes of each pixel."""
    build = Builder(opset=OPSET)
    y = conv(build, "x", 3, CHANNELS, stride=2)
    for _ in range(blocks):
        y = build.node("Add", y, squeeze_excite(build, separable(build, y, CHANNELS), CHANNELS))
    y = build.node("Softmax", conv(build, y, CHANNELS, 4, kernel=1), axis=-1)
    return finish(build, "nhwc-senet", y, "batch", SIDE // 2, SIDE // 2, 4)


def unet(levels: int) -> onnx.ModelProto:
    """Pooling down, resizing up, each level joined by Concat."""
    build = Builder(opset=OPSET)
    y, skips = conv(build, "x", 3, CHANNELS), []
    for _ in range(levels):
        y = residual(build, y, CHANNELS)
        skips.append(y)
        y = first(build, "MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    for skip in reversed(skips):
        scales = build.weight(np.array([1, 2, 2, 1], np.float32))
        y = build.node("Resize", y, "", scales, mode="nearest")
        y = conv(build, build.node("Concat", y, skip, axis=-1), 2 * CHANNELS, CHANNELS)
        y = build.node("Relu", y)
    return finish(build, "nhwc-unet", y, "batch", SIDE, SIDE, CHANNELS)


def ssd(scales: int) -> onnx.ModelProto:
    """Heads at several scales, each reshaped to a list of boxes: what mixes pixels and channels must be in NHWC."""
    build, lists = Builder(opset=OPSET), []
    y = conv(build, "x", 3, CHANNELS)
    for _ in range(scales):
        y = build.node("Relu", conv(build, residual(build, y, CHANNELS), CHANNELS, CHANNELS, stride=2))
        lists.append(build.node("Reshape", conv(build, y, CHANNELS, 12), build.integers(0, -1, 4)))
    boxes = build.node("Concat", *lists, axis=1)
    return finish(build, "nhwc-ssd", build.node("Sigmoid", boxes), "batch", "boxes", 4)


def quantized(build: Builder, x: str) -> str:
    step, zero = build.weight(np.array(0.05, np.float32)), build.weight(np.array(0, np.int8))
    return build.node("DequantizeLinear", build.node("QuantizeLinear", x, step, zero), step, zero)


def quantized_weights(build: Builder, *shape: int) -> str:
    drawn = build.weight(build.random.integers(-100, 100, shape, dtype=np.int8))
    steps = build.weight(np.linspace(0.002, 0.004, shape[0], dtype=np.float32))
    return build.node("DequantizeLinear", drawn, steps, build.weight(np.zeros(shape[0], np.int8)), axis=0)


def qdq(blocks: int) -> onnx.ModelProto:
    """Residual blocks with 8-bit weights per channel and 8-bit activations per tensor."""
    build = Builder(opset=OPSET)
    y = quantized(build, conv(build, quantized(build, "x"), 3, CHANNELS))
    for _ in range(blocks):
        made = first(build, "Conv", y, quantized_weights(build, CHANNELS, CHANNELS, 3, 3), pads=[1] * 4)
        made = build.node("Relu", build.node("Add", made, build.normal(CHANNELS, scale=0.1)))
        y = quantized(build, build.node("Add", quantized(build, made), y))
    return finish(build, "nhwc-qdq", mean(build, y), "batch", CHANNELS)


def conditional(count: int) -> onnx.ModelProto:
    """If nodes in NHWC: one branch is a residual block, the other one scales. Each branch captures what is outside."""
    build = Builder(opset=OPSET)
    y = conv(build, "x", 3, CHANNELS)
    shape = ("batch", SIDE, SIDE, CHANNELS)
    for index in range(count):
        name = f"If_{index}"
        inner = build.branch(f"{name}.")
        out = value(residual(inner, y, CHANNELS), FLOAT, *shape)
        then = helper.make_graph(inner.nodes, "then", [], [out])
        scaled = helper.make_node("Mul", [y, build.normal(CHANNELS, mean=1.0)], [f"{name}.scaled"], name=f"{name}.Mul")
        other = helper.make_graph([scaled], "else", [], [value(f"{name}.scaled", FLOAT, *shape)])
        build.nodes.append(helper.make_node("If", ["deep"], [name], name=name, then_branch=then, else_branch=other))
        y = residual(build, name, CHANNELS)
    mean(build, y)
    build.rename_last("y")
    inputs = [value("x", FLOAT, *IMAGE), value("deep", BOOL)]
    return build.model("nhwc-if", inputs, [value("y", FLOAT, "batch", CHANNELS)])


def function(blocks: int) -> onnx.ModelProto:
    """Residual blocks as calls of a local function, its weights as operands."""
    inside = Builder(opset=OPSET)
    y = "x"
    for index in (0, 1):
        y = inside.node("Add", first(inside, "Conv", y, f"w{index}", pads=[1] * 4), f"b{index}")
        y = inside.node("Relu", y) if index == 0 else inside.node("Relu", inside.node("Add", y, "x"))
    operands = ["x", "w0", "b0", "w1", "b1"]
    opsets = [helper.make_opsetid("", OPSET)]
    block = helper.make_function("nhwc", "Residual", operands, [y], inside.nodes, opsets)
    build = Builder(opset=OPSET)
    y = conv(build, "x", 3, CHANNELS)
    for _ in range(blocks):
        kernels = [build.normal(CHANNELS, CHANNELS, 3, 3, scale=0.08) for _ in range(2)]
        biases = [build.normal(CHANNELS, scale=0.1) for _ in range(2)]
        y = build.node("Residual", y, kernels[0], biases[0], kernels[1], biases[1], domain="nhwc")
    mean(build, y)
    build.rename_last("y")
    outputs = [value("y", FLOAT, "batch", CHANNELS)]
    model = build.model("nhwc-function", [value("x", FLOAT, *IMAGE)], outputs)
    model.functions.append(block)
    model.opset_import.append(helper.make_opsetid("nhwc", 1))
    return model


def region(nodes: int) -> onnx.ModelProto:
    """One region of `nodes` nodes: additions of earlier values, activations, Concat and Split in NHWC; now and then one
    leaves to a pool or comes from a Conv, so that no layout suits them all."""
    build = Builder(opset=OPSET)
    recent = [conv(build, "x", 3, CHANNELS)]
    means = []
    while len(build.nodes) < nodes:
        draw = build.random.random()
        x, other = recent[-1], recent[int(build.random.integers(len(recent)))]
        if draw < 0.02:
            means.append(first(build, "GlobalMaxPool", x))
        elif draw < 0.04:
            recent.append(conv(build, x, CHANNELS, CHANNELS, kernel=1))
        elif draw < 0.5:
            recent.append(build.node("Add", x, other))
        elif draw < 0.6:
            joined = build.node("Concat", x, other, axis=-1)
            recent.append(build.node("Split", joined, outputs=2, axis=-1))
        else:
            recent.append(build.node("Tanh", x))
        recent = recent[-5:]
    y = build.node("Sum", first(build, "GlobalMaxPool", recent[-1]), *means)
    return finish(build, "nhwc-region", y, "batch", 1, 1, CHANNELS)


def vit(layers: int, heads: int = 4) -> onnx.ModelProto:
    """Attention over patches: heads by Reshape and Transpose, keys transposed once more, tokens back to an image."""
    build = Builder(opset=OPSET)
    y = first(build, "Conv", "x", build.normal(CHANNELS, 3, 4, 4, scale=0.2), strides=[4, 4])
    y = build.node("Reshape", y, build.integers(0, -1, CHANNELS))
    for _ in range(layers):
        query, key, values = (_heads(build, y, heads) for _ in range(3))
        scores = build.node("MatMul", query, build.node("Transpose", key, perm=[0, 1, 3, 2]))
        mixed = build.node("MatMul", build.node("Softmax", scores, axis=-1), values)
        mixed = build.node("Transpose", mixed, perm=[0, 2, 1, 3])
        mixed = build.node("Reshape", mixed, build.integers(0, -1, CHANNELS))
        y = build.node("Add", y, _linear(build, mixed))
    side = SIDE // 4
    image = build.node("Reshape", y, build.integers(0, side, side, CHANNELS))
    return finish(build, "vit", mean(build, conv(build, image, CHANNELS, CHANNELS)), "batch", CHANNELS)


def _linear(build: Builder, x: str) -> str:
    product = build.node("MatMul", x, build.normal(CHANNELS, CHANNELS, scale=CHANNELS**-0.5))
    return build.node("Add", product, build.normal(CHANNELS, scale=0.1))


def _heads(build: Builder, x: str, heads: int) -> str:
    split = build.node("Reshape", _linear(build, x), build.integers(0, -1, heads, CHANNELS // heads))
    return build.node("Transpose", split, perm=[0, 2, 1, 3])


NETWORKS: dict[str, Callable[[int], onnx.ModelProto]] = {
    "nhwc-resnet": resnet,
    "nhwc-senet": senet,
    "nhwc-unet": unet,
    "nhwc-ssd": ssd,
    "nhwc-qdq": qdq,
    "nhwc-if": conditional,
    "nhwc-function": function,
    "nhwc-region": region,
    "vit": vit,
}
