"""One rule before one instance: applied for every target, and compared in ONNX Runtime with what was there before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import onnx

from onnx_opt.harness.instance import Instance
from onnx_opt.harness.runtime import Refused, run_model
from onnx_opt.harness.sizes import Feed
from onnx_opt.harness.symbolic import unproven_dims
from onnx_opt.ir import load
from onnx_opt.ir.save import to_bytes
from onnx_opt.journal import Journal
from onnx_opt.liberties import ALL as LIBERTIES
from onnx_opt.liberties import NO_INFS, NO_NANS
from onnx_opt.passes import PassContext
from onnx_opt.rewrite.driver import apply_rules
from onnx_opt.rewrite.rule import Rule
from onnx_opt.target import PORTABLE, TARGETS, Target
from onnx_opt.validate.compare import Difference, Tolerance, compare
from onnx_opt.validate.figures import is_float
from onnx_opt.validate.noise import STEPS, explain, moved_feed

PASS_NAME = "verify-rules"
REWRITES_UNDONE = "rules undo each other"
"""What the driver says when it stops."""
ON_CPU = frozenset({"portable", "ort-cpu"})
"""Targets whose models ONNX Runtime must be able to run on the CPU; those of others may need another provider."""

TOLERANCES = {
    "float64": Tolerance(1e-9, 1e-10),
    "float32": Tolerance(3e-5, 1e-5),
    "float16": Tolerance(1e-2, 5e-3),
    "bfloat16": Tolerance(8e-2, 4e-2),
}


KINDS = ("raises", "endless", "changes", "opset", "shared", "invalid", "names", "refused", "wrong")
"""What may be wrong: the rule raises or feeds itself, changes the graph but declines, applies outside of its operator
sets or to what others read; its result is no valid model, has other names, does not run, or computes something else."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with the model `result` that a rule made for `target`; `feed`: the inputs that show it."""

    kind: str
    reason: str
    target: str = ""
    result: bytes = b""
    feed: Feed | None = None


@dataclass
class Finding:
    """What a rule did with one instance: for which targets it rewrote it, why it did not, and what went wrong."""

    fired: set[str] = field(default_factory=set)
    declines: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unproven_dims: str | None = None
    """What could not be proven of the results' dims; '' where all are, None where no rewrite has dynamic sizes."""
    unproven: int = 0
    """Runs of results that need another runtime than the one at hand, or for which it has a bug: ONNX Runtime takes
    models with empty tensors that end its process, and others that compute the same without harm."""


def targets_of(rule: Rule) -> list[Target]:
    """The targets between which a rule can tell: one where it does not ask for the target."""
    return list(TARGETS.values()) if "target" in rule.parameters else [PORTABLE]


def liberties_of(rule: Rule) -> list[frozenset[str]]:
    """What a rule is tried with: nothing granted, and all liberties where it asks for them."""
    return [frozenset(), LIBERTIES] if "fast" in rule.parameters else [frozenset()]


def apply(rule: Rule, model: bytes, target: Target, liberties: frozenset[str] = frozenset()) -> tuple[bytes, Journal]:
    """The model after the rule, applied by the driver wherever it matches, and the journal of that."""
    graph = load(model)
    context = PassContext(target=target, pass_name=PASS_NAME, liberties=liberties)
    apply_rules(graph, context, [rule])
    return to_bytes(graph), context.journal


def reasons(journal: Journal) -> list[str]:
    """Every reason for a decline."""
    return journal.reasons()


def check(rule: Rule, instance: Instance) -> Finding:
    """Apply the rule for each target, with and without liberties, and compare."""
    finding = Finding()
    seen: set[bytes] = set()
    for target, liberties in product(targets_of(rule), liberties_of(rule)):
        try:
            result, journal = apply(rule, instance.model, target, liberties)
        except Exception as error:  # whatever a rule raises, but a decline, is its fault
            text = f"the rule fails: {type(error).__name__}: {error}"
            finding.problems.append(Problem("raises", text, target.name))
            continue
        finding.declines += reasons(journal)
        if any(REWRITES_UNDONE in reason for reason in finding.declines):
            finding.problems.append(Problem("endless", "the rule feeds itself without end", target.name, result))
            continue
        if not journal.rewrites:
            if result != instance.model:
                text = "the rule declines, but the model is another"
                finding.problems.append(Problem("changes", text, target.name, result))
            continue
        finding.fired.add(target.name)
        if result not in seen:
            seen.add(result)
            _judge(rule, instance, journal, result, target, finding)
    return finding


def _judge(rule: Rule, instance: Instance, journal: Journal, result: bytes, target: Target, finding: Finding) -> None:
    for problem in _faults(rule, instance, journal, result, target, finding):
        finding.problems.append(replace(problem, target=target.name, result=result))
        return
    if not finding.unproven_dims:  # of several results, the first that lacks a proof is told
        finding.unproven_dims = unproven_dims(instance.model, result)


def _faults(
    rule: Rule, instance: Instance, journal: Journal, result: bytes, target: Target, finding: Finding
) -> Iterator[Problem]:
    if not instance.in_range:
        yield Problem("opset", f"the rule is for the operator set versions {rule.opsets}, and is applied to another")
    for rewrite in journal.rewrites:
        for name in instance.kept.intersection(rewrite.nodes[1:]):
            if not rule.shared:
                text = f"the result of '{name}' has other users, and the rule is not declared shared"
                yield Problem("shared", text)
    model = onnx.ModelProto.FromString(result)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker and shape inference raise classes of their own
        yield Problem("invalid", f"onnx.checker rejects the result: {' '.join(str(error).split())}")
    names = tuple(output.name for output in model.graph.output)
    if names != instance.outputs:
        yield Problem("names", f"the results are called {list(names)} instead of {list(instance.outputs)}")
        return
    taken = {liberty for rewrite in journal.rewrites for liberty in rewrite.liberties}
    meant = taken | {NO_NANS, NO_INFS} if rule.finite_only else taken
    for feed, expected in zip(instance.feeds, instance.results, strict=True):
        if not _within(meant, [*feed.values(), *expected]):
            continue
        try:
            got = run_model(result, [feed])[0]
        except Refused as error:
            empty = any(not array.size for array in feed.values())
            if (error.lack and target.name not in ON_CPU) or (error.ended and empty):
                finding.unproven += 1
                continue
            yield Problem("refused", f"ONNX Runtime does not run the result{_at(feed)}: {error}", feed=feed)
            continue
        yield from _differences(rule, instance, feed, expected, got, bool(taken))


def _within(liberties: set[str], arrays: list[Any]) -> bool:
    """Whether a run is one for which liberties that were taken were meant."""
    floats = [array for array in arrays if isinstance(array, np.ndarray) and is_float(array.dtype)]
    if NO_NANS in liberties and any(np.isnan(array).any() for array in floats):
        return False
    return NO_INFS not in liberties or not any(np.isinf(array).any() for array in floats)


def tolerances_of(rule: Rule) -> dict[str, Tolerance]:
    """How closely results must agree, by their type."""
    return {**TOLERANCES, **({"float64": TOLERANCES[rule.precision]} if rule.precision else {})}


def _differences(
    rule: Rule, instance: Instance, feed: Feed, expected: list[Any], got: list[Any], taken: bool
) -> Iterator[Problem]:
    allowed = tolerances_of(rule)
    for index, (name, before, after) in enumerate(zip(instance.outputs, expected, got, strict=True)):
        difference = compare(name, before, after, allowed, exact=rule.exact and not taken)
        if difference.problem and not (difference.rounding and _is_noise(instance, feed, index, difference)):
            yield Problem("wrong", f"{name}{_at(feed)}: {difference.problem}", feed=feed)


def _is_noise(instance: Instance, feed: Feed, index: int, difference: Difference) -> bool:
    """Whether the instance differs as much from itself where its inputs move by a few units in the last place, as where
    a sum cancels out."""
    if not np.isfinite(difference.ratios).all():
        return False
    try:
        trials = run_model(instance.model, [moved_feed(feed, steps) for steps in STEPS])
        before = run_model(instance.model, [feed])[0][index]
    except Refused:
        return False
    return explain(difference, instance.outputs[index], before, [t[index] for t in trials], dict(TOLERANCES))[0]


def _at(feed: Feed) -> str:
    sizes = ", ".join(f"{name} {list(array.shape)}" for name, array in feed.items())
    return f" at {sizes}" if sizes else ""
