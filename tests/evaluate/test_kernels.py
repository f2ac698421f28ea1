"""Every numpy kernel against ONNX Runtime: NaN, infinities, signed zeros, denormals, extreme integers, empty, 0-d."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from onnx_opt.evaluate import evaluate, kernels
from onnx_opt.ir import load

Instance = tuple[list[np.ndarray | None], dict[str, Any]]
"""Operands and attributes; attributes may hold `version` and `results`."""

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def i64(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def samples(dtype: Any, rng: np.random.Generator, count: int = 24) -> np.ndarray:
    """The values of a type at which implementations differ, then random ones."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, count).astype(bool)
    if dtype.kind == "O":
        return rng.choice(np.array(["", "a", "ß", "long string"], object), count)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        extremes = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, 5, 7]
        extremes += [-1, -2, -7] if dtype.kind == "i" else []
        return np.concatenate([np.array(extremes, dtype), rng.integers(info.min, info.max, count, dtype)])
    info = ml_dtypes.finfo(dtype)
    special = [0.0, -0.0, np.nan, np.inf, -np.inf, 0.5, 1.5, 2.5, -0.5, -1.5, 1, -1, 3, -7]
    special += [float(info.smallest_subnormal), -float(info.smallest_subnormal), float(info.tiny), float(info.max)]
    return np.concatenate([np.array(special), rng.standard_normal(count) * 100]).astype(dtype)


def pairs(dtype: Any, rng: np.random.Generator) -> Iterator[list[np.ndarray]]:
    """Operands of every pair of samples, broadcast; then scalars, empty, and ranks that differ."""
    x = samples(dtype, rng)
    yield [x[:, None], x[None, :]]
    yield [x[5], x[6]]
    yield [x[:0], x[:1]]
    yield [x[:6].reshape(2, 3), x[:3]]


def unary(dtypes: tuple[Any, ...], **attrs: Any) -> Callable[[np.random.Generator], Iterator[Instance]]:
    def make(rng: np.random.Generator) -> Iterator[Instance]:
        for dtype in dtypes:
            x = samples(dtype, rng)
            for operand in (x, x[:6].reshape(2, 3), x[0], x[:0]):
                yield [np.asarray(operand)], attrs

    return make


def binary(dtypes: tuple[Any, ...], **attrs: Any) -> Callable[[np.random.Generator], Iterator[Instance]]:
    def make(rng: np.random.Generator) -> Iterator[Instance]:
        for dtype in dtypes:
            for a, b in pairs(dtype, rng):
                yield [np.asarray(a), np.asarray(b)], attrs

    return make


def division(**attrs: Any) -> Callable[[np.random.Generator], Iterator[Instance]]:
    """Integer pairs that have a quotient."""

    def make(rng: np.random.Generator) -> Iterator[Instance]:
        for dtype in INTEGERS:
            x = samples(dtype, rng)
            divisors, dividends = x[x != 0], x[x != np.iinfo(dtype).min] if np.dtype(dtype).kind == "i" else x
            yield [dividends[:, None], divisors[None, :]], attrs
            yield [np.asarray(dividends[3]), np.asarray(divisors[4])], attrs
            yield [np.array(np.iinfo(dtype).min, dtype), np.array(3, dtype)], attrs

    return make


def several(dtypes: tuple[Any, ...]) -> Callable[[np.random.Generator], Iterator[Instance]]:
    def make(rng: np.random.Generator) -> Iterator[Instance]:
        for dtype in dtypes:
            x = samples(dtype, rng)
            yield [x], {}
            yield [x[:, None], x[None, :], x[3].reshape(())], {}
            yield [x[:, None], x[None, :], x[None, ::-1], x[:1]], {"version": 13}

    return make


def both(*makers: Callable[[np.random.Generator], Iterator[Instance]]) -> Callable[..., Iterator[Instance]]:
    def make(rng: np.random.Generator) -> Iterator[Instance]:
        for maker in makers:
            yield from maker(rng)

    return make


def of_each_type(*instances: Callable[[Any], Instance]) -> Callable[[np.random.Generator], Iterator[Instance]]:
    """Instances made of a tensor of 2 x 3 x 4 elements, in several types, strings too."""

    def make(rng: np.random.Generator) -> Iterator[Instance]:
        for dtype in ("float32", "float16", "int64", "uint8", "bool", "O"):
            x = np.resize(samples(dtype, rng), 24).reshape(2, 3, 4)
            for instance in instances:
                yield instance(x)

    return make


def casts(rng: np.random.Generator) -> Iterator[Instance]:
    for source in (*FLOATS, *INTEGERS, "bool"):
        x = samples(source, rng, 500)
        fits = x[np.abs(x.astype(np.float64)) < 100]
        for target in (*FLOATS, *INTEGERS, "bool"):
            to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
            yield [fits], {"to": to}
            if np.dtype(source).kind != "f" or np.dtype(target).kind in "fb":
                yield [x], {"to": to}


def rounding_casts(rng: np.random.Generator) -> Iterator[Instance]:
    """Numbers between two half-precision ones, where rounding twice and rounding once differ."""
    halves = rng.uniform(-60000, 60000, 4000).astype(np.float16).astype(np.float64)
    for nudge in (1 + 2**-11, 1 + 2**-11 + 2**-40, 1 + 2**-11 - 2**-40):
        yield [halves * nudge], {"to": TensorProto.FLOAT16}
    yield [rng.integers(-70000, 70000, 4000)], {"to": TensorProto.FLOAT16}
    yield [rng.integers(-(2**62), 2**62, 4000)], {"to": TensorProto.FLOAT}


def pads(rng: np.random.Generator) -> Iterator[Instance]:
    for dtype in ("float32", "int64", "uint8", "bool"):
        x = np.resize(samples(dtype, rng), 24).reshape(2, 3, 4)
        fill = np.asarray(x[0, 0, 2])
        yield [x, i64(0, 1, 2, 1, 0, 3)], {}
        yield [x, i64(0, 1, 2, 1, 0, 3), fill], {}
        yield [x, i64(0, -1, 2, 1, 0, -3), fill], {"version": 13}
        yield [x, i64(1, 2, 0, 3), fill, i64(-1, 0)], {"version": 18}
        yield [x, i64(0, 1, 2, 1, 0, 3)], {"mode": "edge", "version": 13}
        yield [x, i64(0, 1, 2, 1, 0, 3)], {"mode": "reflect", "version": 13}
    yield [samples("float32", rng)[:6].reshape(2, 3)], {"pads": [1, 0, 2, 3], "value": 1.5, "version": 2}


def wheres(rng: np.random.Generator) -> Iterator[Instance]:
    for dtype in ("float32", "int64", "uint8", "O"):
        x = np.resize(samples(dtype, rng), 12).reshape(3, 4)
        yield [rng.integers(0, 2, (3, 4)).astype(bool), x, x[::-1].copy()], {}
        yield [rng.integers(0, 2, (2, 1, 4)).astype(bool), x, np.asarray(x[0, 0])], {}


def reductions(rng: np.random.Generator) -> Iterator[Instance]:
    for dtype, limit in itertools.product(("int32", "int64"), (3, 2**30)):
        x = rng.integers(-limit, limit, (2, 3, 4)).astype(dtype)
        for keepdims in (0, 1):
            yield [x, i64(0, -1)], {"keepdims": keepdims}
            yield [x], {"keepdims": keepdims}
            yield [x], {"keepdims": keepdims, "axes": [1], "version": 11}
        yield [x, i64()], {"noop_with_empty_axes": 1}


def shifts(direction: str) -> Callable[[np.random.Generator], Iterator[Instance]]:
    def make(rng: np.random.Generator) -> Iterator[Instance]:
        for dtype in ("uint8", "uint16", "uint32", "uint64"):
            x = samples(dtype, rng)
            by = np.arange(np.dtype(dtype).itemsize * 8).astype(dtype)
            yield [x[:, None], by[None, :]], {"direction": direction, "version": 11}

    return make


def clips(rng: np.random.Generator) -> Iterator[Instance]:
    for dtype in ("int8", "int32", "int64", "uint8", "uint64"):
        x = samples(dtype, rng)
        low, high = np.array(2, dtype), np.array(5, dtype)
        yield from (([x, low, high], {}), ([x, None, high], {}), ([x, low], {}), ([x, high, low], {}), ([x], {}))


def ranges(rng: np.random.Generator) -> Iterator[Instance]:
    for dtype in ("int16", "int32", "int64"):
        for start, limit, delta in ((0, 10, 3), (10, 0, -3), (5, 5, 1), (7, 3, 2), (-4, 5, 1)):
            yield [np.array(bound, dtype) for bound in (start, limit, delta)], {}
    yield [np.array(bound, np.int64) for bound in (2**62, 2**62 + 3, 1)], {}


def slices(x: np.ndarray) -> Iterator[Instance]:
    far = 2**62
    for starts, ends, axes, steps in (
        ((0, 1), (2, 3), (1, 2), (1, 1)),
        ((-2,), (far,), (-1,), (1,)),
        ((-1,), (-far,), (2,), (-1,)),
        ((far,), (0,), (1,), (-2,)),
        ((3,), (1,), (2,), (1,)),
        ((-far, 1), (far, -1), (0, 2), (1, 2)),
        ((2,), (-4,), (1,), (-1,)),
    ):
        yield [x, i64(*starts), i64(*ends), i64(*axes), i64(*steps)], {}
    yield [x, i64(0, 1), i64(1, 9)], {}
    yield [x], {"starts": [0, -2], "ends": [1, 99], "axes": [0, 2], "version": 1}
    yield [x[:0], i64(-1), i64(-far), i64(0), i64(-1)], {}


def of_slices(rng: np.random.Generator) -> Iterator[Instance]:
    for dtype in ("float32", "int64", "bool", "O"):
        yield from slices(np.resize(samples(dtype, rng), 24).reshape(2, 3, 4))


def constants(rng: np.random.Generator) -> Iterator[Instance]:
    yield [], {"value": numpy_helper.from_array(samples("float32", rng))}
    yield [], {"value_int": 7}
    yield [], {"value_ints": [7, -1]}
    yield [], {"value_float": 0.1}
    yield [], {"value_floats": [0.1, float("inf")]}


def constants_of_shape(rng: np.random.Generator) -> Iterator[Instance]:
    for shape in (i64(2, 3), i64(), i64(0, 3), i64(4)):
        yield [shape], {}
        for filler in (np.array([-0.0], np.float16), np.array([7], np.int64), np.array([True])):
            yield [shape], {"value": numpy_helper.from_array(filler)}


def one_hots(rng: np.random.Generator) -> Iterator[Instance]:
    indices = np.array([[0, 2, -1], [5, -9, 1]], np.int64)
    for axis in (-1, 0, 1):
        yield [indices, np.array(4, np.int64), np.array([-0.0, 2.5], np.float32)], {"axis": axis}
    yield [indices, i64(4), i64(3, 9)], {}


F, I = FLOATS, INTEGERS  # noqa: E741
MAKERS: dict[str, Callable[[np.random.Generator], Iterator[Instance]]] = {
    "Abs": unary(F + I),
    "Add": binary(F + I),
    "And": binary(("bool",)),
    "BitShift": both(shifts("LEFT"), shifts("RIGHT")),
    "BitwiseAnd": binary(I),
    "BitwiseNot": unary(I),
    "BitwiseOr": binary(I),
    "BitwiseXor": binary(I),
    "Cast": both(casts, rounding_casts),
    "CastLike": lambda rng: iter([([samples("int64", rng), np.zeros(1, np.float32)], {})]),
    "Ceil": unary(F),
    "Clip": clips,
    "Compress": of_each_type(
        lambda x: ([x, np.array([True, False, True])], {"axis": 1}),
        lambda x: ([x, np.array([False, True])], {"axis": -1}),
        lambda x: ([x, np.array([True, False, True])], {}),
    ),
    "Concat": of_each_type(
        lambda x: ([x, x[:, :1]], {"axis": 1}),
        lambda x: ([x, x[:, :, :0], x], {"axis": -1}),
        lambda x: ([x], {"axis": 0, "version": 4}),
    ),
    "Constant": constants,
    "ConstantOfShape": constants_of_shape,
    "DepthToSpace": of_each_type(
        lambda x: ([np.tile(x.reshape(1, 4, 2, 3), (2, 2, 1, 1))], {"blocksize": 2}),
        lambda x: ([np.tile(x.reshape(1, 4, 2, 3), (2, 2, 1, 1))], {"blocksize": 2, "mode": "CRD"}),
    ),
    "Div": both(binary(F), division()),
    "Equal": binary((*F, *I, "bool")),
    "Expand": of_each_type(
        lambda x: ([x[:, :1], i64(5, 1, 3, 4)], {}),
        lambda x: ([x, i64(3, 1)], {}),
        lambda x: ([x[0, 0, :1], i64(2, 0)], {}),
    ),
    "EyeLike": lambda rng: iter(
        ([np.zeros((3, 4), np.float32)], {"k": k, **({"dtype": kind} if kind else {})})
        for k in (0, 1, -2)
        for kind in (0, TensorProto.INT64)
    ),
    "Flatten": of_each_type(*(lambda x, axis=axis: ([x], {"axis": axis}) for axis in (0, 1, 3, -1))),
    "Floor": unary(F),
    "Gather": of_each_type(
        lambda x: ([x, np.array([[0, -1], [2, 1]])], {"axis": 1}),
        lambda x: ([x, np.array(-1)], {"axis": 2}),
        lambda x: ([x, np.array([], np.int32)], {}),
    ),
    "GatherElements": of_each_type(
        lambda x: ([x, np.array([[[0, -1], [2, 1]]])], {"axis": 2}),
        lambda x: ([x, np.array([[[2]], [[-3]]], np.int32)], {"axis": 1}),
    ),
    "Greater": binary(F + I),
    "GreaterOrEqual": binary(F + I),
    "Identity": of_each_type(lambda x: ([x], {})),
    "IsInf": both(
        unary(F),
        unary(F, detect_negative=0),
        unary(F, detect_positive=0),
        unary(F, detect_positive=0, detect_negative=0),
    ),
    "IsNaN": unary(F),
    "Less": binary(F + I),
    "LessOrEqual": binary(F + I),
    "Max": several(I),
    "Min": several(I),
    "Mod": both(division(), division(fmod=1), binary(F, fmod=1)),
    "Mul": binary(F + I),
    "Neg": unary((*F, "int8", "int32", "int64")),
    "NonZero": of_each_type(lambda x: ([x], {}), lambda x: ([x[0, 0]], {}), lambda x: ([x[:0]], {})),
    "Not": unary(("bool",)),
    "OneHot": one_hots,
    "Or": binary(("bool",)),
    "Pad": pads,
    "Range": ranges,
    "Reciprocal": unary(F),
    "ReduceMax": reductions,
    "ReduceMin": reductions,
    "ReduceProd": reductions,
    "ReduceSum": reductions,
    "Reshape": of_each_type(
        lambda x: ([x, i64(-1, 2)], {}),
        lambda x: ([x, i64(0, 0, 2, -1)], {}),
        lambda x: ([x[:0], i64(0, 12)], {"version": 13}),
        lambda x: ([x[:0], i64(3, 0)], {"allowzero": 1}),
        lambda x: ([x], {"shape": [4, 0, -1], "version": 1}),
    ),
    "Round": unary(F),
    "Shape": of_each_type(
        lambda x: ([x], {}),
        lambda x: ([x], {"start": -2}),
        lambda x: ([x], {"start": 1, "end": -1}),
        lambda x: ([x], {"start": 2, "end": 1}),
        lambda x: ([x], {"start": -9, "end": 9}),
    ),
    "Sign": unary(F + I),
    "Size": of_each_type(lambda x: ([x], {})),
    "Slice": of_slices,
    "SpaceToDepth": of_each_type(lambda x: ([np.tile(x.reshape(1, 3, 2, 4), (2, 1, 1, 1))], {"blocksize": 2})),
    "Split": of_each_type(
        lambda x: ([x, i64(1, 3)], {"axis": 2, "results": 2}),
        lambda x: ([x], {"axis": -1, "results": 2, "version": 13}),
        lambda x: ([x], {"axis": 1, "num_outputs": 2, "results": 2}),
        lambda x: ([x], {"axis": 1, "split": [1, 2], "results": 2, "version": 2}),
    ),
    "Sqrt": unary(F),
    "Squeeze": of_each_type(
        lambda x: ([x[:1, :, :1]], {}),
        lambda x: ([x[:1, :, :1], i64(-1)], {}),
        lambda x: ([x[:1, :, :1]], {"axes": [0, 2], "version": 11}),
    ),
    "Sub": binary(F + I),
    "Sum": several(F),
    "Tile": of_each_type(lambda x: ([x, i64(2, 1, 3)], {}), lambda x: ([x, i64(1, 0, 1)], {})),
    "Transpose": of_each_type(
        lambda x: ([x], {}), lambda x: ([x], {"perm": [2, 0, 1]}), lambda x: ([x[:0]], {"perm": [1, 2, 0]})
    ),
    "Trilu": of_each_type(
        lambda x: ([x], {}),
        lambda x: ([x, np.array(1)], {"upper": 0}),
        lambda x: ([x, np.array(-1)], {"upper": 1}),
    ),
    "Unsqueeze": of_each_type(
        lambda x: ([x, i64(0, -1)], {}),
        lambda x: ([x, i64(3, 1)], {}),
        lambda x: ([x], {"axes": [1, 2], "version": 11}),
    ),
    "Where": wheres,
    "Xor": binary(("bool",)),
}


def test_every_kernel_has_instances() -> None:
    assert sorted(kernels.covered()) == sorted(MAKERS)


@pytest.mark.parametrize("op", sorted(MAKERS))
def test_kernel_equals_onnxruntime(op: str, node_model: Any, node_graph: Any, reference: Any, equal_bits: Any) -> None:
    compared = 0
    for operands, settings in MAKERS[op](np.random.default_rng(sum(map(ord, op)))):
        arrays = [None if array is None else np.ascontiguousarray(array).reshape(array.shape) for array in operands]
        try:
            expected = reference(node_model(op, arrays, **settings))
        except Exception:  # ONNX Runtime has no kernel for this type
            continue
        outcome = evaluate(list(node_graph(op, arrays, **settings)), onnxruntime=False)
        if outcome.declined:
            continue
        for found, wanted in zip(outcome.arrays.values(), expected, strict=True):
            assert equal_bits(found, wanted), (op, settings, arrays, found, wanted)
        compared += 1
    assert compared, f"no instance of {op} was computed by both"


@pytest.mark.parametrize("source", ["float32", "float64", "float16", "int32", "int64", "bool"])
def test_casts_to_and_from_bfloat16(source: str, node_graph: Any, reference: Any, equal_bits: Any) -> None:
    """ONNX Runtime can't return the type: it is asked for the way there and back."""
    x = samples(source, np.random.default_rng(3), 3000)
    there = helper.make_node("Cast", ["x"], ["narrow"], to=TensorProto.BFLOAT16)
    back = helper.make_node("Cast", ["narrow"], ["y"], to=TensorProto.FLOAT)
    graph = helper.make_graph([there, back], "test", [], [], [numpy_helper.from_array(x, "x")])
    graph.output.append(ValueInfoProto(name="y"))
    model = ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 21)], graph=graph)
    (found,) = evaluate(list(load(model.SerializeToString())), onnxruntime=False).arrays.values()
    assert equal_bits(found, reference(model)[0])


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Sqrt", "Abs", "Neg", "Floor", "Round"])
def test_bfloat16_is_rounded_from_single_precision(op: str, node_graph: Any) -> None:
    """ONNX Runtime has no such kernels; one operation in single precision, rounded, is exact for these."""
    rng = np.random.default_rng(7)
    operands = [samples(BFLOAT16, rng, 500) for _ in range(2 if op in {"Add", "Sub", "Mul", "Div"} else 1)]
    wide = evaluate(list(node_graph(op, [x.astype(np.float32) for x in operands])), onnxruntime=False)
    narrow = evaluate(list(node_graph(op, operands)), onnxruntime=False)
    (expected,), (found,) = wide.arrays.values(), narrow.arrays.values()
    assert found.dtype == BFLOAT16
    rounded = expected.astype(BFLOAT16)
    assert ((found.view(np.uint16) == rounded.view(np.uint16)) | (found != found) & (rounded != rounded)).all()
