"""Models made on the spot: `python bench/generate.py SPEC OUT`, the same bytes every time.

\b
    chain:N              N nodes of Conv, BatchNormalization, Relu
    transformer:N        N nodes of a transformer, batch and sequence dynamic, shapes computed as exporters write them
    transformer-typed:N  the same, with the type and shape of every value declared
    resnet50[:SIDE]      the real sizes, random weights, 1x3xSIDExSIDE (224)
    mlp:SIZE             a multilayer perceptron of SIZE (100M, 1.5G) bytes of weights in the model file
    mlp-external:SIZE    the same, weights in a file of their own beside it
    subgraphs:N          N If nodes in a row, some nested, some with a constant condition, and a Loop
    line:N               N elementwise nodes in a row, nothing to rewrite
    users:N              one value with N users
    nested:N             N If nodes, each in a branch of the one before
    nhwc-resnet:N, nhwc-senet:N, nhwc-unet:N, nhwc-ssd:N, nhwc-qdq:N, nhwc-if:N, nhwc-function:N
                         N blocks or levels of a network in NHWC, as TensorFlow's converter writes it at first
    nhwc-region:N        N nodes in NHWC that hang together, between few operators that want their channels first
    vit:N                N layers of attention over patches of an image in NHWC
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click
import extremes
import numpy as np
import onnx
import onnx.shape_inference
from big_weights import write_mlp
from builder import BOOL, FLOAT, INT64, Builder, value
from channels_last import NETWORKS
from onnx import helper


def batch_norm(build: Builder, x: str, channels: int, spread: float, gain: float = 1.0) -> str:
    """BatchNormalization in inference mode, close to a factor `gain`: deep stacks neither vanish nor explode."""
    scale = build.normal(channels, scale=gain * spread, mean=gain)
    bias, mean = build.normal(channels, scale=spread), build.normal(channels, scale=spread)
    variance = build.weight((1 + spread * build.random.random(channels)).astype(np.float32))
    return build.node("BatchNormalization", x, scale, bias, mean, variance)


def chain(nodes: int) -> onnx.ModelProto:
    """Conv, BatchNormalization, Relu in a row; each Conv permutes its channels and adds a little of the others."""
    build, x, channels = Builder(), "x", 8
    for index in range(nodes):
        if index % 3 == 0:
            kernel = build.random.standard_normal((channels, channels, 3, 3)).astype(np.float32) * 1e-3
            kernel[np.arange(channels), build.random.permutation(channels), 1, 1] += 1
            x = build.node("Conv", x, build.weight(kernel), pads=[1, 1, 1, 1])
        elif index % 3 == 1:
            x = batch_norm(build, x, channels, spread=0.01)
        else:
            x = build.node("Relu", x)
    build.rename_last("y")
    shape = (1, channels, 16, 16)
    return build.model("chain", [value("x", FLOAT, *shape)], [value("y", FLOAT, *shape)])


HIDDEN, HEADS = 32, 4  # small: what grows here is the graph


def layer_norm(build: Builder, x: str) -> str:
    """Written out, as exporters below opset 17 do."""
    centred = build.node("Sub", x, build.node("ReduceMean", x, build.integers(-1)))
    variance = build.node("ReduceMean", build.node("Pow", centred, build.scalar(2.0)), build.integers(-1))
    deviation = build.node("Sqrt", build.node("Add", variance, build.scalar(1e-5)))
    scaled = build.node("Mul", build.node("Div", centred, deviation), build.normal(HIDDEN, scale=0.1, mean=1.0))
    return build.node("Add", scaled, build.normal(HIDDEN, scale=0.1))


def linear(build: Builder, x: str, columns: int, rows: int) -> str:
    product = build.node("MatMul", x, build.normal(columns, rows, scale=columns**-0.5))
    return build.node("Add", product, build.normal(rows, scale=0.1))


def dim(build: Builder, x: str, axis: int) -> str:
    """One dim of `x` as a tensor of one element, by Shape, Gather and Unsqueeze."""
    size = build.node("Gather", build.node("Shape", x), build.integers(axis, rank=0), axis=0)
    return build.node("Unsqueeze", size, build.integers(0))


def heads(build: Builder, x: str) -> str:
    """(batch, sequence, hidden) -> (batch, heads, sequence, hidden / heads)."""
    tail = (build.integers(HEADS), build.integers(HIDDEN // HEADS))
    shape = build.node("Concat", dim(build, x, 0), dim(build, x, 1), *tail, axis=0)
    return build.node("Transpose", build.node("Reshape", x, shape), perm=[0, 2, 1, 3])


def attention(build: Builder, x: str) -> str:
    query, key, values = (heads(build, linear(build, x, HIDDEN, HIDDEN)) for _ in range(3))
    scores = build.node("MatMul", query, build.node("Transpose", key, perm=[0, 1, 3, 2]))
    width = build.node("Sqrt", build.scalar(HIDDEN / HEADS))
    weights = build.node("Softmax", build.node("Div", scores, width), axis=-1)
    merged = build.node("Transpose", build.node("MatMul", weights, values), perm=[0, 2, 1, 3])
    shape = build.node("Concat", dim(build, merged, 0), dim(build, merged, 1), build.integers(HIDDEN), axis=0)
    return linear(build, build.node("Reshape", merged, shape), HIDDEN, HIDDEN)


def gelu(build: Builder, x: str) -> str:
    inner = build.node("Erf", build.node("Div", x, build.scalar(2**0.5)))
    product = build.node("Mul", x, build.node("Add", inner, build.scalar(1.0)))
    return build.node("Mul", product, build.scalar(0.5))


def transformer(nodes: int) -> onnx.ModelProto:
    """Whole layers until there are at least `nodes` nodes (a layer has about a hundred)."""
    build, x = Builder(), "x"
    while len(build.nodes) < nodes:
        x = build.node("Add", x, attention(build, layer_norm(build, x)))
        hidden = gelu(build, linear(build, layer_norm(build, x), HIDDEN, 2 * HIDDEN))
        x = build.node("Add", x, linear(build, hidden, 2 * HIDDEN, HIDDEN))
    build.rename_last("y")
    shape = ("batch", "sequence", HIDDEN)
    return build.model("transformer", [value("x", FLOAT, *shape)], [value("y", FLOAT, *shape)])


def transformer_typed(nodes: int) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(transformer(nodes))


def convolution(
    build: Builder, x: str, channels: tuple[int, int], kernel: int, stride: int = 1, gain: float = 1.0
) -> str:
    """Conv without bias and BatchNormalization, padded to keep the size, weights scaled by fan-in (He et al., 2015)."""
    scale = (2.0 / (channels[0] * kernel**2)) ** 0.5
    weight = build.normal(channels[1], channels[0], kernel, kernel, scale=scale)
    pads = [kernel // 2] * 4
    x = build.node("Conv", x, weight, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
    return batch_norm(build, x, channels[1], spread=0.1, gain=gain)


def bottleneck(build: Builder, x: str, channels: int, width: int, stride: int) -> str:
    y = build.node("Relu", convolution(build, x, (channels, width), 1))
    y = build.node("Relu", convolution(build, y, (width, width), 3, stride))
    y = convolution(build, y, (width, 4 * width), 1, gain=0.2)
    shortcut = x if channels == 4 * width else convolution(build, x, (channels, 4 * width), 1, stride)
    return build.node("Relu", build.node("Add", y, shortcut))


def resnet50(side: int = 224) -> onnx.ModelProto:
    """ResNet-50 v1.5 (He et al., 2016; stride in the 3x3 convolution) as exported with its BatchNormalization kept."""
    build = Builder()
    x = build.node("Relu", convolution(build, "image", (3, 64), 7, stride=2))
    x = build.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            x = bottleneck(build, x, channels, width, stride=2 if stage and block == 0 else 1)
            channels = 4 * width
    x = build.node("Flatten", build.node("GlobalAveragePool", x))
    build.node("Gemm", x, build.normal(1000, channels, scale=0.02), build.normal(1000, scale=0.02), transB=1)
    build.rename_last("logits")
    return build.model("resnet50", [value("image", FLOAT, 1, 3, side, side)], [value("logits", FLOAT, 1, 1000)])


def branch(build: Builder, name: str, x: str, op: str, inner: onnx.NodeProto | None = None) -> onnx.GraphProto:
    """A branch that captures `x` and a weight of the main graph, with a node `inner` before its last one if given."""
    source = inner.output[0] if inner else x
    last = helper.make_node(op, [source, build.normal(4, scale=0.1, mean=0.5)], [f"{name}.out"], name=f"{name}.{op}")
    nodes = [inner, last] if inner else [last]
    return helper.make_graph(nodes, name, [], [value(f"{name}.out", FLOAT, "batch", 4)])


def conditional(build: Builder, name: str, x: str, condition: str, depth: int) -> onnx.NodeProto:
    inner = conditional(build, f"{name}.nested", x, condition, depth - 1) if depth else None
    branches = {
        "then_branch": branch(build, f"{name}.then", x, "Add", inner),
        "else_branch": branch(build, f"{name}.else", x, "Mul"),
    }
    return helper.make_node("If", [condition], [f"{name}.0"], name=name, **branches)


def counted_loop(build: Builder, x: str) -> str:
    """Three times x <- Tanh(x + captured weight)."""
    nodes = [
        helper.make_node("Identity", ["loop.on"], ["loop.again"], name="loop.Identity"),
        helper.make_node("Add", ["loop.in", build.normal(4, scale=0.1)], ["loop.sum"], name="loop.Add"),
        helper.make_node("Tanh", ["loop.sum"], ["loop.out"], name="loop.Tanh"),
    ]
    inputs = [value("loop.i", INT64), value("loop.on", BOOL), value("loop.in", FLOAT, "batch", 4)]
    body = helper.make_graph(nodes, "loop", inputs, [value("loop.again", BOOL), value("loop.out", FLOAT, "batch", 4)])
    return build.node("Loop", build.integers(3, rank=0), "", x, body=body)


def subgraphs(count: int) -> onnx.ModelProto:
    """Every fifth If has a constant condition, every third holds another one in its then branch."""
    build, x = Builder(), "x"
    constant = build.weight(np.array(True))
    for index in range(count):
        condition = constant if index % 5 == 4 else "condition"
        build.nodes.append(conditional(build, f"If_{index}", x, condition, depth=int(index % 3 == 2)))
        x = f"If_{index}.0"
    counted_loop(build, x)
    build.rename_last("y")
    inputs = [value("x", FLOAT, "batch", 4), value("condition", BOOL)]
    return build.model("subgraphs", inputs, [value("y", FLOAT, "batch", 4)])


GRAPHS: dict[str, tuple[Callable[[int], onnx.ModelProto], int | None]] = {
    "chain": (chain, None),
    "transformer": (transformer, None),
    "transformer-typed": (transformer_typed, None),
    "resnet50": (resnet50, 224),
    "subgraphs": (subgraphs, None),
    **{name: (make, None) for name, make in NETWORKS.items()},
}
EXTREMES: dict[str, Callable[[int], bytes]] = {
    "line": extremes.line,
    "users": extremes.users,
    "nested": extremes.nested,
}
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def size_of(text: str) -> int:
    """`1.5G` -> 1500000000. Raises click.BadParameter on anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)", text.upper())
    if not match:
        raise click.BadParameter(f"{text!r} is not a size; write 6000, 100M or 1.5G")
    return int(float(match[1]) * UNITS[match[2]])


def generate(spec: str, path: Path) -> None:
    """Write the model that `spec` names to `path`. Raises click.BadParameter when it names none."""
    kind, _, argument = spec.partition(":")
    if kind in ("mlp", "mlp-external"):
        write_mlp(path, size_of(argument), external=kind == "mlp-external")
        return
    if kind in EXTREMES:
        path.write_bytes(EXTREMES[kind](size_of(argument)))
        return
    if kind not in GRAPHS:
        known = ", ".join([*GRAPHS, *EXTREMES, "mlp", "mlp-external"])
        raise click.BadParameter(f"no generator is called {kind!r}; there are {known}")
    make, default = GRAPHS[kind]
    if not argument and default is None:
        raise click.BadParameter(f"{kind} needs a number: {kind}:300")
    model = make(size_of(argument) if argument else int(default or 0))
    path.write_bytes(model.SerializeToString(deterministic=True))


@click.command(help=__doc__)
@click.argument("spec")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def main(spec: str, out: Path) -> None:
    generate(spec, out)


if __name__ == "__main__":
    main()
