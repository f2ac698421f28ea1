"""Optimization profiles: the sizes that an engine takes, and those that it is tuned for.

    x=1x3x224x224:8x3x224x224:32x3x224x224            smallest, best and largest shape of an input
    x=8x3x224x224                                     one shape only
    x=1x64:8x64:32x64,mask=1x64:8x64:32x64            several inputs in one profile
    sizes=[1,64]:[8,64]:[32,64]                       an input whose content is a shape

An input with dynamic dims that a profile leaves out is derived: a dim of a name that another input of the profile has
takes its sizes, any other the range that `--dim` gives it. The best size is then the largest: time and memory are spent
there, and a kernel that is tuned for large sizes loses little at small ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onnx_opt.emit.tensorrt.messages import Profile, Sizes
from onnx_opt.errors import TargetError
from onnx_opt.passes import nearest
from onnx_opt.types import TensorType

if TYPE_CHECKING:
    from onnx_opt.ir import Graph
    from onnx_opt.ir.values import Value

Triple = tuple[Sizes, Sizes, Sizes]
Range = tuple[int, int, int]

_ONE = r"(?:\d+(?:x\d+)*|\[-?\d+(?:,-?\d+)*\])"
_INPUT = re.compile(rf"\s*(?P<name>[^=]+)=(?P<shapes>{_ONE}(?::{_ONE}){{0,2}})\s*(?:,|$)")
FORM = "write --profile 'x=1x3x224x224:8x3x224x224:32x3x224x224', the smallest, the best and the largest shape"


def read_profile(text: str) -> Profile:
    """A profile as the command line has it. Raises TargetError."""
    shapes: dict[str, Triple] = {}
    contents: dict[str, Triple] = {}
    position = 0
    while position < len(text):
        found = _INPUT.match(text, position)
        if found is None:
            raise TargetError(f"--profile {text}: no profile", remedy=FORM)
        parts = found["shapes"].split(":")
        if len(parts) == 2:
            raise TargetError(f"--profile {text}: two shapes of '{found['name']}' are one too few", remedy=FORM)
        smallest, best, largest = (_sizes(part) for part in (parts if len(parts) == 3 else parts * 3))
        kind = contents if parts[0].startswith("[") else shapes
        if found["name"] in {*shapes, *contents}:
            raise TargetError(f"--profile {text}: input '{found['name']}' is given twice", remedy=FORM)
        kind[found["name"]] = _ordered(found["name"], (smallest, best, largest))
        position = found.end()
    if not shapes and not contents:
        raise TargetError("--profile names no input", remedy=FORM)
    return Profile(shapes, contents)


def complete(graph: Graph, profiles: Sequence[Profile]) -> tuple[Profile, ...]:
    """The profiles of a model, with every dynamic input in each; none where all of its inputs are static.

    Raises TargetError for a profile that contradicts the model, and for a dim that nothing gives a range.
    """
    inputs = {value.name: value for value in graph.inputs if isinstance(value.declared, TensorType)}
    for profile in profiles:
        for name in (*profile.shapes, *profile.contents):
            if name not in inputs:
                known = f"it has {', '.join(inputs) or 'none'}"
                raise TargetError(f"--profile: the model has no input '{name}'", remedy=nearest(name, inputs, known))
    dynamic = {name: value for name, value in inputs.items() if _is_dynamic(value)}
    if not profiles and not dynamic:
        return ()
    return tuple(_complete(graph, inputs, dynamic, profile) for profile in profiles or [Profile({})])


def _complete(graph: Graph, inputs: Mapping[str, Value], dynamic: Mapping[str, Value], profile: Profile) -> Profile:
    ranges: dict[str, Range] = {}
    for name, triple in profile.shapes.items():
        _take(inputs[name], triple, ranges)
    shapes = dict(profile.shapes)
    for name, value in dynamic.items():
        if name not in shapes:
            shapes[name] = _derive(graph, value, ranges)
    return Profile({name: shapes[name] for name in inputs if name in shapes}, profile.contents)


def _take(value: Value, triple: Triple, ranges: dict[str, Range]) -> None:
    """Hold a shape against the input, and learn from it what ranges dims of a name have."""
    declared = _shape(value)
    if declared is None:
        return
    if len(declared) != len(triple[0]):
        had = f"{len(declared)} dims, the profile has {len(triple[0])}"
        raise TargetError(f"--profile: input '{value.name}' has {had}", remedy=FORM)
    for dim, *sizes in zip(declared, *triple, strict=True):
        if isinstance(dim, int) and set(sizes) != {dim}:
            wrong = next(size for size in sizes if size != dim)
            raise TargetError(f"--profile: a dim of input '{value.name}' is {dim}, it cannot be {wrong}")
        span = (sizes[0], sizes[1], sizes[2])
        if isinstance(dim, str) and ranges.setdefault(dim, span) != span:
            both = f"{_spell(ranges[dim])} and {_spell(span)}"
            raise TargetError(
                f"--profile: dim '{dim}' is {both} in one profile", remedy="give it the same sizes in each"
            )


def _derive(graph: Graph, value: Value, ranges: Mapping[str, Range]) -> Triple:
    declared = _shape(value)
    if declared is None:
        reason = f"input '{value.name}' may have any number of dims"
        raise TargetError(reason, remedy=f"--shape {value.name}=NxN.. says how many")
    spans = [_range(graph, value, axis, dim, ranges) for axis, dim in enumerate(declared)]
    smallest, best, largest = (tuple(span[i] for span in spans) for i in range(3))
    return smallest, best, largest


def _range(graph: Graph, value: Value, axis: int, dim: Any, ranges: Mapping[str, Range]) -> Range:
    if isinstance(dim, int):
        return (dim, dim, dim)
    if dim in ranges:
        return ranges[dim]
    symbol = graph.model.facts.shapes.symbol(dim) if isinstance(dim, str) else None
    low, high = graph.model.facts.bounds(symbol) if symbol is not None else (None, None)
    if high is None:
        what = f"dim '{dim}'" if isinstance(dim, str) else f"dim {axis}"
        by_name = f"--dim {dim}=1:32 or " if isinstance(dim, str) else ""
        example = "x".join(str(each) if isinstance(each, int) else "N" for each in _shape(value) or ())
        remedy = f"{by_name}--profile '{value.name}={example}:{example}:{example}' gives it"
        raise TargetError(f"{what} of input '{value.name}' is dynamic and has no largest size", remedy=remedy)
    return (low or 0, high, high)


def _shape(value: Value) -> tuple[Any, ...] | None:
    assert isinstance(value.declared, TensorType)
    return value.declared.shape


def _is_dynamic(value: Value) -> bool:
    shape = _shape(value)
    return shape is None or any(not isinstance(dim, int) for dim in shape)


def _sizes(text: str) -> Sizes:
    return tuple(map(int, text.strip("[]").split("," if text.startswith("[") else "x")))


def _ordered(name: str, triple: Triple) -> Triple:
    if len({len(sizes) for sizes in triple}) > 1:
        raise TargetError(f"--profile: the shapes of input '{name}' have different numbers of dims", remedy=FORM)
    if not all(a <= b <= c for a, b, c in zip(*triple, strict=True)):
        wrong = ":".join("x".join(map(str, sizes)) for sizes in triple)
        raise TargetError(f"--profile: {name}={wrong} is not from the smallest to the largest", remedy=FORM)
    return triple


def _spell(sizes: Iterable[int]) -> str:
    return ":".join(map(str, sizes))
