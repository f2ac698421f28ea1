"""One model through one way: does the result still compute what the original does, on every feed?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from google.protobuf.message import DecodeError

import onnx_opt
from onnx_opt.validate import prove
from onnx_opt.validate.compare import compare
from onnx_opt.validate.engine import Engine
from onnx_opt.validate.run import CannotLoad, Rejected, Runtime, Unreadable
from onnx_opt.validate.source import Source

from .noise import ROUNDING, is_undecided
from .protos import (
    Feed,
    all_nodes,
    has_equal_node_names,
    has_half,
    has_negative_sizes,
    random_values,
    with_rounding,
    without_node_names,
)
from .ways import Way

Stage = Callable[[str], object]
NEGLIGIBLE = 1e-6
HALF_ROUNDING = (1e-2, 1e-2)
ENDLESS = "rules undo each other"
"""What the driver of rewrite rules says when it gives up: no result is wrong, but a rule is."""
CONFLICT = "the rule would change what it replaces"
"""What it says when it stops a rule that would have made another type or shape."""
LOST = "Missing Input"
"""What ONNX Runtime says when it left out a Cast whose only reader is a branch."""
SENSITIVE = {"LRN"}
"""Kernels of ONNX Runtime whose last bit depends on where in memory the operand lies: a Scan over equal slices shows
different ones."""
RUNTIME = Runtime(threads=1, limit=math.inf, reuse=False)
"""Whoever runs the process watches its time. Planned memory is at times taken for a value of another size."""


@dataclass(frozen=True)
class Finding:
    """What is wrong: `kind` is one of failed (the compiler raised), endless (rules that undo each other), invalid,
    interface, unloadable, refused (a feed), different, crash, hang."""

    way: str
    kind: str
    text: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass
class Tally:
    """What the compiler did, over any number of models: rewrites by rule, and rules that the driver had to stop."""

    rewrites: Counter[str] = field(default_factory=Counter)
    stopped: Counter[str] = field(default_factory=Counter)


@dataclass
class Original:
    """A model that ONNX Runtime runs, with what it made of each feed; None where it refuses one."""

    model: onnx.ModelProto
    data: bytes
    feeds: Sequence[Feed]
    outputs: list[list[Any] | None]
    random: set[str]
    valid: bool
    """Whether onnx's own checker accepts it, and no size is negative, which the checker overlooks."""
    disguise: Callable[[onnx.ModelProto], onnx.ModelProto] | None
    """What has to be done to this model and to results for ONNX Runtime to take them and to round as it should."""

    fine: set[tuple[bool, bytes]] = field(default_factory=set)
    """(exact, result) of what nothing is wrong with: several ways often lead to one result."""

    @staticmethod
    def of(model: onnx.ModelProto, feeds: Sequence[Feed]) -> Original:
        """Raises `CannotLoad`, and `Rejected` where no feed is accepted."""
        data = model.SerializeToString()
        steps = [without_node_names] if has_equal_node_names(model) else []
        steps += [with_rounding] if has_half(model) else []
        valid = not has_negative_sizes(model) and not checker_problem(data)
        original = Original(model, data, feeds, [], random_values(model), valid, _one_by_one(steps))
        original.outputs = original.run(data)
        if all(row is None for row in original.outputs):
            raise Rejected("no feed is accepted")
        return original

    def run(self, data: bytes) -> list[list[Any] | None]:
        """The outputs of this model, or of a result, for each feed; None for a refused one. Raises `CannotLoad`."""
        rows: list[list[Any] | None] = []
        engine = self.engine(data)
        for feed in self.feeds:
            try:
                rows.append(engine.run(feed))
            except Rejected:
                rows.append(None)
        return rows

    def shielded(self) -> Original:
        """The same, with no Cast beside another one, nor read by a branch, for ONNX Runtime to leave out."""
        made = replace(self, disguise=lambda model: with_rounding(without_node_names(model)), fine=set())
        made.outputs = made.run(self.data)
        return made

    def engine(self, data: bytes) -> Engine:
        """This model, or a result, in ONNX Runtime. Raises `CannotLoad`."""
        return Engine(Source.of(self.disguised(data)), RUNTIME)

    def disguised(self, data: bytes) -> bytes:
        """What ONNX Runtime is given."""
        return self.disguise(onnx.ModelProto.FromString(data)).SerializeToString() if self.disguise else data


def _one_by_one(steps: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any] | None:
    return (lambda model: reduce(lambda made, step: step(made), steps, model)) if steps else None


def interface_problem(original: Original, result: onnx.ModelProto, way: Way) -> str:
    """What is not as it was: names, types, declared shapes; where sizes are fixed, names alone."""
    for kind in ("input", "output"):
        old, new = (_declared(model, kind, bool(way.dims)) for model in (original.model, result))
        if old != new:
            return f"{kind}s changed from {[name for name, _ in old]} to {[name for name, _ in new]}, or their types"
    return ""


def _declared(model: onnx.ModelProto, kind: str, names_only: bool) -> list[tuple[str, bytes]]:
    """Names and types; before IR version 4, initializers that are listed as inputs can't be fed and do not count."""
    hidden = {tensor.name for tensor in model.graph.initializer} if kind == "input" and model.ir_version < 4 else set()
    values = getattr(model.graph, kind)
    return [(v.name, b"" if names_only else v.type.SerializeToString()) for v in values if v.name not in hidden]


def judge(original: Original, way: Way, stage: Stage = lambda text: None, tally: Tally | None = None) -> Finding | None:
    """What is wrong with the result of `way`; None where nothing is. `stage` hears what is about to be done."""
    stage(f"optimize {way}")
    try:
        result, trouble = _optimized(original.data, way, tally or Tally())
    except Exception as error:  # whatever it is, a valid model must not raise it
        return _finding(way, "failed", f"{type(error).__name__}: {error}")
    if trouble:
        return _finding(way, "endless", trouble)
    if not way.dims and (way.is_exact, result) in original.fine:
        return None
    finding = judge_result(original, result, way, stage)
    if finding is not None and finding.kind == "refused" and LOST in finding.text:
        finding = judge_result(original.shielded(), result, way)
    if finding is not None and finding.kind == "different" and _is_excused(original, way):
        return None
    if finding is None and not way.dims and way.target == "portable":
        original.fine.update({(way.is_exact, result), (False, result)})
    return finding


def _is_excused(original: Original, way: Way) -> bool:
    """Whether the passes of `way` do not promise what was found to differ."""
    if way.passes.finite_only and _meets_what_is_not_finite(original):
        return True
    return not way.is_exact and _depends_on_zero_signs(original, way)


def _meets_what_is_not_finite(original: Original) -> bool:
    """Whether the original reads or computes an infinity or NaN, which may have gone again before its outputs."""
    model = onnx.ModelProto.FromString(original.data)
    known = {value.name for value in model.graph.output}
    inner = dict.fromkeys(name for node in model.graph.node for name in node.output if name and name not in known)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    try:
        rows = original.run(model.SerializeToString())
    except (CannotLoad, Unreadable):
        return False
    values = [value for row in rows for value in row or ()] + [v for feed in original.feeds for v in feed.values()]
    return not all(map(_is_finite, values))


def _is_finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_finite, value))
    if not isinstance(value, np.ndarray) or value.dtype.kind in "biuO":
        return True
    return bool(np.isfinite(value.astype(np.float64)).all())


def judge_result(
    original: Original,
    result: bytes,
    way: Way,
    stage: Stage = lambda text: None,
    interface: Callable[[Original, onnx.ModelProto, Way], str] = interface_problem,
) -> Finding | None:
    """What is wrong with `result`, which may come from any optimizer; `way` says what it may have changed, `interface`
    what of the interface."""
    try:
        changed = onnx.ModelProto.FromString(result)
    except DecodeError as error:
        return _finding(way, "invalid", str(error))
    if problem := interface(original, changed, way):
        return _finding(way, "interface", problem)
    if original.valid and way.target == "portable" and (problem := checker_problem(result)):
        return None if way.dims and _contradicts(original, way) else _finding(way, "invalid", problem)
    if result == original.data:
        return None
    stage(f"run {way}")
    try:
        outputs = original.run(result)
    except (CannotLoad, Unreadable) as error:
        if isinstance(error, CannotLoad) and error.is_lack and not way.keeps_precision:
            return None  # few kernels take bfloat16
        return _finding(way, "unloadable", str(error))
    stage(f"compare {way}")
    for number, (before, after) in enumerate(zip(original.outputs, outputs, strict=True)):
        if before is None or not _fits(original, number, way):
            continue
        if after is None:
            return _finding(way, "refused", f"feed {number}: {_refusal(original, result, number)}")
        if problem := _difference(original, result, before, after, way):
            return _finding(way, "different", f"feed {number}: {problem}")
    return None


def _contradicts(original: Original, way: Way) -> bool:
    """Whether the sizes that the way fixes are not those that the original's outputs declare."""
    model, sizes = onnx.ModelProto.FromString(original.data), dict(way.dims)
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    return bool(checker_problem(model.SerializeToString()))


DIVIDING = {"Div", "Reciprocal", "Pow"}


def _depends_on_zero_signs(original: Original, way: Way) -> bool:
    """Whether the results agree with tiny numbers in place of the zeros among the weights: a product with zero has
    another sign when it is taken elsewhere, and what divides by it makes an infinity of the other sign."""
    model = onnx.ModelProto.FromString(original.data)
    changed = False
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and (array == 0).any():
            tiny = np.copysign(np.asarray(1e-6, array.dtype), array)
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.where(array == 0, tiny, array), tensor.name))
            changed = True
    if not changed or not any(node.op_type in DIVIDING for node in all_nodes(model)):
        return False
    try:
        nearly = Original.of(model, original.feeds)
    except (CannotLoad, Rejected, Unreadable):
        return False
    result, _ = _optimized(nearly.data, way, Tally())
    return judge_result(nearly, result, way) is None


def _finding(way: Way, kind: str, text: str) -> Finding:
    return Finding(str(way), kind, " ".join(text.split())[:500])


def _optimized(data: bytes, way: Way, tally: Tally) -> tuple[bytes, str]:
    """The result without the nets that catch a fault in use (validation, leaving out what fails), and what the driver
    of rewrite rules complains of."""
    dims = dict(way.dims)
    result = onnx_opt.optimize(data, way.passes, target=way.target, dims=dims, validate=False, strict=True)
    tally.rewrites.update({f"{name}/{rule}": n for (name, rule), n in result.journal.by_rule().items()})
    trouble = ""
    for decline in result.journal.declines():
        if CONFLICT in decline.reason:
            tally.stopped[f"{decline.pass_name}/{decline.rule}"] += 1
        if ENDLESS in decline.reason:
            trouble = decline.reason
    return result.to_bytes(), trouble


def _refusal(original: Original, result: bytes, number: int) -> str:
    try:
        original.engine(result).run(original.feeds[number])
    except Rejected as error:
        return str(error)
    return "it was refused only once"


def checker_problem(data: bytes) -> str:
    """What onnx's checker, shape inference included, says against a model."""
    try:
        onnx.checker.check_model(data, full_check=True)
    except Exception as error:  # the checker's exception classes share no base of their own
        return str(error)
    return ""


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
    exact = way.is_exact
    for place, (value, old, new) in enumerate(zip(original.model.graph.output, before, after, strict=True)):
        if value.name in original.random or not way.keeps_precision:
            if _form(old) != _form(new):
                return f"{value.name}: {_form(old)} became {_form(new)}"
            continue
        if way.dims and _form(old) == _form(new) and getattr(old, "size", 1) == getattr(new, "size", 1) == 0:
            continue  # a Loop without rounds gives sizes of 0 where it does not know better
        if _loses_zero_signs(original.model):
            old, new = _unsigned(old), _unsigned(new)
        if not exact:
            old, new = _without_overflow(old, new)
            if _is_negligible(old, new):
                continue
        difference = compare(value.name, old, new, None if exact else ROUNDING, exact)
        if not difference.problem:
            continue
        if difference.figures.max_ulp <= 1 and any(node.op_type in SENSITIVE for node in all_nodes(original.model)):
            continue
        if exact and has_half(original.model) and _is_half_rounding(original, result, value.name, old, new):
            continue
        if difference.rounding and (
            _is_explained(original, result, way)
            or is_undecided(original.data, original.run, original.outputs, place, old, new)
        ):
            continue
        return f"{value.name}: {difference.problem}{' (exact)' if exact else ''}"
    return ""


def _is_explained(original: Original, result: bytes, way: Way) -> bool:
    """Whether rounding, as unstable as the original is itself, explains what the plain comparison found."""
    rows = enumerate(zip(original.feeds, original.outputs, strict=True))
    data = [dict(feed) for number, (feed, row) in rows if row is not None and _fits(original, number, way)]
    before, after = original.disguised(original.data), original.disguised(result)
    return prove(before, after, data=data, samples=0, dims=dict(way.dims)).status != "failed"


def _is_half_rounding(original: Original, result: bytes, name: str, old: Any, new: Any) -> bool:
    """Whether rounding to half precision explains what is not equal to the bit: what is folded in one go is not rounded
    between the nodes, as in ONNX Runtime, and parts of a model may be folded."""
    plain = replace(original, disguise=without_node_names)
    with suppress(CannotLoad, Unreadable):
        if _same_bits(plain.run(original.data), plain.run(result)):
            return True
    old, new = _without_overflow(old, new)
    return not compare(name, old, new, HALF_ROUNDING).problem


def _same_bits(before: list[list[Any] | None], after: list[list[Any] | None]) -> bool:
    pairs = zip(before, after, strict=True)
    return all(
        old is None
        or (new is not None and not any(compare("", a, b, None, True).problem for a, b in zip(old, new, strict=True)))
        for old, new in pairs
    )


def _loses_zero_signs(model: onnx.ModelProto) -> bool:
    """ONNX Runtime's Where turns -0.0 into 0.0, which ONNX does not say and a rewrite need not repeat."""
    return any(node.op_type == "Where" for node in all_nodes(model))


def _unsigned(value: Any) -> Any:
    """Zeros without sign, and infinities, since dividing by zero makes them."""
    is_float = isinstance(value, np.ndarray) and value.dtype.kind not in "biuO"
    return np.where((value == 0) | np.isinf(value), np.abs(value), value) if is_float else value


def _without_overflow(before: Any, after: Any) -> tuple[Any, Any]:
    """Where the original overflows, weights of another magnitude do so at other elements, and a zero that is divided by
    may have the other sign. What is of ordinary size in both stays to be compared; Clip makes infinities huge."""
    arrays = isinstance(before, np.ndarray) and isinstance(after, np.ndarray)
    if not arrays or before.shape != after.shape or before.dtype != after.dtype or before.dtype.kind in "biuO":
        return before, after
    ordinary = _is_ordinary(before)
    if ordinary.all():
        return before, after
    zero = np.zeros((), before.dtype)
    both = ordinary & _is_ordinary(after)
    return np.where(both, before, zero), np.where(both, after, zero)


def _is_negligible(before: Any, after: Any) -> bool:
    """Whether all that differs is rounding at the scale of 1, as where Sigmoid comes close to 0."""
    arrays = (
        isinstance(before, np.ndarray) and isinstance(after, np.ndarray) and before.dtype in (np.float32, np.float64)
    )
    return arrays and before.shape == after.shape and bool(np.allclose(before, after, rtol=0, atol=NEGLIGIBLE))


def _is_ordinary(array: np.ndarray) -> Any:
    return np.isfinite(array) & (np.abs(array) < np.asarray(ml_dtypes.finfo(array.dtype).max) / 2)


def _form(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{value.dtype} of rank {value.ndim}"
