"""Rules check themselves: instances of a rule's pattern, before and after, in ONNX Runtime."""

from __future__ import annotations

from onnx_opt.harness.check import Finding, check
from onnx_opt.harness.draw import Draw
from onnx_opt.harness.instance import Instance, finish, sketch_instance
from onnx_opt.harness.recipe import recipe_of
from onnx_opt.harness.report import Failure, HarnessReport
from onnx_opt.harness.sketch import Unfit
from onnx_opt.rewrite.rule import Rule
from onnx_opt.validate.run import require_runtime

ATTEMPTS_PER_INSTANCE = 10
ATTEMPTS_AT_LEAST = 200


def verify(rule: Rule, *, seed: int = 0, instances: int = 50, most_failures: int = 5) -> HarnessReport:
    """Try `rule` on that many random models that contain its pattern, or nearly so.

    The rule is applied by the driver, for every target that it can tell apart; the result must be a valid model that
    gives the same names, element types, shapes and values (to the bit for an exact rule), for static and dynamic
    sizes, and with NaN, infinities and signed zeros among the inputs. Where sizes are dynamic, the dims of the results
    are also compared as expressions. The instances are those of the seeds `seed`, `seed + 1` and so on, each a function
    of the rule and its seed alone; every second one is a near miss. Stops early after `most_failures`. Raises
    `MissingRuntimeError` without ONNX Runtime.
    """
    require_runtime()
    report = HarnessReport(rule, seed)
    for attempt in range(ATTEMPTS_PER_INSTANCE * instances + ATTEMPTS_AT_LEAST):
        if report.instances >= instances or len(report.failures) >= most_failures:
            break
        try:
            instance = make_instance(rule, seed + attempt)
        except Unfit as unfit:
            report.rejected += 1
            report.rejections[str(unfit)] += 1
            continue
        _try(rule, instance, seed + attempt, report)
    if not report.matched and not report.failures:
        report.failures.append(Failure(rule.name, _why_never(report), seed, kind="no instances"))
    return report


def make_instance(rule: Rule, seed: int) -> Instance:
    """The instance of a seed. Raises `Unfit` where its choices do not go together."""
    draw = Draw(seed, rule.name)
    near_miss = seed % 2 == 1
    subject, in_range, note = sketch_instance(rule, draw, recipe_of(rule), near_miss)
    return finish(subject, draw, in_range, note, near_miss)


def _try(rule: Rule, instance: Instance, seed: int, report: HarnessReport) -> None:
    finding = check(rule, instance)
    report.near_misses += instance.near_miss
    if finding.fired:
        report.matched += 1
        report.dtypes[instance.dtype] += 1
        report.covered.update(instance.features)
        _note_proof(finding, report)
    else:
        report.declined += 1
        report.misses_declined += instance.near_miss
    report.unproven += finding.unproven
    report.declines.update(set(finding.declines))
    report.failures += [
        Failure(
            rule.name,
            problem.reason,
            seed,
            instance.model,
            problem.result,
            problem.target,
            instance.note,
            problem.kind,
            problem.feed,
        )
        for problem in finding.problems
    ]


def _note_proof(finding: Finding, report: HarnessReport) -> None:
    if finding.unproven_dims is None:
        return
    report.symbolic.checked += 1
    report.symbolic.proven += not finding.unproven_dims
    report.symbolic.reason = report.symbolic.reason or finding.unproven_dims


def _why_never(report: HarnessReport) -> str:
    if not report.instances:
        reason = _most_common(report.rejections)
        return f"rule without instances: no model with its pattern could be made ({reason})"
    reason = _most_common(report.declines)
    return f"rule without instances: it applied to none of {report.instances} models with its pattern ({reason})"


def _most_common(reasons: dict[str, int]) -> str:
    return max(reasons, key=lambda reason: reasons[reason], default="the pattern was not found in them")
