"""What the channel tests share: random convolutional graphs of whole numbers, and the pass on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime

from layout_models import Net
from onnx_opt.ir import load, to_bytes
from onnx_opt.passes import PassContext
from onnx_opt.pipeline import Pipeline
from onnx_opt.target import find_target


def padded(
    model: onnx.ModelProto, options: str = "multiple=8", target: str = "portable"
) -> tuple[onnx.ModelProto, Any]:
    """The model after the pass, checked, and the context of the run."""
    context = PassContext(target=find_target(target))
    graph = load(model)
    Pipeline.parse(f"pad-channels{{{options}}}" if options else "pad-channels").run(graph, context)
    result = onnx.ModelProto.FromString(to_bytes(graph))
    onnx.checker.check_model(result, full_check=True)
    return result, context


def rows(context: PassContext) -> dict[str, list[str]]:
    """What the pass reports, by layer."""
    table = context.journal.tables.get("pad-channels")
    return {row[0].partition(" ")[0]: row[1:] for row in table.rows} if table else {}


def outputs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What ONNX Runtime computes with its own optimizations off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    found: list[np.ndarray] = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    return found


def expect_equal(before: onnx.ModelProto, after: onnx.ModelProto, seed: int = 0) -> None:
    """Both give the same bits on whole numbers, on an image of the declared size and on others where it is symbolic."""
    random = np.random.default_rng(seed)
    for batch, size in ((1, 8), (2, 12)):
        feeds = {}
        for value in before.graph.input:
            names = {"N": batch, "H": size, "W": size}
            dims = [names.get(d.dim_param, d.dim_value) for d in value.type.tensor_type.shape.dim]
            feeds[value.name] = random.integers(-3, 4, dims).astype(np.float32)
        for one, other in zip(outputs(before, feeds), outputs(after, feeds), strict=True):
            np.testing.assert_array_equal(one, other)


class RandomNet(Net):
    """A convolutional graph of whole numbers: `grow` adds a random operator behind one of its images."""

    def __init__(self, seed: int):
        super().__init__(opset=17, seed=seed)
        self.static = bool(self.random.integers(2))
        spatial = [8, 8] if self.static else ["H", "W"]
        self.channels = {self.input("x", ["N", self.pick(1, 3, 5, 8), *spatial]): 0}
        self.channels["x"] = self.inputs[0].type.tensor_type.shape.dim[1].dim_value

    def pick(self, *items: Any) -> Any:
        return items[self.random.integers(len(items))]

    def whole(self, *dims: int) -> np.ndarray:
        return self.random.integers(-2, 3, dims).astype(np.float32)

    def image(self) -> str:
        """One of the latest images, so that graphs grow deep."""
        names = list(self.channels)[-4:]
        return str(self.pick(*names))

    def add(self, kind: str, channels: int, *operands: Any, **attrs: Any) -> str:
        result = self.op(kind, *operands, **attrs)
        self.channels[result] = channels
        return str(result)

    def grow(self) -> None:
        getattr(self, self.pick(*(name for name in dir(self) if name.startswith("grow_"))))()

    def grow_conv(self) -> None:
        x, wide = self.image(), self.pick(3, 5, 6, 10, 12)
        kernel = self.pick(1, 3)
        bias = [self.whole(wide)] if self.random.integers(2) else []
        pads = [kernel // 2] * 4
        self.add("Conv", wide, x, self.whole(wide, self.channels[x], kernel, kernel), *bias, pads=pads)

    grow_another_conv = grow_conv

    def grow_grouped(self) -> None:
        x = self.image()
        count = self.channels[x]
        groups = self.pick(*(g for g in range(1, count + 1) if count % g == 0))
        wide = groups * self.pick(1, 2, 3)
        self.add("Conv", wide, x, self.whole(wide, count // groups, 3, 3), self.whole(wide), group=groups, pads=[1] * 4)

    def grow_transposed(self) -> None:
        x = self.image()
        count = self.channels[x]
        groups = self.pick(*(g for g in range(1, count + 1) if count % g == 0))
        each = self.pick(1, 2, 5)
        weight = self.whole(count, each, 3, 3)
        self.add("ConvTranspose", groups * each, x, weight, group=groups, pads=[1] * 4)

    def grow_unary(self) -> None:
        x = self.image()
        kind = self.pick("Relu", "Neg", "Abs", "Identity", "Sign", "Exp", "Reciprocal")
        y = self.add(kind, self.channels[x], x)
        if kind in ("Exp", "Reciprocal"):  # what they make of padding matters, what they make of channels is not whole
            self.channels[self.op("Sign", y)] = self.channels.pop(y)

    def grow_per_channel(self) -> None:
        x = self.image()
        kind = self.pick("Add", "Mul", "Sub", "PRelu", "Max")
        self.add(kind, self.channels[x], x, self.whole(self.channels[x], 1, 1))

    def grow_scalar(self) -> None:
        x = self.image()
        self.add(self.pick("Add", "Mul", "Max"), self.channels[x], x, self.whole(1))

    def grow_sum(self) -> None:
        x = self.image()
        same = [name for name, count in self.channels.items() if count == self.channels[x]]
        self.add(self.pick("Add", "Sub", "Max"), self.channels[x], x, self.pick(*same))

    grow_another_sum = grow_sum

    def grow_concat(self) -> None:
        parts = [self.image() for _ in range(self.pick(2, 3))]
        self.add("Concat", sum(self.channels[part] for part in parts), *parts, axis=1)

    def grow_split(self) -> None:
        x = self.image()
        if self.channels[x] < 2:
            return
        cut = int(self.random.integers(1, self.channels[x]))
        sizes = [cut, self.channels[x] - cut]
        parts = self.op("Split", x, np.array(sizes, np.int64), outputs=2, axis=1)
        self.channels.update(zip(parts, sizes, strict=True))

    def grow_slice(self) -> None:
        x = self.image()
        start = int(self.random.integers(0, self.channels[x]))
        end = int(self.random.integers(start + 1, self.channels[x] + 1))
        lists = (np.array([item], np.int64) for item in (start, end, 1))
        self.add("Slice", end - start, x, *lists)

    def grow_gather(self) -> None:
        x = self.image()
        picked = self.random.integers(0, self.channels[x], self.pick(2, 5))
        self.add("Gather", len(picked), x, picked, axis=1)

    def grow_shuffle(self) -> None:
        x = self.image()
        count = self.channels[x]
        groups = self.pick(*(g for g in range(1, count + 1) if count % g == 0))
        sizes = [8, 8] if self.static else None
        if sizes is None:
            return
        wide = self.op("Reshape", x, np.array([-1, groups, count // groups, *sizes], np.int64))
        turned = self.op("Transpose", wide, perm=[0, 2, 1, 3, 4])
        self.add("Reshape", count, turned, np.array([-1, count, *sizes], np.int64))

    def grow_depth(self) -> None:
        x = self.image()
        deep = self.op("SpaceToDepth", x, blocksize=2)
        wide = self.pick(4, 8, 12)
        mixed = self.op("Conv", deep, self.whole(wide, 4 * self.channels[x], 1, 1))
        self.add("DepthToSpace", wide // 4, mixed, blocksize=2, mode=self.pick("DCR", "CRD"))

    def grow_gate(self) -> None:
        """Squeeze and excite, with whole numbers."""
        x = self.image()
        count = self.channels[x]
        pooled = self.op("GlobalMaxPool", x)
        small = self.op("Relu", self.op("Conv", pooled, self.whole(3, count, 1, 1), self.whole(3)))
        gate = self.op("Sign", self.op("Conv", small, self.whole(count, 3, 1, 1), self.whole(count)))
        self.add("Mul", count, x, gate)

    def grow_pool(self) -> None:
        x = self.image()
        self.add("MaxPool", self.channels[x], x, kernel_shape=[3, 3], pads=[1] * 4)

    def grow_border(self) -> None:
        x = self.image()
        wide = self.op("Pad", x, np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.float32(self.pick(0, 1)))
        self.add("MaxPool", self.channels[x], wide, kernel_shape=[3, 3])

    def grow_scaled_scores(self) -> None:
        """Softmax over the channels fixes them."""
        x = self.image()
        self.add("Sign", self.channels[x], self.op("Softmax", x, axis=1))

    def grow_channels_last(self) -> None:
        """MatMul over the channels, which are last there."""
        x = self.image()
        last = self.op("Transpose", x, perm=[0, 2, 3, 1])
        wide = self.pick(3, 6, 10)
        made = self.op("Add", self.op("MatMul", last, self.whole(self.channels[x], wide)), self.whole(wide))
        self.add("Transpose", wide, made, perm=[0, 3, 1, 2])

    def finish(self) -> onnx.ModelProto:
        """One or two images come out, one of them through a classifier."""
        x = self.image()
        if self.static and self.random.integers(2):
            flat = self.op("Flatten", x)
            self.output(self.op("Gemm", flat, self.whole(self.channels[x] * 64, 7), self.whole(7)))
        else:
            total = self.op("ReduceSum", x, np.array([2, 3], np.int64), keepdims=0)
            self.output(self.op("MatMul", total, self.whole(self.channels[x], 5)))
        self.output(list(self.channels)[-1] if list(self.channels)[-1] != "x" else self.op("Identity", "x"))
        return self.model()


def random_model(seed: int, size: int = 12) -> onnx.ModelProto:
    """A random convolutional graph of whole numbers, the same for the same seed."""
    net = RandomNet(seed)
    for _ in range(size):
        net.grow()
    return net.finish()
