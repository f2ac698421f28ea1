"""What the harness found out about a rule."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx_opt.rewrite.rule import Rule

if TYPE_CHECKING:
    import numpy as np

MOST_REASONS = 12
"""Reasons that a report lists."""
_NAME = re.compile("'[^']*'")


@dataclass(frozen=True)
class Failure:
    """Something wrong with a rule.

    `verify(rule, seed=seed, instances=1)` shows it again. `kind` is one of the words in `check.KINDS`, or 'no
    instances'. `model` is the instance that the rule was applied to, `result` what it became for `target`, `feed` the
    inputs on which they differ (None where that is no matter of inputs); the models are empty where there is no
    instance at all. `note` says in what the instance is a near miss.
    """

    rule: str
    reason: str
    seed: int
    model: bytes = b""
    result: bytes = b""
    target: str = ""
    note: str = ""
    kind: str = ""
    feed: dict[str, np.ndarray] | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The failure as plain data, without models."""
        shown = {"kind": self.kind, "reason": self.reason, "seed": self.seed}
        return shown | {"target": self.target, "note": self.note}


@dataclass
class Symbolic:
    """The dims of results before and after, compared as expressions: `checked` instances with dynamic sizes, of which
    `proven` have equal dims at every size; `reason` says of the first other one what could not be proven."""

    checked: int = 0
    proven: int = 0
    reason: str = ""

    @property
    def status(self) -> str:
        """'proven', 'not provable', or 'not tried' where no instance has dynamic sizes."""
        if not self.checked:
            return "not tried"
        return "proven" if self.proven == self.checked else "not provable"

    def to_dict(self) -> dict[str, Any]:
        return {"status": self.status, "checked": self.checked, "proven": self.proven, "reason": self.reason}


@dataclass
class HarnessReport:
    """The instances of a rule, and what became of them.

    `matched` instances were rewritten for a target at least, `declined` ones for none, `rejected` attempts gave no
    model that ONNX Runtime runs. Of all instances, `near_misses` have something changed on purpose, and the rule left
    `misses_declined` of these alone; one that it rewrites is compared like any other. `unproven` are runs of results
    that need another runtime. `declines` and `rejections` count the reasons, `dtypes` the types of the results that
    were rewritten, `covered` what the rewritten instances had: dynamic and empty sizes, NaN, other readers.
    """

    rule: Rule
    seed: int = 0
    matched: int = 0
    declined: int = 0
    rejected: int = 0
    near_misses: int = 0
    misses_declined: int = 0
    unproven: int = 0
    failures: list[Failure] = field(default_factory=list)
    declines: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    dtypes: Counter[str] = field(default_factory=Counter)
    covered: Counter[str] = field(default_factory=Counter)
    symbolic: Symbolic = field(default_factory=Symbolic)

    @property
    def instances(self) -> int:
        """How many instances the rule was tried on."""
        return self.matched + self.declined

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def status(self) -> str:
        """'ok', 'wrong', or 'no instances'."""
        if self.passed:
            return "ok"
        return "wrong" if any(failure.model for failure in self.failures) else "no instances"

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        rule = self.rule
        return {
            "rule": rule.name,
            "summary": rule.summary,
            "status": self.status,
            "exact": rule.exact,
            "seed": self.seed,
            "instances": self.instances,
            "matched": self.matched,
            "declined": self.declined,
            "rejected": self.rejected,
            "near_misses": self.near_misses,
            "near_misses_declined": self.misses_declined,
            "unproven": self.unproven,
            "dtypes": dict(sorted(self.dtypes.items())),
            "covered": dict(sorted(self.covered.items())),
            "symbolic": self.symbolic.to_dict(),
            "failures": [failure.to_dict() for failure in self.failures],
            "declines": _most_common(self.declines),
            "rejections": _most_common(self.rejections),
        }


def _most_common(reasons: Counter[str]) -> dict[str, int]:
    """The most frequent reasons, names in them left out."""
    found: Counter[str] = Counter()
    for reason, count in reasons.items():
        found[_NAME.sub("'...'", reason)] += count
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST_REASONS])
