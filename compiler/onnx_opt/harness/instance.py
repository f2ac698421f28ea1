"""One instance: a model that contains a rule's pattern, or nearly so, with feeds and what the model makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from onnx_opt.harness.draw import Draw
from onnx_opt.harness.grow import Grower, fits_version
from onnx_opt.harness.site import Recipe
from onnx_opt.harness.sizes import Feed, choose_sizes, declare, declare_outputs, make_feeds
from onnx_opt.harness.sketch import Operand, Unfit, run
from onnx_opt.harness.vary import HARMLESS, NEAR_MISSES, Subject
from onnx_opt.rewrite.rule import Rule
from onnx_opt.validate.figures import is_float

OLDEST, NEWEST = 7, 22
"""The operator set versions that instances are made for."""
LATEST = 24
"""The newest one for patterns whose operators are newer still."""
HARMLESS_CHANCE = 0.35
RECIPE_CHANCE = 0.85
"""How often the constants are made as the rule is known to want them."""
OTHER_VERSION_CHANCE = 0.08

ELEM_TYPES = (
    *[TensorProto.FLOAT] * 6,
    *[TensorProto.FLOAT16] * 2,
    *[TensorProto.DOUBLE] * 2,
    TensorProto.BFLOAT16,
    TensorProto.INT64,
    TensorProto.INT32,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.BOOL,
)


@dataclass(frozen=True)
class Instance:
    """`model` as bytes, the `feeds` to run it with and its `results` for each; `kept` names nodes that are no
    interior of a match, since others read them; `in_range`: the version is one that the rule is for."""

    model: bytes
    outputs: tuple[str, ...]
    feeds: list[Feed]
    results: list[list[Any]]
    kept: frozenset[str]
    in_range: bool
    note: str
    near_miss: bool = False

    @property
    def dtype(self) -> str:
        """The type of the first result."""
        return str(self.results[0][0].dtype)

    @property
    def features(self) -> list[str]:
        """What is special about it."""
        first, *others = self.feeds  # an input that has a default is not in every feed
        dynamic = any(feed[name].shape != first[name].shape for feed in others for name in first.keys() & feed.keys())
        arrays = [array for feed in self.feeds for array in feed.values()]
        found = {
            "dynamic sizes": dynamic,
            "empty tensors": any(not array.size for array in arrays),
            "NaN or infinity": any(is_float(array.dtype) and not np.isfinite(array).all() for array in arrays),
            "negative zero": any(is_float(array.dtype) and _has_negative_zero(array) for array in arrays),
            "other readers": bool(self.kept),
        }
        return [name for name, holds in found.items() if holds]


def sketch_plain(rule: Rule, draw: Draw) -> Subject:
    """The parts of an instance as the pattern has it."""
    return _grown(rule, draw, _version(rule, draw, False)[0], {})


def sketch_instance(rule: Rule, draw: Draw, recipe: Recipe, near_miss: bool) -> tuple[Subject, bool, str]:
    """The parts of an instance, whether its version is one that the rule is for, and what was varied."""
    version, in_range = _version(rule, draw, near_miss)
    subject = _grown(rule, draw, version, recipe if draw.chance(RECIPE_CHANCE) else {})
    notes = []
    if near_miss and in_range:
        notes.append(_vary(NEAR_MISSES, subject, draw))
    if draw.chance(HARMLESS_CHANCE):
        notes.append(_vary(HARMLESS, subject, draw))
    return subject, in_range, ", ".join(filter(None, notes))


def _grown(rule: Rule, draw: Draw, version: int, recipe: Recipe) -> Subject:
    grower = Grower(rule.pattern, draw, version, int(draw.pick(ELEM_TYPES)), recipe)
    root = [result.name for result in grower.grow_root()]
    interior = [name for name in grower.interior if name not in root]
    constants = grower.sketch.constants
    bound = {name: found.name for name, found in grower.bindings.items() if isinstance(found, Operand)}
    subject = Subject(
        grower.sketch, root, interior, {name: value for name, value in bound.items() if value in constants}
    )
    subject.sketch.outputs = list(root)
    return subject


def _vary(variations: tuple[Any, ...], subject: Subject, draw: Draw) -> str:
    """Apply the first of the variations, in random order, that can be applied; returns its name."""
    for variation in draw.shuffled(variations):
        try:
            variation(subject, draw)
        except Unfit:
            continue
        return str(variation.__name__).replace("_", " ")
    return ""


def _version(rule: Rule, draw: Draw, near_miss: bool) -> tuple[int, bool]:
    of_other_domain = any(domain for domain, _ in rule.heads)
    first, last = (OLDEST, LATEST) if rule.opsets is None or of_other_domain else rule.opsets
    fitting = [version for version in range(OLDEST, LATEST + 1) if fits_version(rule.pattern, version)]
    versions = [version for version in fitting if version <= NEWEST] or fitting
    inside = [version for version in versions if first <= version <= last]
    outside = [version for version in versions if version not in inside]
    if outside and near_miss and draw.chance(OTHER_VERSION_CHANCE):
        return draw.pick(outside), False
    if not inside:
        raise Unfit(f"no operator set from {OLDEST} to {LATEST} has the pattern's operators and is one of the rule's")
    return draw.pick(inside), True


def finish(subject: Subject, draw: Draw, in_range: bool, note: str, near_miss: bool) -> Instance:
    """The instance of these parts. Raises `Unfit` where the checker or ONNX Runtime rejects it."""
    sketch = subject.sketch
    model = sketch.model()
    sizes = choose_sizes(sketch, model, draw)
    declare(model, sketch.inputs | sketch.constants, sizes, draw)
    feeds = make_feeds(sketch, sizes, draw)
    results = run(model, [*feeds, feeds[0]])
    if not _same_bits(results[0], results.pop()):
        raise Unfit("random results")
    declare_outputs(model, results[0], static=not sizes.symbols)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker and shape inference raise classes of their own
        raise Unfit(f"onnx.checker: {error}") from error
    results = run(model, feeds)
    return Instance(
        model.SerializeToString(),
        tuple(sketch.outputs),
        feeds,
        results,
        subject.kept_nodes(),
        in_range,
        note,
        near_miss,
    )


def _same_bits(results: list[np.ndarray], again: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(results, again, strict=True))


def _has_negative_zero(array: np.ndarray) -> bool:
    return bool(((array == 0) & np.signbit(array)).any())
