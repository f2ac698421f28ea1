"""Many cases over some worker processes, and what came of them."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from .cases import FILE, LIGHT, kind_of
from .judge import Finding
from .shrink import shrink
from .store import write
from .summary import Summary
from .ways import Way
from .work import Report
from .worker import LIMIT, Died, Failed, Worker

HARNESS = "harness"
"""The kind of a finding about the generator or the runner themselves."""
LONG_LIMIT = 300.0
"""Seconds of work that real models may take."""
SHRUNK_PER_KIND = 3
"""Findings with the same way, kind and text that are made small; many cases meet one bug. Of one case and kind, only
the first is."""


class Campaign:
    """`run` examines every case; `reports` and `findings` then hold the results."""

    def __init__(
        self,
        names: Iterable[str],
        jobs: int = 1,
        regressions: Path | None = None,
        tell: Callable[[str], object] = lambda text: None,
        precision: bool = False,
    ):
        self.reports: list[Report] = []
        self.regressions, self.tell, self.precision = regressions, tell, precision
        self.jobs = max(1, jobs)
        self._names: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        for item in enumerate(names):
            self._names.put(item)
        self._places: dict[str, int] = {}
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def run(self) -> Summary:
        """Examine all cases."""
        threads = [threading.Thread(target=self._work) for _ in range(self.jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.reports.sort(key=lambda report: self._places[report.name])
        return Summary(self.reports)

    @property
    def findings(self) -> list[tuple[str, Finding]]:
        """(case, finding) of all that is wrong."""
        return [(report.name, finding) for report in self.reports for finding in report.findings]

    # -- one worker ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        worker = Worker()
        while True:
            try:
                place, name = self._names.get_nowait()
            except queue.Empty:
                worker.close()
                return
            report = examined(worker, name, self.precision)
            with self._lock:
                self._places[name] = place
                self.reports.append(report)
                if len(self.reports) % 100 == 0:
                    self.tell(f"  {Summary(self.reports)}")
            kinds = {finding.kind: finding for finding in reversed(report.findings)}
            for finding in kinds.values():
                self.tell(f"{name}: {finding.way}: {finding.kind}: {finding.text[-300:]}")
                self._keep(worker, name, finding)

    def _keep(self, worker: Worker, name: str, finding: Finding) -> None:
        """Make a finding small and write it, unless it was met often enough."""
        with self._lock:
            mark = f"{finding.way} {finding.kind} {finding.text[-60:] if finding.kind != 'different' else name}"
            self._seen[mark] += 1
            if self.regressions is None or self._seen[mark] > SHRUNK_PER_KIND or finding.kind == HARNESS:
                return
        try:
            model, feeds = worker.call("make_case", name, limit=LONG_LIMIT)
            small = shrink(worker, model, feeds, Way.parse(finding.way), finding)
            path = write(self.regressions, worker, _stem(name), small)
        except (Died, Failed, ValueError) as error:
            self.tell(f"  it can't be made small: {error}")
            return
        self.tell(f"  written to {path}")


def _stem(name: str) -> str:
    """What a case's file is called."""
    kind, _, rest = name.partition(":")
    return f"{kind}-{Path(rest).stem}".replace("_", "-")


def examined(worker: Worker, name: str, precision: bool = False) -> Report:
    """The report on a case; a way on which the process dies is left out in another try."""
    limit = LONG_LIMIT if kind_of(name) in (FILE, LIGHT) else LIMIT
    deaths: list[Finding] = []
    while True:
        try:
            skip = [death.way for death in deaths]
            report: Report = worker.call("examine", name, precision, skip, limit=limit)
        except Died as death:
            action, _, way = death.stage.partition(" ")
            if action not in ("optimize", "run", "compare") or any(each.way == way for each in deaths):
                return Report(name, thrown_away=str(death), findings=deaths)
            deaths.append(Finding(way, "hang" if death.hangs else "crash", f"in stage '{action}'"))
        except Failed as error:
            return Report(name, findings=[*deaths, Finding("", HARNESS, str(error))])
        else:
            report.findings += deaths
            return report
