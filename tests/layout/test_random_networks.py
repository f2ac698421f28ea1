"""Random networks with several layouts at once: every result is the reference's, and the cost never rises."""

import random

import numpy as np
import pytest

from layout_models import Net, cost, optimized

NCHW, NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
SEEDS = range(32)


class Grower:
    """A network in the making: values with their dims, of which any may be read by what comes next."""

    def __init__(self, seed: int):
        self.draw = random.Random(seed)
        self.net = Net(seed=seed)
        self.batch = self.draw.choice([2, "N"])
        self.dims: dict[str, list] = {}
        self.keep(self.net.input("x", [self.batch, 4, 6, 4]), [self.batch, 4, 6, 4])
        if self.draw.random() < 0.5:
            self.keep(self.net.input("z", [self.batch, 5, 8]), [self.batch, 5, 8])

    def keep(self, name: str, dims: list) -> str:
        self.dims[name] = dims
        return name

    def pick(self, rank: int | None = None) -> str | None:
        """A recent value, of `rank` dims if given."""
        fitting = [name for name, dims in self.dims.items() if rank in (None, len(dims))]
        return self.draw.choice(fitting[-6:]) if fitting else None

    def op(self, kind: str, *operands, dims: list, **attrs) -> str:
        return self.keep(self.net.op(kind, *operands, **attrs), dims)

    def transpose(self, x: str, perm: list[int]) -> str:
        return self.keep(self.net.transpose(x, perm), [self.dims[x][axis] for axis in perm])

    def grow(self) -> None:
        step = self.draw.choice([conv, conv, join, join, activate, scale, reorder, concat, split, reduce, soften,
                                 excite, fold_pixels, enlarge, project, attend, pad, quantize, wrap, look_up])  # fmt: skip
        x = self.pick(4 if step in (conv, excite, fold_pixels, enlarge) else None)
        if x is not None and step(self, x) is not None and self.draw.random() < 0.1:
            self.net.output(list(self.dims)[-1])


def conv(g: Grower, x: str) -> str | None:
    n, height, width, channels = g.dims[x]
    if isinstance(channels, str):
        return None
    made = g.net.op("Conv", g.net.transpose(x, NCHW), g.net.weights(4, channels, 1, 1))
    return g.keep(g.net.transpose(made, NHWC), [n, height, width, 4])


def join(g: Grower, x: str) -> str | None:
    """Add, with another value of these dims in whatever order it has them."""
    for name in sorted(g.dims, key=lambda _: g.draw.random()):
        if name != x and sorted(map(str, g.dims[name])) == sorted(map(str, g.dims[x])):
            left, perm = list(g.dims[name]), []
            for dim in g.dims[x]:
                perm.append(left.index(dim))
                left[perm[-1]] = None
            other = name if perm == sorted(perm) else g.transpose(name, perm)
            return g.op("Add", x, other, dims=g.dims[x])
    return None


def activate(g: Grower, x: str) -> str:
    return g.op(g.draw.choice(["Relu", "Sigmoid", "Tanh", "Neg"]), x, dims=g.dims[x])


def scale(g: Grower, x: str) -> str:
    vector = g.net.weights(*[dim if g.draw.random() < 0.5 and dim != "N" else 1 for dim in g.dims[x]])
    vector = vector.reshape(vector.shape[g.draw.randrange(2) :] if vector.shape[0] == 1 else vector.shape)
    return g.op(g.draw.choice(["Mul", "Add"]), x, vector, dims=g.dims[x])


def reorder(g: Grower, x: str) -> str:
    perm = list(range(len(g.dims[x])))
    g.draw.shuffle(perm)
    return g.transpose(x, perm)


def concat(g: Grower, x: str) -> str:
    axis = g.draw.choice([axis for axis, dim in enumerate(g.dims[x]) if dim != "N"])
    dims = [2 * dim if place == axis else dim for place, dim in enumerate(g.dims[x])]
    return g.op("Concat", x, g.op("Tanh", x, dims=g.dims[x]), axis=axis, dims=dims)


def split(g: Grower, x: str) -> str | None:
    even = [axis for axis, dim in enumerate(g.dims[x]) if dim != "N" and dim > 1 and dim % 2 == 0]
    if not even:
        return None
    axis = g.draw.choice(even)
    dims = [dim // 2 if place == axis else dim for place, dim in enumerate(g.dims[x])]
    one, other = g.net.op("Split", x, outputs=2, axis=axis)
    return g.op("Mul", g.keep(one, dims), g.keep(other, dims), dims=dims)


def reduce(g: Grower, x: str) -> str | None:
    dims, keeps = g.dims[x], g.draw.random() < 0.6
    if len(dims) < 3 and not keeps:
        return None
    axes = sorted(g.draw.sample(range(1, len(dims)), g.draw.choice([1, 2]) if keeps else 1))
    left = [1 if axis in axes else dim for axis, dim in enumerate(dims) if keeps or axis not in axes]
    made = g.op("ReduceMax", x, axes=axes, keepdims=int(keeps), dims=left)
    return g.op("Sub", x, made, dims=dims) if keeps else made


def soften(g: Grower, x: str) -> str:
    return g.op("Softmax", x, axis=g.draw.randrange(len(g.dims[x])), dims=g.dims[x])


def excite(g: Grower, x: str) -> str | None:
    """Squeeze and excitation: means, reshaped to a pixel, through a convolution."""
    channels = g.dims[x][3]
    if "N" in g.dims[x][1:]:
        return None
    pixel = g.net.op("Reshape", g.net.op("ReduceMean", x, axes=[1, 2], keepdims=0), np.array([-1, 1, 1, channels]))
    gate = g.net.op("Conv", g.net.transpose(pixel, NCHW), g.net.weights(channels, channels, 1, 1))
    return g.op("Mul", x, g.net.op("Sigmoid", g.net.transpose(gate, NHWC)), dims=g.dims[x])


def fold_pixels(g: Grower, x: str) -> str | None:
    n, height, width, channels = g.dims[x]
    if "N" in g.dims[x][1:]:
        return None
    rows = g.op("Reshape", x, np.array([0, height * width, channels]), dims=[n, height * width, channels])
    y = rows if g.draw.random() < 0.5 else activate(g, rows)
    return g.op("Reshape", y, np.array([0, height, width, channels]), dims=[n, height, width, channels])


def enlarge(g: Grower, x: str) -> str | None:
    if "N" in g.dims[x][1:] or max(g.dims[x][1:]) > 16:
        return None
    n, height, width, channels = g.dims[x]
    scales = np.array([1, 2, 2, 1], np.float32)
    return g.op("Resize", x, np.zeros(0, np.float32), scales, mode="nearest", dims=[n, 2 * height, 2 * width, channels])


def project(g: Grower, x: str) -> str | None:
    *rest, last = g.dims[x]
    width = g.draw.choice([2, 8])
    return None if last == "N" else g.op("MatMul", x, g.net.weights(last, width), dims=[*rest, width])


def attend(g: Grower, x: str) -> str | None:
    """Heads by Reshape and Transpose, a product with their own transpose, and back."""
    *middle, last = g.dims[x][1:]
    if len(middle) != 1 or "N" in (*middle, last) or last % 2:
        return None
    heads = g.net.transpose(g.net.op("Reshape", x, np.array([0, 0, 2, last // 2])), [0, 2, 1, 3])
    scores = g.net.op("Softmax", g.net.op("MatMul", heads, g.net.transpose(heads, [0, 1, 3, 2])))
    mixed = g.net.transpose(g.net.op("MatMul", scores, heads), [0, 2, 1, 3])
    return g.op("Reshape", mixed, np.array([0, 0, last]), dims=g.dims[x])


def pad(g: Grower, x: str) -> str:
    """Pad and cut to where it was."""
    rank = len(g.dims[x])
    ends = [g.draw.randrange(3) for _ in range(rank)]
    wide = g.net.op("Pad", x, np.array([0] * rank + ends))
    if any(dim == "N" for dim in g.dims[x]):
        ends = [max(end, 1) for end in ends]
        wide = g.net.op("Pad", x, np.array([0] * rank + ends))
        return g.op("Slice", wide, np.zeros(rank, np.int64), -np.array(ends), dims=g.dims[x])
    return g.op("Slice", wide, np.zeros(rank, np.int64), np.array(g.dims[x]), dims=g.dims[x])


def quantize(g: Grower, x: str) -> str:
    pair = np.float32(0.05), np.int8(0)
    return g.op("DequantizeLinear", g.net.op("QuantizeLinear", x, *pair), *pair, dims=g.dims[x])


def wrap(g: Grower, x: str) -> str | None:
    """A dim of 1 comes and goes, by Unsqueeze, Transpose and Squeeze: a transpose in disguise or nothing."""
    rank = len(g.dims[x])
    if rank > 4:
        return None
    axis, other = g.draw.randrange(rank + 1), g.draw.randrange(rank + 1)
    perm = [place for place in range(rank + 1) if place != axis]
    perm.insert(other, axis)
    moved = g.net.transpose(g.net.op("Unsqueeze", x, np.array([axis])), perm)
    return g.op("Squeeze", g.net.op("Relu", moved), np.array([other]), dims=g.dims[x])


def look_up(g: Grower, x: str) -> str | None:
    axes = [axis for axis, dim in enumerate(g.dims[x]) if dim != "N"]
    axis = g.draw.choice(axes)
    dims = [2 if place == axis else dim for place, dim in enumerate(g.dims[x])]
    return g.op("Gather", x, np.array([0, g.dims[x][axis] - 1]), axis=axis, dims=dims)


def network(seed: int) -> Net:
    g = Grower(seed)
    for _ in range(g.draw.randrange(4, 16)):
        g.grow()
    g.net.output(g.op("Exp", list(g.dims)[-1], dims=[]))
    return g.net


@pytest.mark.parametrize("seed", SEEDS)
def test_the_result_is_the_same_and_the_cost_never_rises(seed):
    model = network(seed).model()
    result, _ = optimized(model)
    assert cost(result) <= cost(model)
    again, _ = optimized(result)
    assert cost(again) == cost(result)
