"""Which sizes of a model's inputs are dynamic, and at which sizes it is run.

Nothing is known of what the model computes: an axis, or all axes of one size together, is dynamic if ONNX Runtime runs
the model when only that size changes. What must stay together, as the sizes of two operands of an addition, is found
that way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from onnx_opt.harness.draw import Dims, Draw, sprinkled
from onnx_opt.harness.sketch import Sketch, Unfit, elem_type_of, run

Axis = tuple[str, int]
Feed = dict[str, np.ndarray]

CANDIDATE_LIMIT = 6
OTHER_SIZES = (1, 1, 1, 2, 3, 5, 7)
EMPTY_CHANCE = 0.06
WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")
"""Operators with a kernel. ONNX Runtime's convolution never ends where there are no channels, or no kernel."""
RECURRENT = ("RNN", "GRU", "LSTM")
"""Operators that end the process where there are no time steps."""
SPECIAL_CHANCE = 0.6
STATIC_CHANCE = 0.45
UNNAMED_CHANCE = 0.15


@dataclass
class Sizes:
    """`symbols`: the dynamic axes and their names; `runs`: the sizes of the symbols in each run, none in the first."""

    symbols: dict[Axis, str] = field(default_factory=dict)
    runs: list[dict[str, int]] = field(default_factory=lambda: [{}])

    def dims(self, name: str, array: np.ndarray, chosen: Mapping[str, int]) -> Dims:
        """The dims of an input at the sizes chosen for the symbols."""
        return tuple(chosen.get(self.symbols.get((name, axis), ""), size) for axis, size in enumerate(array.shape))


def choose_sizes(sketch: Sketch, model: onnx.ModelProto, draw: Draw) -> Sizes:
    """Sizes for a model whose inputs are declared without any. Raises `Unfit` where it does not run as it is."""
    run(model, [make_feed(sketch, Sizes(), {}, draw)])
    return Sizes() if draw.chance(STATIC_CHANCE) else _dynamic(sketch, model, draw)


def _dynamic(sketch: Sketch, model: onnx.ModelProto, draw: Draw) -> Sizes:
    sizes, alternative = Sizes(), dict[str, int]()
    for group in draw.shuffled(_candidates(sketch))[:CANDIDATE_LIMIT]:
        if any(axis in sizes.symbols for axis in group):
            continue
        name, axis = group[0]
        old = sketch.inputs[name].shape[axis]
        new = draw.pick([size for size in OTHER_SIZES if size != old])
        if draw.chance(EMPTY_CHANCE) and _may_be_empty(sketch, group):
            new = 0
        symbol = f"n{len(alternative)}"
        trial = Sizes(sizes.symbols | dict.fromkeys(group, symbol))
        if _runs(sketch, model, trial, alternative | {symbol: new}, draw):
            sizes, alternative = trial, alternative | {symbol: new}
    sizes.runs = [{}, alternative] if alternative else [{}]
    some = {symbol: size for symbol, size in alternative.items() if draw.chance(0.5)}
    if 0 < len(some) < len(alternative) and _runs(sketch, model, sizes, some, draw):
        sizes.runs.append(some)
    return sizes


def _candidates(sketch: Sketch) -> list[tuple[Axis, ...]]:
    """Axes that may be dynamic together: those of one size, and each alone."""
    by_size: dict[int, list[Axis]] = {}
    for name, array in sketch.inputs.items():
        for axis, size in enumerate(array.shape):
            by_size.setdefault(size, []).append((name, axis))
    alone = [(axis,) for axes in by_size.values() if len(axes) > 1 for axis in axes]
    return [tuple(axes) for axes in by_size.values()] * 2 + alone


def _may_be_empty(sketch: Sketch, group: tuple[Axis, ...]) -> bool:
    ops = {node.op_type for node in sketch.nodes}
    if ops.intersection(RECURRENT):
        return False
    batch = (next(iter(sketch.inputs)), 0)
    return group == (batch,) or not ops.intersection(WINDOWED)


def _runs(sketch: Sketch, model: onnx.ModelProto, sizes: Sizes, chosen: Mapping[str, int], draw: Draw) -> bool:
    try:
        run(model, [make_feed(sketch, sizes, chosen, draw)])
    except Unfit:
        return False
    return True


def make_feed(sketch: Sketch, sizes: Sizes, chosen: Mapping[str, int], draw: Draw, special: bool = False) -> Feed:
    """New contents for the inputs at the sizes chosen for the symbols, and for some of those that have a default."""
    feed = {}
    for name, array in sketch.inputs.items():
        filled = sketch.fillers[name](draw, sizes.dims(name, array, chosen), array.dtype)
        feed[name] = sprinkled(draw, filled) if special else filled
    for name in sorted(sketch.overridable):
        if draw.chance(0.7):
            array = sketch.constants[name]
            feed[name] = sketch.fillers[name](draw, array.shape, array.dtype)
    return feed


def make_feeds(sketch: Sketch, sizes: Sizes, draw: Draw) -> list[Feed]:
    """A feed for each run, and often one with NaN, infinities and signed zeros."""
    feeds = [make_feed(sketch, sizes, chosen, draw) for chosen in sizes.runs]
    if draw.chance(SPECIAL_CHANCE):
        feeds.append(make_feed(sketch, sizes, draw.pick(sizes.runs), draw, special=True))
    return feeds


def declare(model: onnx.ModelProto, arrays: Mapping[str, np.ndarray], sizes: Sizes, draw: Draw) -> None:
    """Write the dims of the inputs into the model: sizes and symbols, which are nameless now and then."""
    nameless = draw.chance(UNNAMED_CHANCE)
    for info in model.graph.input:
        for axis, dim in enumerate(info.type.tensor_type.shape.dim):
            symbol = sizes.symbols.get((info.name, axis))
            if symbol is None:
                dim.dim_value = arrays[info.name].shape[axis]
            elif not nameless:
                dim.dim_param = symbol


def declare_outputs(model: onnx.ModelProto, results: Iterable[np.ndarray], static: bool) -> None:
    """Write the types of the outputs into the model; their dims only where nothing is dynamic."""
    for info, result in zip(model.graph.output, results, strict=True):
        info.type.tensor_type.elem_type = elem_type_of(result)
        info.type.tensor_type.shape.SetInParent()
        for size in result.shape:
            dim = info.type.tensor_type.shape.dim.add()
            if static:
                dim.dim_value = size
