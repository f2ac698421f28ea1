"""One model through one way: does the result still compute what the original does, on every feed?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx

import onnx_opt
from onnx_opt.pipeline import Pipeline
from onnx_opt.validate import prove
from onnx_opt.validate.compare import compare
from onnx_opt.validate.run import CannotLoad, Rejected, Runtime, Session, Unreadable
from onnx_opt.validate.source import Source

from .ways import Way

Feed = Mapping[str, Any]
Stage = Callable[[str], object]
RANDOM = {
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout",
}  # fmt: skip
HALF = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
ROUNDING = (1e-3, 2e-3)
"""Relative tolerances, to the element and to the output's scale: what is wrong in an inexact pass is far beyond."""
RUNTIME = Runtime(threads=1, limit=20.0)


@dataclass(frozen=True)
class Finding:
    """What is wrong: `kind` is one of failed (the compiler raised), invalid, interface, unloadable, refused (a feed),
    different, crash, hang."""

    way: str
    kind: str
    text: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass
class Original:
    """A model that ONNX Runtime runs, with what it made of each feed; None where it refuses one."""

    model: onnx.ModelProto
    data: bytes
    feeds: Sequence[Feed]
    outputs: list[list[Any] | None]
    random: set[str]
    valid: bool
    """Whether onnx's own checker accepts it."""

    @staticmethod
    def of(model: onnx.ModelProto, feeds: Sequence[Feed]) -> Original:
        """Raises `CannotLoad`, and `Rejected` where no feed is accepted."""
        data = model.SerializeToString()
        outputs = run_all(data, feeds)
        if all(row is None for row in outputs):
            raise Rejected("no feed is accepted")
        return Original(model, data, feeds, outputs, random_values(model), not checker_problem(data))


def run_all(data: bytes, feeds: Sequence[Feed]) -> list[list[Any] | None]:
    """The outputs for each feed, None for a refused one. Raises `CannotLoad`."""
    rows: list[list[Any] | None] = []
    with Session(Source.of(data), RUNTIME) as session:
        for feed in feeds:
            try:
                rows.append(session.run(feed))
            except Rejected:
                rows.append(None)
    return rows


def judge(original: Original, way: Way, stage: Stage = lambda text: None) -> Finding | None:
    """What is wrong with the result of `way`; None where nothing is. `stage` hears what is about to be done."""

    def found(kind: str, text: str) -> Finding:
        return Finding(str(way), kind, " ".join(text.split())[:500])

    stage(f"optimize {way}")
    try:
        result = _optimized(original.data, way)
    except Exception as error:  # whatever it is, a valid model must not raise it
        return found("failed", f"{type(error).__name__}: {error}")
    changed = onnx.ModelProto.FromString(result)
    if problem := _interface_problem(original.model, changed, bool(way.dims)):
        return found("interface", problem)
    if original.valid and way.target == "portable" and (problem := checker_problem(result)):
        return found("invalid", problem)
    if result == original.data:
        return None
    stage(f"run {way}")
    try:
        outputs = run_all(result, original.feeds)
    except (CannotLoad, Unreadable) as error:
        return found("unloadable", str(error))
    stage(f"compare {way}")
    for number, (before, after) in enumerate(zip(original.outputs, outputs, strict=True)):
        if before is None or not _fits(original, number, way):
            continue
        if after is None:
            return found("refused", f"feed {number}: {_refusal(result, original.feeds[number])}")
        if problem := _difference(original, result, before, after, way):
            return found("different", f"feed {number}: {problem}")
    return None


def _optimized(data: bytes, way: Way) -> bytes:
    level = {"O1": 1, "O2": 2, "O3": 3}.get(way.pipeline)
    options: dict[str, Any] = {"target": way.target, "dims": dict(way.dims), "validate": False, "strict": True}
    if level is not None:
        return onnx_opt.optimize(data, level=level, **options).to_bytes()
    return onnx_opt.optimize(data, way.pipeline, **options).to_bytes()


def _refusal(data: bytes, feed: Feed) -> str:
    with Session(Source.of(data), RUNTIME) as session:
        try:
            session.run(feed)
        except Rejected as error:
            return str(error)
    return "it was refused only once"


# -- the interface -----------------------------------------------------------------------------------------------------


def checker_problem(data: bytes) -> str:
    """What onnx's checker, shape inference included, says against a model."""
    try:
        onnx.checker.check_model(data, full_check=True)
    except Exception as error:  # the checker's exception classes share no base of their own
        return str(error)
    return ""


def _interface_problem(before: onnx.ModelProto, after: onnx.ModelProto, fixes_dims: bool) -> str:
    for kind in ("input", "output"):
        old, new = (_declared(model, kind, fixes_dims) for model in (before, after))
        if old != new:
            return f"{kind}s changed from {[name for name, _ in old]} to {[name for name, _ in new]}, or their types"
    return ""


def _declared(model: onnx.ModelProto, kind: str, names_only: bool) -> list[tuple[str, bytes]]:
    """Names and types; before IR version 4, initializers that are listed as inputs can't be fed and do not count."""
    hidden = {tensor.name for tensor in model.graph.initializer} if kind == "input" and model.ir_version < 4 else set()
    values = getattr(model.graph, kind)
    return [(v.name, b"" if names_only else v.type.SerializeToString()) for v in values if v.name not in hidden]


def _fits(original: Original, number: int, way: Way) -> bool:
    """Whether a feed has the sizes that the way fixes."""
    sizes = dict(way.dims)
    for value in original.model.graph.input:
        array = original.feeds[number].get(value.name)
        if array is None or isinstance(array, list):
            continue
        named = zip(value.type.tensor_type.shape.dim, array.shape, strict=False)
        if any(dim.dim_param in sizes and sizes[dim.dim_param] != size for dim, size in named):
            return False
    return True


# -- results -----------------------------------------------------------------------------------------------------------


def _difference(original: Original, result: bytes, before: list[Any], after: list[Any], way: Way) -> str:
    exact = way.target == "portable" and _is_exact(way)
    for value, old, new in zip(original.model.graph.output, before, after, strict=True):
        if value.name in original.random:
            if _form(old) != _form(new):
                return f"{value.name}: {_form(old)} became {_form(new)}"
            continue
        if _loses_zero_signs(original.model):
            old, new = _unsigned(old), _unsigned(new)
        if not exact:
            old, new = _without_overflow(old, new)
        difference = compare(value.name, old, new, None if exact else ROUNDING, exact)
        if not difference.problem:
            continue
        if (difference.rounding or (exact and _has_half(original.model))) and _is_explained(original, result):
            continue
        return f"{value.name}: {difference.problem}{' (exact)' if exact else ''}"
    return ""


def _is_exact(way: Way) -> bool:
    level = {"O1": 1, "O2": 2, "O3": 3}.get(way.pipeline)
    return (Pipeline.parse(way.pipeline) if level is None else Pipeline.preset(level)).exact


def _is_explained(original: Original, result: bytes) -> bool:
    """Whether rounding, as unstable as the original is itself, explains what the plain comparison found."""
    data = [dict(feed) for feed, row in zip(original.feeds, original.outputs, strict=True) if row is not None]
    return prove(original.data, result, data=data, samples=0).status != "failed"


def _has_half(model: onnx.ModelProto) -> bool:
    """ONNX Runtime computes half precision in single precision and drops the casts between neighbours, so that a node
    more or less changes how often is rounded."""
    types = [t.data_type for t in model.graph.initializer]
    types += [v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)]
    types += [a.i for node in all_nodes(model) if node.op_type == "Cast" for a in node.attribute]
    return bool(HALF & set(types))


def _loses_zero_signs(model: onnx.ModelProto) -> bool:
    """ONNX Runtime's Where turns -0.0 into 0.0, which ONNX does not say and a rewrite need not repeat."""
    return any(node.op_type == "Where" for node in all_nodes(model))


def _unsigned(value: Any) -> Any:
    """Zeros without sign."""
    is_float = isinstance(value, np.ndarray) and value.dtype.kind not in "biuO"
    return np.where(value == 0, np.zeros((), value.dtype), value) if is_float else value


def _without_overflow(before: Any, after: Any) -> tuple[Any, Any]:
    """Where the original overflows, weights of another magnitude do so at other elements, and a zero that is divided by
    may have the other sign. What is finite in both stays to be compared."""
    arrays = isinstance(before, np.ndarray) and isinstance(after, np.ndarray)
    if not arrays or before.shape != after.shape or before.dtype != after.dtype or before.dtype.kind in "biuO":
        return before, after
    finite = np.isfinite(before)
    if finite.all():
        return before, after
    zero = np.zeros((), before.dtype)
    both = finite & np.isfinite(after)
    return np.where(both, before, zero), np.where(both, after, zero)


def _form(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{value.dtype} of rank {value.ndim}"


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a model, its functions and all bodies."""
    stack = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(inner for body in bodies(node) for inner in body.node)


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in the attributes of a node."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g


def random_values(model: onnx.ModelProto) -> set[str]:
    """The names of values of the main graph that depend on a random operator."""
    local = {function.name for function in model.functions}
    found: set[str] = set()
    for node in model.graph.node:
        inside = list(_with_bodies(node))
        calls = any(each.op_type in local for each in inside)
        is_random = any(each.op_type in RANDOM for each in (all_nodes(model) if calls else inside))
        if is_random or any(name in found for each in inside for name in each.input):
            found.update(name for name in node.output if name)
    return found


def _with_bodies(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(inner for body in bodies(node) for inner in body.node)
