"""Patterns that optimizers look for, each next to many that only look like it."""

from __future__ import annotations

import numpy as np
from onnx import helper

from .draw import ANY, NUMBERS, dtype_of
from .linear import batch_normalization, channels, conv, conv_transpose, gemm, image, matmul
from .movement import ints
from .registry import sampler
from .scope import Refused, Scope, Val


def per_something(scope: Scope, value: Val, axis: int) -> np.ndarray:
    """A constant for each element along `axis`, or along another one, or for all, or for each element."""
    draw = scope.draw
    if not -value.rank <= axis < value.rank:
        raise Refused("no such axis")
    sizes = [dim if dim is not None else 1 for dim in value.dims]
    forms = [[], [1], [1] * value.rank, [sizes[axis]], [sizes[-1]]]
    aligned = [sizes[axis], *[1] * (value.rank - 1 - axis % value.rank)]
    forms += [aligned, aligned, aligned, [1] * (value.rank - len(aligned)) + aligned]
    forms += [
        [1, *([1] * (value.rank - len(aligned)) + aligned)],
        sizes[-2:],
        sizes,
        [sizes[0], *[1] * (value.rank - 1)],
    ]
    dims = aligned if draw.chance(0.4) else draw.pick(forms)
    if draw.chance(0.04):
        dims = [draw.integer(2, 3) if size == 1 else size for size in dims]
    return draw.array(value.dtype, dims, draw.pick(["plain", "plain", "plain", "simple", "special"]))


def affine(scope: Scope, x: Val, axis: int) -> Val:
    """Add, Sub, Mul or Div by a constant, either way round."""
    draw = scope.draw
    op = draw.pick(["Add", "Mul", "Sub", "Div", "Add", "Mul"])
    constant = scope.const(per_something(scope, x, axis))
    return scope.node(op, [constant, x] if draw.chance(0.25) else [x, constant])


def activation(scope: Scope, x: Val) -> Val:
    draw = scope.draw
    op = draw.pick(["Relu", "Relu", "Sigmoid", "LeakyRelu", "Clip", "Tanh"])
    if op == "Clip" and scope.plan.opset >= 11:
        return scope.node("Clip", [x, scope.scalar(0, x.dtype), scope.scalar(6, x.dtype)])
    return scope.node(op, [x], **({"alpha": 0.1} if op == "LeakyRelu" else {}))


@sampler(5.0)
def linear_chain(scope: Scope) -> Val:
    """Scales and shifts before, a linear operator, then normalization, scales, shifts and activations."""
    draw = scope.draw
    kind = draw.pick(["Conv", "Conv", "Conv", "ConvTranspose", "Gemm", "MatMul", "MatMul"])
    is_image = kind.startswith("Conv")
    x = image(scope) if is_image else scope.floating(rank=2 if kind == "Gemm" else None, least=1, wide=True)
    axis = 1 if is_image else -1
    if draw.chance(0.3):
        x = affine(scope, x, axis)
    elif draw.chance(0.1) and is_image:
        x = batch_normalization(scope, x)
    elif draw.chance(0.25) and is_image:
        x = _padded(scope, x)
    y = {"Conv": conv, "ConvTranspose": conv_transpose, "Gemm": gemm, "MatMul": matmul}[kind](scope, x)
    for _ in range(draw.pick([1, 2, 2, 3])):
        step = draw.pick(["affine", "affine", "bn", "activation"])
        if step == "affine":
            y = affine(scope, y, axis)
        elif step == "bn" and y.rank >= 2:
            y = batch_normalization(scope, y)
        elif step == "activation":
            y = activation(scope, y)
    return y


def _padded(scope: Scope, x: Val) -> Val:
    draw = scope.draw
    spatial = x.rank - 2
    amounts = [0] * (2 * x.rank)
    for side in (2, x.rank + 2):
        amounts[side : side + spatial] = [
            draw.pick([0, 1, 1, 2, -1] if draw.chance(0.2) else [0, 1, 2]) for _ in range(spatial)
        ]
    if draw.chance(0.1):
        amounts[draw.integer(0, 1)] = 1
    mode = draw.pick(["constant", "constant", "constant", "constant", "edge"])
    number = draw.pick([0.0, 0.0, 0.0, -0.0, 1.0])
    if scope.plan.opset < 11:
        return scope.node("Pad", [x], mode=mode, pads=amounts, value=number)
    value = None if draw.chance(0.4) else scope.scalar(number, x.dtype)
    return scope.node("Pad", [x, ints(scope, amounts), value], mode=mode)


@sampler(3.0)
def nothing_added(scope: Scope) -> Val:
    """x + 0, x - 0, x * 1, x / 1, x ** 1, with zeros of either sign, one element off, or a constant that widens."""
    draw = scope.draw
    x = scope.pick(NUMBERS)
    op, number = draw.pick(
        [("Add", 0.0), ("Add", -0.0), ("Sub", 0.0), ("Sub", -0.0), ("Mul", 1.0), ("Div", 1.0), ("Pow", 1.0)]
    )
    dims = [1 if dim is None or draw.chance(0.5) else dim for dim in x.dims][draw.integer(0, x.rank) :]
    if draw.chance(0.1):
        dims = [1, *dims] if draw.chance(0.6) else [2, *dims]
    array = np.full(dims, number).astype(dtype_of(x.dtype))
    if draw.chance(0.15) and array.size:
        array.reshape(-1)[draw.integer(0, array.size - 1)] = np.asarray(draw.pick([-number, 2.0, number])).astype(
            array.dtype
        )
    constant = scope.const(array)
    first = (op in ("Add", "Mul") and draw.chance(0.4)) or (op == "Sub" and draw.chance(0.1))
    return scope.node(op, [constant, x] if first else [x, constant])


@sampler(2.0)
def nothing_moved(scope: Scope) -> Val:
    """Movement that changes nothing, or nearly."""
    draw = scope.draw
    x = scope.pick(ANY, least=1)
    new = scope.plan.opset >= 13
    near = int(draw.chance(0.25))
    style = draw.pick(["reshape", "expand", "tile", "transpose", "slice", "concat", "pad", "gather", "split", "cast"])
    if style == "reshape":
        wanted = [0 if dim is None or draw.chance(0.5) else dim for dim in x.dims]
        if draw.chance(0.5):
            wanted[draw.integer(0, x.rank - 1)] = -1
        return scope.node("Reshape", [x, ints(scope, wanted if not near else wanted[::-1])])
    if style == "expand":
        return scope.node("Expand", [x, ints(scope, [1] * (x.rank + near))])
    if style == "tile":
        return scope.node("Tile", [x, ints(scope, [1] * (x.rank - near) + [2] * near)])
    if style == "transpose":
        return scope.node("Transpose", [x], perm=draw.permutation(x.rank) if near else list(range(x.rank)))
    if style == "slice":
        end = 2**31 - 1 if not near else draw.integer(1, 4)
        if scope.plan.opset < 10:
            return scope.node("Slice", [x], axes=[0], starts=[0], ends=[end])
        return scope.node("Slice", [x, ints(scope, [0]), ints(scope, [end]), ints(scope, [draw.pick([0, -1])])])
    if style == "concat":
        axis = draw.integer(0, x.rank - 1)
        if None in x.dims or draw.chance(0.5):
            return scope.node("Concat", [x], axis=axis)
        dims = [near if at == axis else int(dim or 0) for at, dim in enumerate(x.dims)]
        return scope.node("Concat", [x, scope.const(np.zeros(dims, dtype_of(x.dtype)))], axis=axis)
    if style == "pad" and scope.plan.opset >= 11:
        return scope.node("Pad", [x, ints(scope, [0] * (2 * x.rank - near) + [1] * near)])
    if style == "gather" and x.dims[0]:
        order = np.arange(x.dims[0], dtype=np.int64)
        return scope.node("Gather", [x, scope.const(order[::-1].copy() if near else order)], axis=0)
    if style == "split":
        return scope.node("Split", [x], axis=0, **({"num_outputs": 1} if scope.plan.opset >= 18 else {}))
    if style == "cast" and (new or x.dtype != "bfloat16"):
        wide = {"float32": "float64", "int32": "int64", "uint8": "int32"}.get(x.dtype, x.dtype)
        there = scope.node("Cast", [x], to=kind_of(wide if near else x.dtype))
        return scope.node("Cast", [there], to=kind_of(x.dtype)) if near else there
    raise Refused(style)


def kind_of(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(dtype_of(dtype)))


@sampler(1.5)
def constants_only(scope: Scope) -> Val:
    """A small expression of constants: overflow, division by zero and NaN among them."""
    draw = scope.draw
    kind = draw.pick([*scope.plan.floats, *scope.plan.integers, "int64", "int32"])
    if kind == "bfloat16":
        raise Refused("no arithmetic")
    x = scope.const(draw.array(kind, [draw.integer(0, 3) for _ in range(draw.integer(0, 2))]))
    for _ in range(draw.integer(1, 3)):
        op = draw.pick(["Add", "Mul", "Sub", "Neg", "Abs", "Relu", "Sqrt", "Exp", "Cast", "Sign"])
        if op == "Cast":
            x = scope.node(
                "Cast", [x], to=kind_of(draw.pick(["float32", "int32", "int64", "float64", "uint8", "bool"]))
            )
        elif op in ("Add", "Mul", "Sub"):
            x = scope.node(op, [x, scope.const(draw.array(x.dtype, draw.pick([[], [1], x.shapes[0]])))])
        else:
            x = scope.node(op, [x])
    return x


@sampler(0.6)
def written_out(scope: Scope) -> Val:
    """LayerNormalization, Gelu and SiLU as exporters write them."""
    draw = scope.draw
    x = scope.pick(["float32"], least=1)
    if draw.chance(0.5):
        inner = scope.node("Mul", [x, scope.scalar(0.70710678, "float32")])
        erf = scope.node("Erf" if scope.plan.opset >= 9 else "Tanh", [inner])
        shifted = scope.node("Add", [erf, scope.scalar(1, "float32")])
        return scope.node("Mul", [scope.node("Mul", [x, scope.scalar(0.5, "float32")]), shifted])
    if draw.chance(0.4):
        return scope.node("Mul", [x, scope.node("Sigmoid", [x])])
    mean = _mean(scope, x)
    centered = scope.node("Sub", [x, mean])
    spread = _mean(scope, scope.node("Mul", [centered, centered]))
    root = scope.node("Sqrt", [scope.node("Add", [spread, scope.scalar(1e-5, "float32")])])
    return affine(scope, scope.node("Div", [centered, root]), -1)


def _mean(scope: Scope, x: Val) -> Val:
    if scope.plan.opset < 18:
        return scope.node("ReduceMean", [x], axes=[x.rank - 1])
    return scope.node("ReduceMean", [x, ints(scope, [-1])])


@sampler(0.4)
def wide_channels(scope: Scope) -> Val:
    """A convolution over an image all of whose sizes are the same, so that constants match by chance."""
    draw = scope.draw
    size = draw.pick([2, 3])
    if scope.parent is not None or scope.is_function:
        raise Refused("no inputs here")
    x = scope.input("float32", [draw.pick([size, *scope.plan.symbols]), size, size, size])
    y = conv(scope, x)
    if channels(y) > 12:
        raise Refused("large")
    return affine(scope, affine(scope, y, draw.pick([1, 2, 3])), draw.pick([1, 2, 3]))
