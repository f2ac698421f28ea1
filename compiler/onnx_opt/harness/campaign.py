"""Many rules, in several processes: `verify` for each, and the smallest model for what is wrong."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnx_opt.errors import UsageError
from onnx_opt.harness.discover import find_rules, load_rules
from onnx_opt.harness.reduce import reduced
from onnx_opt.harness.report import Failure, HarnessReport
from onnx_opt.harness.text import describe
from onnx_opt.harness.verify import verify
from onnx_opt.passes import nearest
from onnx_opt.rewrite.rule import Rule


@dataclass(frozen=True)
class Campaign:
    """Which rules are tried on how many instances: those of `sources` (files and modules), else all installed ones."""

    sources: tuple[str, ...] = ()
    seed: int = 0
    instances: int = 50

    def rules(self) -> dict[str, Rule]:
        """The rules by name. Raises `UsageError`."""
        if not self.sources:
            return find_rules()
        found: dict[str, Rule] = {}
        for source in self.sources:
            for name, rule in load_rules(source).items():
                if found.setdefault(name, rule) is not rule:
                    raise UsageError(f"two rules are called '{name}', one of them in {source}")
        return found

    def verify(self, name: str) -> Outcome:
        """One rule; what is wrong is made small."""
        rule = self.rules()[name]
        report = verify(rule, seed=self.seed, instances=self.instances)
        return Outcome.of(report, [reduced(rule, failure) for failure in _one_of_a_kind(report)])

    def run(self, names: Sequence[str], jobs: int = 1) -> Iterator[Outcome]:
        """All rules called `names`, as they are done, `jobs` at a time; what comes out does not depend on `jobs`."""
        if jobs == 1 or len(names) == 1:
            yield from map(self.verify, names)
            return
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            # Those that take longest are not known beforehand, so each is a task of its own.
            for done in as_completed([pool.submit(partial(Campaign.verify, self), name) for name in names]):
                yield done.result()


@dataclass(frozen=True)
class Outcome:
    """The report on a rule as plain data, and its failures, one of each kind, as small as can be."""

    name: str
    report: dict[str, Any]
    failures: tuple[Failure, ...] = ()

    @staticmethod
    def of(report: HarnessReport, failures: Sequence[Failure]) -> Outcome:
        data = report.to_dict() | {"failures": [failure.to_dict() for failure in failures]}
        return Outcome(report.rule.name, data | {"wrong": len(report.failures)}, tuple(failures))

    @property
    def passed(self) -> bool:
        return not self.failures


def select(rules: dict[str, Rule], names: Sequence[str]) -> list[str]:
    """The rules that `names` stand for, in which * and ? are allowed; all for none. Raises `UsageError`."""
    chosen: list[str] = []
    for name in names:
        found = [rule for rule in rules if fnmatchcase(rule, name)]
        if not found:
            raise UsageError(f"there is no rule '{name}'", remedy=nearest(name, rules))
        chosen += found
    return sorted(set(chosen or rules))


def _one_of_a_kind(report: HarnessReport) -> list[Failure]:
    """The first failure of each kind and target."""
    first: dict[tuple[str, str], Failure] = {}
    for failure in report.failures:
        first.setdefault((failure.kind, failure.target), failure)
    return list(first.values())


def write_reproducer(folder: Path, failure: Failure, sources: Sequence[str] = ()) -> Path:
    """Write the instance before and after the rule, its inputs, and what is wrong; the folder of these files."""
    place = folder / "-".join(filter(None, (failure.rule, failure.kind, failure.target))).replace(" ", "-")
    place.mkdir(parents=True, exist_ok=True)
    for name, model in (("before", failure.model), ("after", failure.result)):
        if model:
            onnx.save(onnx.ModelProto.FromString(model), place / f"{name}.onnx")
    if failure.feed:
        np.savez(place / "inputs.npz", **failure.feed)  # type: ignore[arg-type]
    own = "".join(f" --rules-file {shlex.quote(source)}" for source in sources)
    again = f"onnx-opt verify-rules {failure.rule}{own} --seed {failure.seed} --instances 1"
    (place / "fault.txt").write_text(f"{describe(failure)}\n\nagain: {again}\n")
    return place
