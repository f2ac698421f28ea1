"""What the harness found out about a rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from onnx_opt.rewrite.rule import Rule


@dataclass(frozen=True)
class Failure:
    """Something wrong with a rule.

    `verify(rule, seed=seed, instances=1)` shows it again. `model` is the instance that the rule was applied to,
    `result` what it became for `target`; both are empty where there is no instance at all. `note` says in what the
    instance is a near miss.
    """

    rule: str
    reason: str
    seed: int
    model: bytes = b""
    result: bytes = b""
    target: str = ""
    note: str = ""


@dataclass
class HarnessReport:
    """The instances of a rule, and what became of them.

    `matched` instances were rewritten for a target at least, `declined` ones for none, `rejected` attempts gave no
    model that ONNX Runtime runs. `unproven` are runs of results that need another runtime. `declines` and `rejections`
    count the reasons.
    """

    rule: Rule
    seed: int = 0
    matched: int = 0
    declined: int = 0
    rejected: int = 0
    unproven: int = 0
    failures: list[Failure] = field(default_factory=list)
    declines: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)

    @property
    def instances(self) -> int:
        """How many instances the rule was tried on."""
        return self.matched + self.declined

    @property
    def passed(self) -> bool:
        return not self.failures
