"""Many outputs at a time: what `build` and `batch` have in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from time import monotonic
from typing import Any

import click

from onnx_opt.builds import executors
from onnx_opt.builds.stamps import Stamps, State
from onnx_opt.builds.steps import Compiler, Step
from onnx_opt.builds.tasks import Outcome, tools_hash
from onnx_opt.builds.update import Update
from onnx_opt.cli import complain, optimize, params, show
from onnx_opt.cli.progress import Progress
from onnx_opt.report import human_bytes


class ManyCommand(optimize.OptimizeCommand):
    """A command that takes the flags of the plain one beside its own, those of `own_section`, which its help lists."""

    own_section = ""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [param for param in self.params if getattr(param, "section", "") == self.own_section]
        with formatter.section("Flags"):
            formatter.write_dl([record for param in own if (record := param.get_help_record(ctx))])
            formatter.write_text("and any flag of onnx-opt MODEL: onnx-opt --help")


def compiler() -> Compiler:
    """The plain command, which makes one output."""
    return Compiler(optimize.build(), optimize.pipeline_for, _check_values)


def _check_values(given: dict[str, Any]) -> None:
    """Raise UsageError for values that a run would refuse."""
    params.read_dims(given["dims"])
    params.read_shapes(given["shapes"])
    params.read_tolerance(given["tolerance"])
    params.read_size("--max-memory", given["max_memory"])


@dataclass(frozen=True)
class Shows:
    """How much is written, and in which form."""

    as_json: bool
    quiet: bool

    def say(self, text: str) -> None:
        if not self.quiet and not self.as_json:
            click.echo(text)


@dataclass
class Work:
    """Outputs, and what is done with them: `jobs` at a time, 0 for one a core."""

    stamps: Stamps
    steps: Sequence[Step]
    jobs: int
    cache: bool
    shows: Shows
    executor: AbstractContextManager[Executor] | None = None
    by_value: bool = False
    max_memory: int | None = None
    remote: bool = False
    table: bool = False
    outcomes: list[tuple[State, Outcome | None]] = field(default_factory=list)
    """What became of each output; None where it was up to date."""

    @cached_property
    def states(self) -> list[State]:
        """Each output as it was found."""
        return [self.stamps.state(step) for step in self.steps]

    def list(self) -> int:
        """Tell which outputs there are, and which have to be made, and why."""
        for state in self.states:
            self.shows.say(f"{state.step.name}: {state.step.output} ({state.reason or 'up to date'})")
        self._write_reasons({state.step.name: state.reason for state in self.states})
        return 0

    def check(self) -> int:
        """Tell which outputs are not what would be made; 1 where any is not."""
        stale = [state for state in self.states if state.reason]
        missing = [(state, state.reason) for state in stale if not state.step.output.exists()]
        others = [state for state in stale if state.step.output.exists()]
        outcomes = ((state, outcome) for state, outcome in self._made(others, check=True) if outcome.code)
        differing = ((state, outcome.error if _is_error(outcome) else state.reason) for state, outcome in outcomes)
        wrong: dict[str, str] = {}
        for state, reason in chain(missing, differing):
            wrong[state.step.name] = reason
            complain(f"{state.step.name}: {state.step.output}: out of date: {reason}", "check")
        self.shows.say(f"{_count(len(self.steps), 'output')}: {len(wrong) or 'none'} missing or out of date")
        self._write_reasons({step.name: wrong.get(step.name, "") for step in self.steps})
        return 1 if wrong else 0

    def _write_reasons(self, reasons: Mapping[str, str]) -> None:
        """Why any output has to be made, as JSON where that was asked for; '' for one that has not."""
        if self.shows.as_json:
            found = [
                {"name": step.name, "model": step.model, "output": str(step.output), "reason": reasons[step.name]}
                for step in self.steps
            ]
            click.echo(json.dumps({"outputs": found}, indent=2))

    def run(self, force: bool = False) -> int:
        """Make what has to be made; the exit code is that of the failures, 1 where they differ."""
        stale = [state for state in self.states if force or state.reason]
        self.outcomes = [(state, None) for state in self.states if not (force or state.reason)]
        start = monotonic()
        for state, outcome in self._made(stale, force=force):
            self.outcomes.append((state, outcome))
            self._tell(state, outcome)
        self._warn_of_versions()
        self._sum_up(monotonic() - start)
        codes = {outcome.code for _, outcome in self.outcomes if outcome is not None and outcome.code}
        return codes.pop() if len(codes) == 1 else int(bool(codes))

    def _made(
        self, stale: Sequence[State], check: bool = False, force: bool = False
    ) -> Iterator[tuple[State, Outcome]]:
        jobs = min(self.jobs or executors.cores(), max(len(stale), 1))
        update = Update(
            self.stamps,
            cache=self.cache and not force,
            check=check,
            threads=1 if self.remote else max(executors.cores() // jobs, 1),
            max_memory=self.max_memory,
            by_value=self.by_value,
            ahead=64 if self.remote else jobs,
        )
        if not stale:
            return
        visible = sys.stderr.isatty() and not self.shows.quiet and not self.shows.as_json
        with self.executor or executors.local(jobs) as executor, Progress(visible) as progress:
            for done, (state, outcome) in enumerate(update.run(stale, executor), 1):
                progress.tell(state.step.name, done, len(stale))
                yield state, outcome

    def _tell(self, state: State, outcome: Outcome) -> None:
        step = state.step
        for line in outcome.messages.splitlines():
            if not outcome.code and line.strip():
                click.echo(line, err=True)
        if outcome.code:
            complain(f"{step.name}: {outcome.error}")
            return
        source = "from the cache" if outcome.report.get("cached") else f"{outcome.seconds:.1f} s"
        if self.table:
            return
        self.shows.say(f"{step.name}: {step.output} ({outcome.status}, {_figures(outcome)}, {source})")

    def _sum_up(self, seconds: float) -> None:
        made = [outcome for _, outcome in self.outcomes if outcome is not None]
        failed = sum(1 for outcome in made if outcome.code)
        kept = sum(1 for outcome in made if outcome.report.get("cached"))
        if self.shows.as_json:
            click.echo(json.dumps({"outputs": [_entry(*each) for each in self.outcomes]}, indent=2))
            return
        if not made:
            self.shows.say(f"nothing to do: {_count(len(self.outcomes), 'output')} up to date")
            return
        parts = {
            "made": len(made) - failed - kept,
            "from the cache": kept,
            "up to date": len(self.outcomes) - len(made),
            "failed": failed,
        }
        told = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
        if self.table and not self.shows.quiet:
            show.print_batch([_row(*each) for each in sorted(self.outcomes, key=lambda each: each[0].step.name)])
        self.shows.say(f"{_count(len(self.outcomes), 'output')} in {seconds:.1f} s: {told}")

    def _warn_of_versions(self) -> None:
        ours = tools_hash()
        others = [state.step.name for state, made in self.outcomes if made and made.tools not in ("", ours)]
        if others:
            what = _count(len(others), "output")
            complain(f"{what} made with other versions or processors than this machine's: {others[0]}...", "warning")


def _is_error(outcome: Outcome) -> bool:
    """Whether a check could not be made, rather than found a difference."""
    return "onnx-opt: error:" in outcome.messages


def _figures(outcome: Outcome) -> str:
    before, after = outcome.report.get("before", {}), outcome.report.get("after", {})
    if not before or not after:
        return ""
    return (
        f"{before['nodes']} -> {after['nodes']} nodes, {human_bytes(before['bytes'])} -> {human_bytes(after['bytes'])}"
    )


def _row(state: State, outcome: Outcome | None) -> list[str]:
    """One output for the table: model, status, nodes, bytes, seconds."""
    if outcome is None:
        return [state.step.name, "up to date", "", "", ""]
    before, after = outcome.report.get("before"), outcome.report.get("after")
    nodes = f"{before['nodes']} -> {after['nodes']}" if before and after else ""
    size = f"{human_bytes(before['bytes'])} -> {human_bytes(after['bytes'])}" if before and after else ""
    seconds = "cache" if outcome.report.get("cached") else f"{outcome.seconds:.1f}"
    return [state.step.name, outcome.status, nodes, size, seconds]


def _entry(state: State, outcome: Outcome | None) -> dict[str, Any]:
    """One output for the JSON report."""
    step = state.step
    where = {"name": step.name, "model": step.model, "output": str(step.output)}
    if outcome is None:
        return {**where, "status": "up to date"}
    found = {"reason": state.reason, "exit_code": outcome.code, "seconds": round(outcome.seconds, 3)}
    if outcome.code:
        return {**where, "status": "failed", "error": outcome.error, **found}
    return {**where, "status": outcome.status, **found, "report": dict(outcome.report)}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
