"""How the project behaves as models grow: each figure beside its yardstick, measured in the same run.

\b
    python bench/scale.py                    all scenarios
    python bench/scale.py chain growth       some of them
    python bench/scale.py --quick            all of them on small models, to see that they work

\b
    chain          optimize a chain of 6,000 nodes without validation, beside onnxsim (CPU seconds, whole process)
    growth         the same for 1,000, 10,000 and 100,000 nodes, and the ratios, the start of the process taken off
    extremes       chains of 50,000, one value with 50,000 users, If nested 1,000 deep: ten times the size, at most
                   twelve times the seconds
    help           seconds of `onnx-opt --help`
    layout         what the layout pass takes on networks in NHWC, in proportion to their nodes (wall seconds)
    resnet50       ResNet-50 optimized and proven, start to end (wall seconds)
    roundtrip      load and save 100,000 transformer nodes, beside protobuf and onnx-ir (in one process, the best)
    memory         rewrite 1.5 GB of inline weights without validation: own memory, less that of a tiny model
    memory-proven  the same with validation: own memory in proportion to the weights
    external       4 GB of weights in an external file, rewritten and proven: the same proportion

Own memory is anonymous and shared memory, sampled every few milliseconds over all processes of the command. Pages of
a memory-mapped model file are left out: the system takes them back when it needs them.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import click
import measure
from compare import LAYOUT, REASON_LENGTH, generated
from measure import Run
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tools import DEFAULT_ENVIRONMENT, ONNX_IR, TOOLS, Tool, interpreter, prepare, skipped, versions

HERE = Path(__file__).resolve().parent
OURS, PROVEN, ONNXSIM = TOOLS["onnx-opt"], TOOLS["onnx-opt-proven"], TOOLS["onnxsim"]


@dataclass(frozen=True)
class Figure:
    """One line of the report. `limit` is the most that the project allows itself; None where it sets itself none."""

    scenario: str
    what: str
    value: float | None
    unit: str
    limit: float | None = None
    trouble: str = ""

    @property
    def kept(self) -> bool | None:
        return None if self.limit is None or self.value is None else self.value <= self.limit


@dataclass
class Bench:
    """What the scenarios share: sizes, the tools' environment, a folder for results."""

    environment: Path
    work: Path
    quick: bool
    repeat: int
    figures: list[Figure] = field(default_factory=list)

    def size(self, full: str, quick: str) -> Path:
        """The generated model for this run."""
        return generated(quick if self.quick else full)

    def optimize(self, tool: Tool, model: Path) -> Run:
        return measure.run(tool.argv(self.environment, model, self.work / "result.onnx"), timeout=1800)

    def best(self, tool: Tool, model: Path, repeat: int | None = None) -> Run:
        return measure.best_of(repeat or self.repeat, lambda: self.optimize(tool, model))

    def add(self, scenario: str, what: str, value: float, unit: str, *runs: Run, limit: float | None = None) -> None:
        """Record a figure, or why there is none when one of the runs behind it failed. Small models have no limits."""
        trouble = next((run.reason for run in runs if not run.ok), "")
        bound = None if self.quick else limit
        self.figures.append(Figure(scenario, what, None if trouble else value, unit, bound, trouble))


def chain(bench: Bench) -> None:
    model = bench.size("chain:6000", "chain:60")
    turns = {tool.name: partial(bench.optimize, tool, model) for tool in (OURS, ONNXSIM)}
    runs = measure.interleaved(bench.repeat, turns)
    ours, theirs = runs[OURS.name], runs[ONNXSIM.name]
    bench.add("chain", "onnx-opt", ours.cpu, "CPU s", ours)
    bench.add("chain", "onnxsim", theirs.cpu, "CPU s", theirs)
    bench.add("chain", "onnx-opt / onnxsim", ours.cpu / max(theirs.cpu, 1e-9), "x", ours, theirs, limit=1.0)


def node_count(model: Path) -> int:
    described = measure.run([sys.executable, str(HERE / "judge.py"), "describe", str(model)])
    return int(json.loads(measure.last_line(described.stdout))["nodes"])


def growth(bench: Bench) -> None:
    """Seconds are `start + nodes * cost`, the start taken from the two smallest models; the cost should not grow."""
    sizes = (30, 120, 240, 480) if bench.quick else (100, 1_000, 10_000, 100_000)
    for kind in ("chain", "transformer"):
        models = {size: generated(f"{kind}:{size}") for size in sizes}
        nodes = {size: node_count(model) for size, model in models.items()}
        # What takes less than a second differs by little: more runs, to tell it from noise.
        repeats = {size: max(bench.repeat, 5) if size <= 1_000 < sizes[-1] else bench.repeat for size in sizes}
        runs = {size: bench.best(OURS, model, repeats[size]) for size, model in models.items()}
        least, small = (runs[size].cpu for size in sizes[:2])
        start = least - (small - least) * nodes[sizes[0]] / max(nodes[sizes[1]] - nodes[sizes[0]], 1)
        costs = {size: max(run.cpu - start, 1e-6) / nodes[size] for size, run in runs.items()}
        for size in sizes[1:]:
            bench.add("growth", f"{kind} of {size:,}", runs[size].cpu, "CPU s", runs[size])
        for fewer, more in itertools.pairwise(sizes[1:]):
            measured = (runs[sizes[0]], runs[fewer], runs[more])
            ratio = more / fewer * costs[more] / costs[fewer]
            bench.add("growth", f"{kind} {more:,} / {fewer:,}", ratio, "x", *measured, limit=12.0)


def extremes(bench: Bench) -> None:
    """Seconds beyond those of a tiny model, as `growth`, but of a tenth and of the whole."""
    start = bench.best(OURS, generated("line:2")).cpu
    for kind, size in (("line", 50_000), ("users", 50_000), ("nested", 1_000)):
        sizes = (size // 1000 or 2, size // 100) if bench.quick else (size // 10, size)
        fewer, more = (bench.best(OURS, generated(f"{kind}:{n}")) for n in sizes)
        bench.add("extremes", f"{kind} of {sizes[1]:,}", more.cpu, "CPU s", more)
        ratio = max(more.cpu - start, 1e-6) / max(fewer.cpu - start, 0.05)
        bench.add("extremes", f"{kind} {sizes[1]:,} / {sizes[0]:,}", ratio, "x", fewer, more, limit=12.0)


def layout(bench: Bench) -> None:
    """One region that holds the whole network, thousands of small ones, and attention."""
    for kind, sizes in (("nhwc-region", (2_000, 20_000)), ("nhwc-resnet", (150, 1_500)), ("vit", (80, 800))):
        costs = {}
        for size in (4, 20) if bench.quick else sizes:
            model = generated(f"{kind}:{size}")
            nodes = node_count(model)
            run = bench.best(Tool("layout", (*OURS.command, "-O0", "--layout", "--json")), model)
            seconds = json.loads(run.stdout)["passes"][0]["seconds"] if run.ok else 0.0
            costs[nodes] = seconds / nodes
            bench.add("layout", f"{kind}, {nodes:,} nodes", seconds, "s", run, limit=10.0)
        (few, low), (many, high) = costs.items()
        bench.add("layout", f"{kind}, a node of {many:,} / of {few:,}", high / max(low, 1e-9), "x", limit=2.0)


def help_text(bench: Bench) -> None:
    runs = [measure.run([sys.executable, "-m", "onnx_opt.cli", "--help"]) for _ in range(5)]
    best = min(runs, key=lambda run: (not run.ok, run.wall))
    bench.add("help", "onnx-opt --help", best.wall, "s", best, limit=0.3)


def resnet50(bench: Bench) -> None:
    model = bench.size("resnet50", "resnet50:32")
    runs = [bench.optimize(PROVEN, model) for _ in range(bench.repeat)]
    best = min(runs, key=lambda run: (not run.ok, run.wall))
    bench.add("resnet50", "optimized and proven", best.wall, "s", best, limit=3.0)
    bench.add("resnet50", "optimized and proven", best.cpu, "CPU s", best)


def roundtrip(bench: Bench) -> None:
    model = bench.size("transformer-typed:100000", "transformer-typed:300")
    own, public = sys.executable, str(interpreter(bench.environment))
    for library, python, limit in (("protobuf", own, None), ("onnx-opt", own, 3.0), ("onnx-ir", public, None)):
        script = [python, str(HERE / "loadsave.py"), library, str(model), str(bench.work / "copy.onnx")]
        run = measure.run([*script, str(bench.repeat)], timeout=1800)
        seconds = json.loads(measure.last_line(run.stdout))["cpu"] if run.ok else 0.0
        bench.add("roundtrip", library, seconds, "CPU s", run, limit=limit)


def memory(bench: Bench, scenario: str = "memory", tool: Tool = OURS, full: str = "mlp:1.5G") -> None:
    model, tiny = bench.size(full, full.split(":")[0] + ":1M"), generated("mlp:1K")
    data = model.with_name(model.name + ".data")
    weights = model.stat().st_size + (data.stat().st_size if data.exists() else 0)
    base, run = bench.best(tool, tiny, repeat=1), bench.best(tool, model, repeat=1)
    own, start = float(run.peak_own or 0), float(base.peak_own or 0)
    unproven = tool is OURS
    extra = (own - start) / 1e6
    bench.add(scenario, "own, above a tiny model", extra, "MB", base, run, limit=100.0 if unproven else None)
    bench.add(scenario, "own / weights", own / weights, "x", run, limit=None if unproven else 1.4)
    bench.add(scenario, "peak with mapped pages", run.peak / 1e6, "MB", run)
    bench.add(scenario, "time", run.cpu, "CPU s", run)


def memory_proven(bench: Bench) -> None:
    memory(bench, "memory-proven", PROVEN)


def external(bench: Bench) -> None:
    memory(bench, "external", PROVEN, "mlp-external:4G")


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    "chain": chain,
    "growth": growth,
    "extremes": extremes,
    "layout": layout,
    "help": help_text,
    "resnet50": resnet50,
    "roundtrip": roundtrip,
    "memory": memory,
    "memory-proven": memory_proven,
    "external": external,
}


def table_of(figures: Sequence[Figure]) -> Table:
    troubles: dict[str, list[str]] = {}
    for figure in figures:
        if figure.trouble:
            troubles.setdefault(figure.trouble[:REASON_LENGTH], []).append(figure.scenario)
    notes = "\n".join(f"{', '.join(dict.fromkeys(names))}: {trouble}" for trouble, names in troubles.items())
    table = Table(caption=escape(notes) or None, **LAYOUT)
    for column in ("scenario", "what", "figure", "unit", "at most", ""):
        table.add_column(column, justify="right" if column in ("figure", "at most") else "left", no_wrap=True)
    verdicts = {True: "kept", False: "[red]missed[/]", None: ""}
    for index, figure in enumerate(figures):
        first = index == 0 or figures[index - 1].scenario != figure.scenario
        value = "-" if figure.value is None else f"{figure.value:,.2f}"
        limit = "" if figure.limit is None else f"{figure.limit:g}"
        verdict = "[red]failed[/]" if figure.trouble else verdicts[figure.kept]
        table.add_row(figure.scenario if first else "", figure.what, value, figure.unit, limit, verdict)
    return table


def install(environment: Path, scenarios: Sequence[str], console: Console) -> None:
    needed = {"chain": ONNXSIM.requires, "roundtrip": ONNX_IR}
    with console.status("installing the public tools..."):
        failures = prepare(environment, [needed[name] for name in scenarios if name in needed])
    for line in skipped(failures):
        console.print(line, style="yellow", markup=False, highlight=False)


@click.command(help=__doc__)
@click.argument("scenarios", nargs=-1, type=click.Choice(list(SCENARIOS)))
@click.option("--quick", is_flag=True, help="Small models; the figures mean nothing.")
@click.option("--repeat", default=3, show_default=True, help="Runs of everything that is timed; the best counts.")
@click.option("--tools-env", default=DEFAULT_ENVIRONMENT, type=click.Path(path_type=Path), show_default=True)
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here.")
def main(scenarios: tuple[str, ...], quick: bool, repeat: int, tools_env: Path, report: Path | None) -> None:
    console = Console()
    chosen = scenarios or tuple(SCENARIOS)
    environment = tools_env.absolute()
    install(environment, chosen, console)
    with tempfile.TemporaryDirectory(prefix="onnx-opt-bench-") as work:
        bench = Bench(environment, Path(work), quick, 1 if quick else repeat)
        for name in chosen:
            with console.status(name):
                SCENARIOS[name](bench)
    console.print(table_of(bench.figures))
    if report:
        content = {"versions": versions(environment), "figures": [asdict(figure) for figure in bench.figures]}
        report.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
