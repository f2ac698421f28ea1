"""Many seeds over some worker processes, and what came of them."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .judge import Finding
from .shrink import shrink
from .store import write
from .ways import Way
from .work import Report
from .worker import Died, Failed, Worker

HARNESS = "harness"
"""The kind of a finding about the generator or the runner themselves."""
SHRUNK_PER_KIND = 3
"""Findings with the same way, kind and text that are made small; many seeds meet one bug. Of one seed and kind, only
the first is."""


class Campaign:
    """`run` examines every seed; `reports` and `findings` then hold the results."""

    def __init__(
        self,
        seeds: Iterable[int],
        jobs: int = 1,
        regressions: Path | None = None,
        tell: Callable[[str], object] = lambda text: None,
    ):
        self.reports: list[Report] = []
        self.regressions, self.tell = regressions, tell
        self.jobs = max(1, jobs)
        self._seeds: queue.SimpleQueue[int] = queue.SimpleQueue()
        for seed in seeds:
            self._seeds.put(seed)
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Examine all seeds."""
        threads = [threading.Thread(target=self._work) for _ in range(self.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.reports.sort(key=lambda report: report.seed)

    @property
    def findings(self) -> list[tuple[int, Finding]]:
        """(seed, finding) of all that is wrong."""
        return [(report.seed, finding) for report in self.reports for finding in report.findings]

    def summary(self) -> str:
        """One line."""
        judged = [report for report in self.reports if not report.thrown_away]
        ways = sum(report.ways for report in judged)
        return (
            f"{len(self.reports)} models, {len(self.reports) - len(judged)} thrown away, "
            f"{ways} optimized, {len(self.findings)} findings in {len({seed for seed, _ in self.findings})} models"
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, for a build system."""
        operators: Counter[str] = Counter()
        for report in self.reports:
            operators.update(report.operators)
        return {
            "models": len(self.reports),
            "thrown_away": {str(r.seed): r.thrown_away for r in self.reports if r.thrown_away},
            "optimized": sum(report.ways for report in self.reports),
            "nodes": sum(report.nodes for report in self.reports),
            "operators": dict(sorted(operators.items())),
            "findings": [{"seed": seed, **finding.as_dict()} for seed, finding in self.findings],
        }

    # -- one worker ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        worker = Worker()
        while True:
            try:
                seed = self._seeds.get_nowait()
            except queue.Empty:
                worker.close()
                return
            report = examined(worker, seed)
            with self._lock:
                self.reports.append(report)
                if len(self.reports) % 100 == 0:
                    self.tell(f"  {self.summary()}")
            kinds = {finding.kind: finding for finding in reversed(report.findings)}
            for finding in kinds.values():
                self.tell(f"seed {seed}: {finding.way}: {finding.kind}: {finding.text[:200]}")
                self._keep(worker, seed, finding)

    def _keep(self, worker: Worker, seed: int, finding: Finding) -> None:
        """Make a finding small and write it, unless it was met often enough."""
        with self._lock:
            mark = f"{finding.way} {finding.kind} {finding.text[-60:] if finding.kind != 'different' else seed}"
            self._seen[mark] += 1
            if self.regressions is None or self._seen[mark] > SHRUNK_PER_KIND:
                return
        if finding.kind == HARNESS:
            return
        model, feeds = worker.call("make_case", seed)
        small = shrink(worker, model, feeds, Way.parse(finding.way), finding)
        path = write(self.regressions, worker, f"seed{seed}", small)
        self.tell(f"  written to {path}")


def examined(worker: Worker, seed: int) -> Report:
    """The report on a seed; a way on which the process dies is left out in another try."""
    deaths: list[Finding] = []
    while True:
        try:
            report: Report = worker.call("examine", seed, [death.way for death in deaths])
        except Died as death:
            action, _, way = death.stage.partition(" ")
            if action not in ("optimize", "run", "compare") or any(each.way == way for each in deaths):
                return Report(seed, thrown_away=str(death), findings=deaths)
            deaths.append(Finding(way, "hang" if death.hangs else "crash", f"in stage '{action}'"))
        except Failed as error:
            return Report(seed, findings=[Finding("", HARNESS, str(error))])
        else:
            report.findings += deaths
            return report
