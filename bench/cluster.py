"""All models of a folder on a Dask cluster of this machine, one of whose workers is killed: the bytes of the local run?

\b
    python bench/cluster.py models/ --workers 3 --kill 2

A worker is killed while it has a model in hand, as often as asked for. Every output of the cluster is compared with
that of a local batch; `lost` and `differ` have to be 0.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import click
from distributed import Client, LocalCluster


@click.command(help=__doc__)
@click.argument("models", type=click.Path(exists=True, path_type=Path))
@click.option("--workers", default=3, show_default=True)
@click.option("--kill", default=1, show_default=True, help="How many workers are killed.")
@click.option("--by-value", is_flag=True, help="Send models and results instead of paths.")
@click.option("--flags", default="", help="Flags of onnx-opt.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as Markdown too.")
def main(models: Path, workers: int, kill: int, by_value: bool, flags: str, report: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        local, remote = Path(folder) / "local", Path(folder) / "remote"
        words = ["--no-cache", *flags.split()]
        local_code, local_time = batch(models, local, *words, "--jobs", str(workers))
        with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
            killer = Killer(cluster.scheduler_address, kill)
            killer.start()
            where = ["--dask", cluster.scheduler_address, *(["--by-value"] if by_value else [])]
            code, seconds = batch(models, remote, *words, *where)
            killer.over = True
            killer.join()
        ours, theirs = outputs(local), outputs(remote)
        differ = [name for name in ours if theirs.get(name, ours[name]) != ours[name]]
        lost = sorted(ours.keys() ^ theirs.keys())
    rows: list[tuple[str, object]] = [
        ("models", len(list(models.rglob("*.onnx")))),
        ("files compared", len(ours)),
        ("workers", workers),
        ("workers killed in mid-model", killer.killed),
        ("exit code, local and cluster", f"{local_code}, {code}"),
        ("seconds, local and cluster", f"{local_time:.0f}, {seconds:.0f}"),
        ("lost", len(lost)),
        ("differ", len(differ)),
    ]
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
    click.echo("\n".join(lines))
    if report is not None:
        report.write_text("\n".join(lines) + "\n")
    if lost or differ or code != local_code or killer.killed < kill:
        click.echo(f"lost: {lost}\ndiffer: {differ}", err=True)
        sys.exit(1)


def batch(models: Path, output: Path, *flags: str) -> tuple[int, float]:
    """Run a batch as a process of its own: its exit code, and the seconds that it took."""
    line = [sys.executable, "-m", "onnx_opt", "batch", str(models / "**" / "*.onnx"), "-o", str(output), "-q", *flags]
    start = time.monotonic()
    return subprocess.run(line, check=False).returncode, time.monotonic() - start


def outputs(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".onnx-opt" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class Killer(threading.Thread):
    """Kills the process of a worker while it optimizes, `most` times, some seconds apart."""

    def __init__(self, address: str, most: int) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.most = most
        self.killed = 0
        self.over = False

    def run(self) -> None:
        with Client(self.address, set_as_default=False) as client:
            while self.killed < self.most and not self.over:
                time.sleep(5)
                busy = [pid for pid in client.run(os.getpid).values() if is_busy(pid)]
                if busy:
                    os.kill(busy[0], signal.SIGKILL)
                    self.killed += 1


def is_busy(pid: int) -> bool:
    """Whether a worker has started the process of a model."""
    return any((task / "children").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir())


if __name__ == "__main__":
    main()
