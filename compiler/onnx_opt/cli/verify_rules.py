"""``onnx-opt verify-rules [NAME...]``: rules on random models, before and after, in ONNX Runtime."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from onnx_opt.cli import complain
from onnx_opt.cli.group import examples

if TYPE_CHECKING:
    from rich.table import Table

    from onnx_opt.harness.campaign import Campaign, Outcome

EXAMPLES = """
onnx-opt verify-rules merge-transposes
onnx-opt verify-rules --rules-file my_rules.py --reproducer wrong
"""
HELP = """Try rewrite rules on random models that contain their pattern, and on near misses that they must leave alone.

Before and after are compared in ONNX Runtime without its own optimizations: static and dynamic sizes, all types that
the operators take, NaN, infinities, signed zeros, empty tensors, results that others read. Dims are also proven equal
symbolically. Exit code 1: a rule is wrong, or no instance of it could be made.

NAME is a rule, * and ? allowed; without any, all installed rules are tried, or all of --rules-file."""
COLUMNS = ("rule", "matched", "near misses declined", "wrong", "symbolic", "reasons")
SHOWN_REASONS = 2


def build() -> click.Command:
    path = click.Path()
    source = "Your rules: my_rules.py, my_rules.py:NAME, or a module. May be repeated."
    params: list[click.Parameter] = [
        click.Argument(["names"], nargs=-1, metavar="[NAME]..."),
        click.Option(["--rules-file", "sources"], multiple=True, metavar="FILE", help=source),
        click.Option(["--instances"], type=click.IntRange(min=1), default=50, help="Models for each rule.  [50]"),
        click.Option(["--seed"], type=click.IntRange(min=0), default=0, help="Seed of the first model.  [0]"),
        click.Option(["--jobs", "-j"], type=click.IntRange(min=1), help="Rules tried at a time.  [one for each core]"),
        click.Option(["--reproducer"], type=path, metavar="DIR", help="Write a small model for each wrong rule."),
        click.Option(["--json", "as_json"], is_flag=True, help="Write JSON."),
        click.Option(["--traceback"], is_flag=True, expose_value=False, help="Show where in the code an error arose."),
    ]
    return click.Command("verify-rules", params=params, callback=run, help=HELP, epilog=examples(EXAMPLES))


def run(
    names: Sequence[str],
    sources: Sequence[str],
    instances: int,
    seed: int,
    jobs: int | None,
    reproducer: str | None,
    as_json: bool,
) -> int:
    """Try the rules; the exit code."""
    from onnx_opt.harness.campaign import Campaign, select, write_reproducer
    from onnx_opt.validate.run import require_runtime

    require_runtime()  # where it is missing, say so before any work is done
    campaign = Campaign(tuple(sources), seed, instances)
    chosen = select(campaign.rules(), names)
    outcomes = _try_all(campaign, chosen, jobs or os.cpu_count() or 1, shows=not as_json)
    reports = [dict(outcome.report) for outcome in outcomes]
    for outcome, report in zip(outcomes, reports, strict=True):
        failures = outcome.failures if reproducer else ()
        written = [write_reproducer(Path(reproducer or "."), failure, sources) for failure in failures]
        report["reproducers"] = list(map(str, written))
    passed = all(outcome.passed for outcome in outcomes)
    if as_json:
        click.echo(json.dumps({"passed": passed, "seed": seed, "rules": reports}, indent=2))
    else:
        _show(outcomes, reports, seed)
    return 0 if passed else 1


def _try_all(campaign: Campaign, names: Sequence[str], jobs: int, shows: bool) -> list[Outcome]:
    """The outcomes, in the order of `names`."""
    from onnx_opt.cli.progress import Progress

    outcomes: dict[str, Outcome] = {}
    with Progress(shows and sys.stderr.isatty()) as progress:
        progress.tell("trying rules", 0, len(names))
        for outcome in campaign.run(names, min(jobs, len(names))):
            outcomes[outcome.name] = outcome
            progress.tell(f"trying rules ({outcome.name} is done)", len(outcomes), len(names))
    return [outcomes[name] for name in names]


def _show(outcomes: Sequence[Outcome], reports: Sequence[dict[str, Any]], seed: int) -> None:
    from rich.console import Console

    from onnx_opt.harness.text import describe

    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(_table(reports))
    for outcome, report in zip(outcomes, reports, strict=True):
        for failure in outcome.failures:
            complain(f"rule {failure.rule}: {failure.reason}")
            if failure.model:
                click.echo(describe(failure))
        for place in report["reproducers"]:
            click.echo(f"written: {place}")
    wrong = sum(not outcome.passed for outcome in outcomes)
    models = sum(report["instances"] for report in reports)
    proven = sum(report["symbolic"]["status"] == "proven" for report in reports)
    verdict = f"{wrong} of {len(outcomes)} rules failed" if wrong else f"{len(outcomes)} rules hold"
    click.echo(f"{verdict} on {models} models (seed {seed}); the dims of {proven} are proven at every size")


def _table(reports: Sequence[dict[str, Any]]) -> Table:
    from rich.markup import escape

    from onnx_opt.cli.show import new_table

    found = new_table("", *COLUMNS)
    found.columns[-1].justify = "left"
    for report in reports:
        misses = f"{report['near_misses_declined']} of {report['near_misses']}"
        counts = [f"{report['matched']} of {report['instances']}", misses, str(report["wrong"] or "")]
        found.add_row(report["rule"], *counts, report["symbolic"]["status"], escape(_reasons(report)))
    return found


def _reasons(report: dict[str, Any]) -> str:
    """Why the rule failed, or else the most frequent reasons for which it declined."""
    failures = [failure["reason"] for failure in report["failures"]]
    unprovable = [report["symbolic"]["reason"]] if report["symbolic"]["status"] == "not provable" else []
    return "; ".join((failures or [*unprovable, *report["declines"]])[:SHOWN_REASONS])
