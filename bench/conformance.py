"""Count what the project and the public ONNX optimizers get wrong, over the cases of tests/conformance.

\b
    python bench/conformance.py                       onnx's backend tests and 500 random models
    python bench/conformance.py --models small/       model files too
    python bench/conformance.py --every 10            a tenth of the cases, evenly spread

Every tool runs with its default options, in processes that may crash and are replaced. Every result is judged alike:
the interface by bench/judge.py (names, types, shapes of inputs, outputs that lost what was known of them), validity by
onnx's checker where the original is valid, numbers in ONNX Runtime with its optimizations off, up to rounding, on every
feed of the case. Random outputs are not compared. A result with several faults counts once, in the first column.
"""

from __future__ import annotations

import json
import queue
import selectors
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import click
from tools import DEFAULT_ENVIRONMENT, TOOLS, interpreter, prepare, skipped, versions

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "conformance"))

from runner import cases  # noqa: E402
from runner.worker import Died, Failed, Worker  # noqa: E402

LIMIT = 120.0
"""Seconds for one tool on one case, and for judging what it made."""
SERVED = ("onnx-opt", "onnxsim", "onnxslim", "onnxoptimizer", "onnxscript")
VERDICTS = {
    "crash": "the process ended, or never would",
    "error": "the tool raised an exception",
    "interface": "inputs or outputs changed",
    "invalid": "onnx's checker or ONNX Runtime rejects the result",
    "wrong": "other results, or a feed refused that the original takes",
    "right": "",
}
KINDS = {
    "interface": "interface",
    "invalid": "invalid",
    "unloadable": "invalid",
    "refused": "wrong",
    "different": "wrong",
}
"""What the runner finds -> verdict."""


class Crashed(Exception):
    """The tool's process ended, or stood still."""


class Server:
    """A process of serve.py."""

    def __init__(self, tool: str, environment: Path):
        python = sys.executable if tool.startswith("onnx-opt") else str(interpreter(environment))
        self._command = [python, str(HERE / "serve.py"), tool]
        self._process: subprocess.Popen[str] | None = None

    def optimize(self, source: Path, result: Path) -> str:
        """What went wrong, in the tool's words; empty where nothing did. Raises `Crashed`."""
        process = self._started()
        try:
            _pipe(process.stdin).write(f"{source}\t{result}\n")
            _pipe(process.stdin).flush()
            with selectors.DefaultSelector() as waiting:
                waiting.register(_pipe(process.stdout), selectors.EVENT_READ)
                answer = _pipe(process.stdout).readline() if waiting.select(LIMIT) else ""
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.close()
            raise Crashed
        return "" if answer == "ok\n" else answer.strip()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self._process = subprocess.Popen(self._command, text=True, **pipes)
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = None


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@dataclass
class Count:
    """What came of one tool, by kind of case; examples as (verdict, case, reason)."""

    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    examples: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, case: str, verdict: str, reason: str) -> None:
        self.verdicts.setdefault(cases.kind_of(case), Counter())[verdict] += 1
        if verdict != "right":
            self.examples.append((verdict, case, reason))

    def total(self, kinds: Iterable[str] | None = None) -> Counter[str]:
        """The verdicts on cases of `kinds`, of all by default."""
        chosen = self.verdicts.keys() if kinds is None else kinds
        return sum((self.verdicts.get(kind, Counter()) for kind in chosen), Counter())


class Comparison:
    """Every tool over every case, some cases at a time."""

    def __init__(self, tools: Sequence[str], environment: Path, names: Sequence[str]):
        self.counts = {tool: Count() for tool in tools}
        self.judged = self.left_out = 0
        self.environment = environment
        self._names: queue.SimpleQueue[str] = queue.SimpleQueue()
        for name in names:
            self._names.put(name)
        self._lock = threading.Lock()

    def run(self, jobs: int) -> None:
        """Work through all cases."""
        threads = [threading.Thread(target=self._work) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        worker = Worker("foreign")
        servers = {tool: Server(tool, self.environment) for tool in self.counts}
        with tempfile.TemporaryDirectory(prefix="onnx-opt-bench-") as folder:
            while True:
                try:
                    name = self._names.get_nowait()
                except queue.Empty:
                    break
                found = self._examined(name, worker, servers, Path(folder))
                with self._lock:
                    self.judged += bool(found)
                    self.left_out += not found
                    for tool, (verdict, reason) in found.items():
                        self.counts[tool].add(name, verdict, reason)
        worker.close()
        for server in servers.values():
            server.close()

    def _examined(
        self, name: str, worker: Worker, servers: dict[str, Server], folder: Path
    ) -> dict[str, tuple[str, str]]:
        """Tool -> (verdict, reason); nothing where the original can't be judged by."""
        source = folder / "source.onnx"
        try:
            data = worker.call("original", name, limit=LIMIT)
        except (Died, Failed):
            return {}
        if data is None:
            return {}
        source.write_bytes(data)
        return {
            tool: _verdict(name, worker, server, source, folder / "result.onnx") for tool, server in servers.items()
        }


def _verdict(name: str, worker: Worker, server: Server, source: Path, result: Path) -> tuple[str, str]:
    result.unlink(missing_ok=True)
    try:
        problem = server.optimize(source, result)
    except Crashed:
        return "crash", ""
    if problem or not result.exists():
        return "error", problem or "it wrote nothing"
    try:
        found = worker.call("judge_foreign", name, result.read_bytes(), limit=LIMIT)
    except Died as death:
        return "invalid", str(death)
    return (KINDS[found.kind], found.text) if found is not None else ("right", "")


def table(comparison: Comparison) -> list[str]:
    """The counts as Markdown."""
    kinds = sorted({kind for count in comparison.counts.values() for kind in count.verdicts})
    groups = {"all": kinds, **{kind: [kind] for kind in kinds}} if len(kinds) > 1 else {"all": kinds}
    lines = [f"| cases | tool | {' | '.join(VERDICTS)} |", f"|---|---|{'---:|' * len(VERDICTS)}"]
    for group, members in groups.items():
        for tool, count in comparison.counts.items():
            total = count.total(members)
            cells = [f"{group} ({total.total()})", tool, *(str(total[verdict]) for verdict in VERDICTS)]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def document(comparison: Comparison, command: str, installed: dict[str, dict[str, str]]) -> str:
    """The committed file: what was run, the table, what the columns mean."""
    packages = {name: version for found in installed.values() for name, version in found.items()}
    own = ", ".join(f"{name} {version}" for name, version in sorted({**packages, **installed["own"]}.items()))
    meanings = [f"- {verdict}: {text}" for verdict, text in VERDICTS.items() if text]
    lines = [
        "# What optimizers get wrong", "",
        f"`{command}`", "",
        f"{comparison.judged} models that ONNX Runtime runs; {comparison.left_out} others were left out. Each result "
        "counts once, in the first column that fits.", "",
        *table(comparison), "",
        *meanings, "",
        f"With {own}.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.option("--seeds", default="0:500", show_default=True, help="Random models: FIRST:LAST, the last not included.")
@click.option("--models", multiple=True, type=click.Path(exists=True, path_type=Path), help="A model file or a folder.")
@click.option("--no-backend", is_flag=True, help="Leave the onnx package's backend tests out.")
@click.option("--every", default=1, show_default=True, help="Take every Nth case.")
@click.option("--tools", "names", multiple=True, type=click.Choice(SERVED), default=SERVED, help="These alone.")
@click.option("--tools-env", type=click.Path(file_okay=False, path_type=Path), default=DEFAULT_ENVIRONMENT)
@click.option("--jobs", default=1, show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the table here.")
@click.option("--json", "report", type=click.Path(dir_okay=False, path_type=Path), help="Write everything here.")
def main(
    seeds: str,
    models: tuple[Path, ...],
    no_backend: bool,
    every: int,
    names: tuple[str, ...],
    tools_env: Path,
    jobs: int,
    output: Path | None,
    report: Path | None,
) -> None:
    environment = tools_env.absolute()
    failures = prepare(environment, [TOOLS[name].requires for name in names if TOOLS[name].requires])
    for line in skipped(failures):
        click.echo(line)
    tools = [name for name in names if TOOLS[name].requires not in failures]
    first, _, last = seeds.partition(":")
    chosen = cases.file_names(models)
    chosen += [] if no_backend else cases.backend_names([kind for kind in cases.BACKEND if kind != cases.CONSTANT])
    chosen += cases.random_names(range(int(first), int(last)))
    comparison = Comparison(tools, environment, chosen[::every])
    comparison.run(jobs)
    click.echo("\n".join(table(comparison)))
    click.echo(f"{comparison.judged} models, {comparison.left_out} that the original can't be judged by")
    share = f" --every {every}" if every > 1 else ""
    command = f"python bench/conformance.py --seeds {seeds}{share}{' --models FOLDER' * len(models)}"
    if output:
        output.write_text(document(comparison, command, versions(environment)))
    if report:
        content = {
            tool: {"verdicts": count.verdicts, "examples": count.examples} for tool, count in comparison.counts.items()
        }
        report.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
