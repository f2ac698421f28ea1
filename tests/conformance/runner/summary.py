"""What a campaign says at its end: a line, a few on coverage, and everything as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .cases import kind_of
from .coverage import FEATURES
from .work import Report


class Summary:
    """The sums over reports. ``str`` gives the line."""

    def __init__(self, reports: Sequence[Report]):
        self.reports = reports
        self.judged = [report for report in reports if not report.thrown_away]

    def __str__(self) -> str:
        findings = sum(len(report.findings) for report in self.reports)
        kinds = Counter(kind_of(report.name) for report in self.judged)
        models = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        return (
            f"{len(self.judged)} models ({models or 'none'}), {len(self.reports) - len(self.judged)} thrown away, "
            f"{sum(len(report.ways) for report in self.judged)} optimized, {findings} findings in "
            f"{sum(bool(report.findings) for report in self.reports)} models"
        )

    def coverage(self) -> list[str]:
        """What was met, in a few lines."""
        operators, rules = self._count(lambda r: r.operators), self._count(lambda r: r.tally.rewrites)
        features = self._count(lambda r: r.features)
        unfired = sorted(set(_known_rules()) - {name.partition("/")[2] for name in rules})
        missing = [name for name in FEATURES if name not in features]
        lines = [
            f"operators: {len(operators)}; {sum(count >= 100 for count in operators.values())} of them 100 times or more",
            f"features: {len(features)} of {len(FEATURES)}" + (f"; not {', '.join(missing)}" if missing else ""),
            f"opsets: {_listed(self._count(lambda r: [r.opset]))}",
            f"types: {_listed(self._count(lambda r: r.types))}",
            f"ways: {_listed(self._count(lambda r: r.ways))}",
            f"rewrites: {sum(rules.values())} by {len(rules)} rules and steps"
            + (f"; never {', '.join(unfired)}" if unfired else ""),
        ]
        stopped = self._count(lambda r: r.tally.stopped)
        return [*lines, *([f"rules that the driver stopped: {_listed(stopped)}"] if stopped else [])]

    def as_json(self) -> dict[str, Any]:
        """Everything, for a build system."""
        counts: dict[str, Callable[[Report], Iterable[Any]]] = {
            "ways": lambda r: r.ways,
            "opsets": lambda r: [r.opset],
            "types": lambda r: r.types,
            "features": lambda r: r.features,
            "operators": lambda r: r.operators,
            "rewrites": lambda r: r.tally.rewrites,
            "stopped": lambda r: r.tally.stopped,
        }
        return {
            "summary": str(self),
            "models": dict(Counter(kind_of(report.name) for report in self.judged)),
            "thrown_away": {r.name: r.thrown_away for r in self.reports if r.thrown_away},
            "optimized": sum(len(report.ways) for report in self.judged),
            "nodes": sum(report.nodes for report in self.judged),
            "seconds": sum(report.seconds for report in self.judged),
            **{name: dict(sorted(self._count(of).items())) for name, of in counts.items()},
            "findings": [{"case": r.name, **finding.as_dict()} for r in self.reports for finding in r.findings],
        }

    def _count(self, of: Callable[[Report], Iterable[Any]]) -> Counter[Any]:
        total: Counter[Any] = Counter()
        for report in self.judged:
            total.update(of(report))
        return total


def _listed(counts: Counter[Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _known_rules() -> Iterable[str]:
    from onnx_opt.harness.discover import find_rules

    return find_rules(["onnx_opt_rules", "onnx_opt_passes"])
