"""How unstable the original itself is: the noise floor below which no rewrite can be expected to stay.

Some models amplify rounding: deep or recurrent ones, those that quantize inside, that take an ArgMax or keep what is
above a threshold. There, a difference beyond the stated tolerance proves nothing by itself. So the original is run
again with its floating-point inputs and weights moved by a few units in the last place, as any reordering of its
arithmetic moves what is inside, and a candidate may differ from it as much as it then differs from itself, times
`ALLOWANCE`: sorted by size, the candidate's m-th largest error must not exceed `ALLOWANCE` times the m / ALLOWANCE-th
largest of the original's own. The element need not be the same one; which of many near-ties flips is chance. A lone
flip in the original excuses a few in the candidate, and an original that stands still excuses nothing.

This is lazy, since it costs runs: only outputs that failed the plain comparison come here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_opt.validate.compare import Difference, ToleranceLike, integer_ratios, leaves, resolve_tolerance
from onnx_opt.validate.figures import is_float, measure, scale_of
from onnx_opt.validate.run import CannotLoad, Rejected, Session, Value
from onnx_opt.validate.source import Source
from onnx_opt.validate.walk import all_nodes, all_tensors

if TYPE_CHECKING:
    import onnx

    from onnx_opt.validate.reference import Reference

STEPS = (1, 2, 4)  # units in the last place by which each trial moves inputs and weights at most
ALLOWANCE = 4
_MOST_WEIGHTS = 512 << 20  # bytes; larger models have their inputs moved only
_FEWEST_ELEMENTS = 16  # smaller constants are exponents, bounds, sizes: moving them changes what is computed
_SCALED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"}


def explain(
    difference: Difference, output: str, reference: Value, trials: Sequence[Value], tolerance: ToleranceLike
) -> tuple[bool, float]:
    """Whether the original's own instability explains a difference, and the largest of the original's own errors as a
    multiple of the tolerance."""
    own: list[np.ndarray] = [_ratios(output, reference, trial, tolerance) for trial in trials]
    longest = max((ratios.size for ratios in own), default=0)
    floor = np.zeros(longest + 1)
    for ratios in own:
        floor[: ratios.size] = np.maximum(floor[: ratios.size], np.sort(ratios)[::-1])
    errors = np.sort(difference.ratios)[::-1]
    if not errors.size:
        return False, float(floor[0])
    rank = np.minimum(np.arange(errors.size) // ALLOWANCE, longest)
    return bool((errors <= np.maximum(1.0, ALLOWANCE * floor[rank])).all()), float(floor[0])


def shape_is_unstable(reference: Value, trials: Sequence[Value]) -> bool:
    """Whether the original's own output changes shape: it depends on values near a threshold."""
    shapes = [(path, array.shape) for path, array in leaves(reference)]
    return any([(path, array.shape) for path, array in leaves(trial)] != shapes for trial in trials)


def _ratios(output: str, reference: Value, trial: Value, tolerance: ToleranceLike) -> np.ndarray:
    parts = [np.zeros(0)]
    for (_, ref), (_, own) in zip(leaves(reference), leaves(trial), strict=False):
        if ref.shape != own.shape or ref.dtype == object:
            continue
        if is_float(ref.dtype):
            allowed = resolve_tolerance(tolerance, output, ref.dtype)
            parts.append(measure(ref, own, allowed.rtol, allowed.atol * scale_of(ref), keep_ratios=True)[1])
        else:
            parts.append(integer_ratios(ref.reshape(-1), own.reshape(-1)))
    return np.concatenate(parts)


def run_moved(reference: Reference, records: Sequence[int]) -> dict[int, list[list[Value]]]:
    """Record number -> its outputs with inputs and weights moved, for each of `STEPS`. Kept by the reference."""
    missing = [number for number in records if number not in reference.noise_cache]
    if missing:
        reference.noise_cache |= {number: [] for number in missing}
        for steps, session in _sessions(reference):
            for number in missing:
                feed = moved_feed(reference.records[number].feed, steps, number)
                try:
                    reference.noise_cache[number].append(session.run(feed))
                except Rejected:
                    continue  # an input that must be exact; the other trials have to do
    return {number: reference.noise_cache[number] for number in records}


def moved_feed(feed: Mapping[str, Value], steps: int, number: int = 0) -> dict[str, Value]:
    """Feed `number` with its floating-point elements at most `steps` units in the last place away."""
    return {
        name: _moved_value(value, steps, np.random.default_rng([steps, number, i]))
        for i, (name, value) in enumerate(feed.items())
    }


def _sessions(reference: Reference) -> Iterator[tuple[int, Session]]:
    movable = _weight_bytes(reference) <= _MOST_WEIGHTS
    for steps in STEPS:
        source = _with_moved_weights(reference.source, steps) if movable else reference.source
        try:
            session = Session(source, reference.runtime)
        except CannotLoad:
            continue
        with session:
            yield steps, session


def _weight_bytes(reference: Reference) -> int:
    counts = (int(np.prod(tensor.dims)) for tensor in reference.skeleton.graph.initializer)
    return 4 * sum(counts) + reference.source.nbytes


def _with_moved_weights(source: Source, steps: int) -> Source:
    from onnx import numpy_helper

    model = source.skeleton()
    rng = np.random.default_rng([steps, 7])
    scales = _scale_names(model)
    for tensor in list(all_tensors(model)):
        if tensor.data_type not in _float_types():
            continue
        values = source.array(tensor)
        if not _may_move(values, tensor.name in scales):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(_moved(values, steps, rng), name))
    return source.with_proto(model)


def _float_types() -> set[int]:
    from onnx import TensorProto

    return {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}


def _may_move(values: np.ndarray, is_scale: bool) -> bool:
    if is_scale:
        return True
    if values.size < _FEWEST_ELEMENTS:
        return False
    wide = values.astype(np.float64)
    # Whole numbers are positions, masks and switches; what is huge stands for infinity.
    return bool(np.abs(wide).max() < 1e30 and (wide != np.rint(wide)).any())


def _moved_value(value: Value, steps: int, rng: np.random.Generator) -> Value:
    if isinstance(value, list):
        return [_moved_value(item, steps, rng) for item in value]
    if isinstance(value, np.ndarray) and is_float(value.dtype) and value.dtype.itemsize > 1:
        return _moved(value, steps, rng)
    return value


def _moved(values: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Each element at most `steps` units in its last place away, zeros where they are."""
    import ml_dtypes

    finfo: Any = ml_dtypes.finfo
    unit = float(finfo(values.dtype).eps)
    wide = np.float64 if values.dtype == np.float64 else np.float32
    factor = 1 + np.asarray(unit, wide) * rng.integers(-steps, steps + 1, values.shape, np.int8).astype(wide)
    return np.asarray((values.astype(wide) * factor).astype(values.dtype))


def _scale_names(model: onnx.ModelProto) -> set[str]:
    """Initializers that scale quantized values: however small, they are real numbers."""
    return {name for node in all_nodes(model) if node.op_type in _SCALED for name in list(node.input)[1::3]}
